"""Words → options, by the engine's own rules of reading.

It owns two grammars: llama.cpp's, and Python's argparse as vLLM, SGLang, TabbyAPI and mlx-lm use it, of which
`lms` (commander.js) takes all but beginnings of flags. Spellings are `flag_table`'s, and what an option means
is the engines' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from advisor.engines.parsing.arguments import NUMBER, SWITCH_VALUES, Arguments, Option, Unknown
from advisor.engines.parsing.flag_table import Table
from knowledge.errors import UsageError
from knowledge.names.match import nearest
from knowledge.schema import EngineFlag

_TYPOGRAPHIC = ("–", "—")


def read_llamacpp(words: Sequence[str], env: Mapping[str, str], table: Table) -> Arguments:
    """Read arguments as llama.cpp does: a value is the next word, `--x_y` is `--x-y`, the last one counts.

    Raises:
        UsageError: a flag without its value.
    """
    found = Arguments()
    _read_variables(found, env, table)
    words = _with_plain_dashes(words, found, table)
    at = 0
    while at < len(words):
        word = words[at]
        name = word.replace("_", "-") if word.startswith("--") else word
        known = table.by_spelling.get(name)
        if known is not None:
            flag, on = known
            values, end = _llamacpp_values(flag, words, at, table)
            found.options.append(Option(flag.flag, word, on, values, at, end))
            at = end
            continue
        stem, equals, value = name.partition("=")
        if equals and stem in table.by_spelling:
            flag, on = table.by_spelling[stem]
            found.options.append(Option(flag.flag, stem, on, (value,), at, at + 1))
            reason = f"llama.cpp takes no '=': write {stem} {value}"
            found.unknown.append(Unknown(word, reason, (stem,)))
            at += 1
            continue
        at = _skip_unknown(found, words, at, table)
    return found


def _with_plain_dashes(words: Sequence[str], found: Arguments, table: Table) -> list[str]:
    """The words with the dashes that a web page made of `--` put right, which no engine would do."""
    plain = list(words)
    for at, word in enumerate(words):
        if word[:1] not in _TYPOGRAPHIC:
            continue
        stem = word.lstrip("-–—")
        meant = next((dash + stem for dash in ("--", "-") if (dash + stem).partition("=")[0] in table), None)
        if meant is not None:
            plain[at] = meant
            found.unknown.append(Unknown(word, "it starts with a typographic dash", (meant,)))
    return plain


def _llamacpp_values(
    flag: EngineFlag, words: Sequence[str], at: int, table: Table
) -> tuple[tuple[str, ...], int]:
    following = words[at + 1 : at + 3]
    if flag.takes == "?":
        taken = 1 if following and following[0].lower() in SWITCH_VALUES else 0
    else:
        taken = int(flag.takes)
    values = tuple(following[:taken])
    if len(values) < taken or any(value in table.by_spelling for value in values):
        raise UsageError(f"{words[at]} has no value", "write it behind the flag")
    return values, at + 1 + taken


def _read_variables(found: Arguments, env: Mapping[str, str], table: Table) -> None:
    for variable, value in env.items():
        flag = table.by_env.get(variable)
        if flag is not None:
            found.options.append(Option(flag.flag, variable, on=True, values=(value,)))
        elif variable.startswith("LLAMA_ARG_"):
            close = tuple(nearest(variable, table.by_env))
            found.unknown.append(Unknown(variable, "llama.cpp reads no such variable", close))


def _skip_unknown(found: Arguments, words: Sequence[str], at: int, table: Table) -> int:
    """Note a word that is no flag; what looks like its value goes with it."""
    word = words[at]
    if not word.startswith("-") or word == "-":
        found.positional.append((at, word))
        return at + 1
    found.unknown.append(Unknown(word, "no such flag", table.nearest(word.partition("=")[0])))
    has_value = "=" not in word and at + 1 < len(words) and not words[at + 1].startswith("-")
    return at + 2 if has_value else at + 1


def read_argparse(
    words: Sequence[str], table: Table, *, underscores: bool = True, beginnings: bool = True
) -> Arguments:
    """Read arguments as argparse does: `--x=1`, `--x_y`, unambiguous beginnings, `-tp 2`, `--x.key 1`.

    Without `underscores`, which argparse does not know by itself, `--x_y` is meant as `--x-y` and reported.
    Without `beginnings`, the beginning of a flag is no flag.

    Raises:
        UsageError: a flag without its value, or the beginning of several flags.
    """
    found = Arguments()
    words = _with_plain_dashes(words, found, table)
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            found.positional.extend((at + 1 + n, text) for n, text in enumerate(words[at + 1 :]))
            break
        if not word.startswith("-") or word == "-":
            found.positional.append((at, word))
            at += 1
            continue
        stem, equals, attached = word.partition("=")
        name = stem.replace("_", "-") if stem.startswith("--") else stem
        flag_and_form = _argparse_flag(name, table, beginnings=beginnings)
        if flag_and_form is None:
            at = _skip_unknown(found, words, at, table)
            continue
        flag, on, glued = flag_and_form
        if name != stem and not underscores:
            found.unknown.append(Unknown(stem, "it is spelt with dashes", (name,)))
        values, end = _argparse_values(flag, words, at, attached if equals else glued)
        if "." in name and flag.flag != name:  # --compilation-config.level 3: a key of a JSON value
            values = (f'{{"{name.split(".", 1)[1]}":{values[0]!r}}}',) if values else ()
        found.options.append(Option(flag.flag, stem, on, values, at, end))
        at = end
    return found


def _argparse_flag(
    name: str, table: Table, *, beginnings: bool
) -> tuple[EngineFlag, bool, str | None] | None:
    """The flag, its form, and a value glued to a short spelling (`-O3`); None for an unknown one."""
    known = table.by_spelling.get(name) or table.by_spelling.get(name.split(".", 1)[0])
    if known is not None:
        return *known, None
    if name.startswith("--") and not beginnings:
        return None
    if name.startswith("--"):
        fits = {entry[0].flag: entry for key, entry in table.by_spelling.items() if key.startswith(name)}
        if len(fits) > 1:
            names = ", ".join(sorted(fits)[:5])
            raise UsageError(f"{name} is the beginning of several flags", f"write one of: {names}")
        return (*next(iter(fits.values())), None) if fits else None
    glued = re.fullmatch(r"(-[A-Za-z])(\d+)", name)
    known = table.by_spelling.get(glued[1]) if glued else None
    return (*known, glued[2]) if known and glued else None


def _argparse_values(
    flag: EngineFlag, words: Sequence[str], at: int, attached: str | None
) -> tuple[tuple[str, ...], int]:
    if attached is not None:
        return (attached,), at + 1
    following = list(_values(words[at + 1 :]))
    most = {"0": 0, "1": 1, "2": 2, "?": 1}.get(flag.takes, len(following))
    least = {"0": 0, "?": 0, "2": 2}.get(flag.takes, 1)
    values = tuple(following[:most])
    if len(values) < least:
        raise UsageError(f"{words[at]} has no value", "write it behind the flag")
    return values, at + 1 + len(values)


def _values(words: Iterable[str]) -> Iterable[str]:
    """The words before the next flag; a negative number is no flag."""
    for word in words:
        if word.startswith("-") and not NUMBER.match(word):
            return
        yield word
