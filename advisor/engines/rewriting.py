"""A launch command with one thing changed: what the person wrote stays, and the flags of the change are set.

It owns how a command is put together again, and how its model is named in another format. Which flag carries
which setting is `edits`', and whether a change is worth it is not its business.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from advisor.config import LaunchConfig, Setup
from advisor.engines import exllamav3, llamacpp, lmstudio, mlx, vllm
from advisor.engines.edits import EDITORS, Edits
from advisor.engines.parsing import Reading
from advisor.engines.parsing.arguments import Option
from advisor.engines.parsing.shell_words import ASSIGNMENT
from knowledge.catalog import Catalog
from knowledge.schema import Quant
from knowledge.weights import file_tag


def rewritten(reading: Reading, before: Setup, after: Setup, quant_text: str | None, catalog: Catalog) -> str:
    """The command of `reading`, which launches `before`, changed to launch `after`.

    `quant_text` is the format as the model's name spells it.
    """
    changed = {
        name
        for name in LaunchConfig.model_fields
        if getattr(before.launch, name) != getattr(after.launch, name)
    }
    if reading.engine == "ollama":
        return _ollama(reading, after, changed, quant_text)
    edits = EDITORS[reading.engine](reading, after, changed, catalog)
    places: dict[int, str] = {}
    if "quant" in changed:
        _change_format(reading, after, quant_text, edits, places, catalog)
    return _text(reading, edits, places)


_MODEL_FLAGS = ("--hf-file", "--hf-repo", "--model", "--model-path", "--model-name")


def _change_format(
    reading: Reading,
    after: Setup,
    quant_text: str | None,
    edits: Edits,
    places: dict[int, str],
    catalog: Catalog,
) -> None:
    """Name the files of the new format: in the repository, beside the old file, or where the facts say."""
    name = reading.model or ""
    option = next((o for flag in _MODEL_FLAGS if (o := reading.found.last(flag)) and o.values), None)
    if reading.engine == "llama.cpp":
        if option is not None and option.name == "--hf-repo":
            value = f"{name.partition(':')[0]}:{file_tag(after.quant)}"
        else:
            value = _renamed(
                name, quant_text, after.quant, f"{after.model.name}-{file_tag(after.quant)}.gguf"
            )
    elif reading.engine == "exllamav3":
        value = _renamed(name, quant_text, after.quant, exllamav3.folder_of(after)[1])
    elif reading.engine == "lmstudio":
        base, variant, _ = name.partition(lmstudio.VARIANT)
        keyed = bool(variant) or not quant_text
        value = lmstudio.key_of(base, after.quant) if keyed else _renamed(name, quant_text, after.quant, "")
    elif reading.engine == "mlx":
        value = mlx.renamed(name, quant_text, after)
    else:
        value, online = vllm.source_of(after, catalog)
        if reading.found.last("--quantization"):
            edits["--quantization"] = (online,) if online else None
        elif online:
            edits["--quantization"] = (online,)
    if option is not None:
        edits[option.name] = (value,)
    elif reading.found.positional:
        places[reading.found.positional[0][0]] = value


def _renamed(name: str, quant_text: str | None, quant: Quant, otherwise: str) -> str:
    if quant_text and quant_text.lower() in name.lower():
        single = re.sub(r"-\d{5}-of-\d{5}(?=\.gguf$)", "", name, flags=re.IGNORECASE)
        head, found, tail = single.lower().rpartition(quant_text.lower())
        return single[: len(head)] + quant.name + single[len(head) + len(found) :] if tail or found else name
    folder = re.match(r".*[/\\]", name)
    return (folder[0] if folder else "") + otherwise


def _ollama(reading: Reading, after: Setup, changed: set[str], quant_text: str | None) -> str:
    launch = after.launch
    variables: dict[str, str] = {}
    if "kv_type_k" in changed:
        variables |= {"OLLAMA_KV_CACHE_TYPE": launch.kv_type_k, "OLLAMA_FLASH_ATTENTION": "1"}
    if "flash_attn" in changed:
        variables["OLLAMA_FLASH_ATTENTION"] = "1" if launch.flash_attn else "0"
    if "ctx" in changed:
        variables["OLLAMA_CONTEXT_LENGTH"] = str(launch.ctx)
    if "parallel" in changed:
        variables["OLLAMA_NUM_PARALLEL"] = str(launch.parallel)
    places: dict[int, str] = {}
    if "quant" in changed and reading.model is not None:
        base = reading.model
        if quant_text and base.lower().endswith(quant_text.lower()):
            base = base[: -len(quant_text)].rstrip("-")
        at = next(i for i, word in enumerate(reading.launch.args) if word.text == reading.model)
        places[at] = f"{base}{'-' if ':' in base else ':'}{after.quant.name.lower()}"
    return _text(reading, {}, places, variables)


def _text(
    reading: Reading, edits: Edits, places: Mapping[int, str], variables: Mapping[str, str] | None = None
) -> str:
    """The words as they were written, with the edits made; what is not there yet goes to the end."""
    launch = reading.launch
    left = dict(edits)
    words: list[str] = []
    starts = {option.start: option for option in reading.found.options if option.start >= 0}
    final = {option.name: option for option in reading.found.options}
    at = 0
    while at < len(launch.args):
        option = starts.get(at)
        if option is None:
            words.append(shlex.quote(places[at]) if at in places else launch.args[at].raw)
            at += 1
            continue
        if option.name not in edits:
            words.extend(word.raw for word in launch.args[option.start : option.end])
        elif option is final[option.name] and edits[option.name] is not None:
            words.extend(_words_of(option, left.pop(option.name) or ()))
        at = option.end
    for flag, values in left.items():
        if values is not None:
            words.extend((_short(reading.engine, flag), *map(shlex.quote, values)))
    dropped = {option.spelled for option in _of_variables(reading) if option.name in edits}
    return " ".join([*_prefix(reading, variables or {}, dropped), *words])


def _of_variables(reading: Reading) -> list[Option]:
    """Options that variables of the environment gave."""
    return [option for option in reading.found.options if option.start < 0]


def _words_of(option: Option, values: tuple[str, ...]) -> list[str]:
    return [option.spelled, *map(shlex.quote, values)]


def _short(engine: str, flag: str) -> str:
    return llamacpp.SHORT.get(flag, flag) if engine == "llama.cpp" else flag


def _prefix(reading: Reading, variables: Mapping[str, str], dropped: set[str]) -> list[str]:
    """Variables and program: a variable stands where the person wrote it, a new one in front."""
    launch, left = reading.launch, dict(variables)
    head: list[str] = []
    for word in launch.head:
        match = ASSIGNMENT.match(word.text)
        if match and match[1] in left:
            head.append(f"{match[1]}={shlex.quote(left.pop(match[1]))}")
        elif not (match and match[1] in dropped):
            head.append(word.raw)
    own = {name: launch.env[name] for name in launch.own_env if name not in dropped} | left
    return [*(f"{name}={shlex.quote(value)}" for name, value in own.items()), *head]
