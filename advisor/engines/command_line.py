"""A command line under construction, which refuses flags that the engine's version does not have.

It owns the look-up of a flag in the facts and the quoting; what to print is the engines' business.
"""

from __future__ import annotations

import shlex
from functools import lru_cache

from advisor.engines.versions import Version, parse
from knowledge.catalog import Catalog, default_catalog
from knowledge.errors import AdvisorError, UnsupportedError
from knowledge.schema import Flag


@lru_cache(maxsize=16)
def _flags(engine: str, catalog: Catalog) -> dict[str, Flag]:
    return {flag.flag: flag for flag in catalog.flags if flag.engine == engine}


def flag_named(name: str, version: Version, catalog: Catalog | None = None) -> Flag:
    """The flag of the version's engine; `--no-x` is the off form of `--x`.

    Raises:
        AdvisorError: a flag is printed that the facts do not hold.
    """
    known = _flags(version.engine, catalog or default_catalog())
    flag = known.get(name) or known.get(name.replace("--no-", "--", 1))
    if flag is None:
        raise AdvisorError(f"{version.engine} flag {name} is not in knowledge/facts/flags.csv", "add it")
    return flag


def exists(name: str, version: Version, catalog: Catalog | None = None) -> bool:
    """Whether the version has the flag (deprecated ones included)."""
    flag = flag_named(name, version, catalog)
    since = parse(version.engine, flag.since_version, catalog) if flag.since_version else None
    removed = parse(version.engine, flag.removed_in, catalog) if flag.removed_in else None
    return version.is_in(since, removed)


def flags_in(command: str) -> list[str]:
    """The flags of a launch command as they are spelled, in order; the `-m` of `python -m` is none."""
    words = shlex.split(command)
    start = 2 if words[0] == "python" else 1
    return [word for word in words[start:] if word.startswith("-") and not word[1:2].isdigit()]


class CommandLine:
    """The words of one launch command, in order."""

    def __init__(
        self,
        program: list[str],
        version: Version,
        short: dict[str, str] | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        """Start with the program's words; `short` gives the spelling people know a flag by."""
        self._words = list(program)
        self._version = version
        self._short = short or {}
        self._catalog = catalog
        self._given: set[str] = set()

    def require(self, flag: str, *values: object) -> None:
        """Print a flag that the configuration depends on.

        Raises:
            UnsupportedError: this version does not have it.
        """
        if not exists(flag, self._version, self._catalog):
            since = flag_named(flag, self._version, self._catalog).since_version
            hint = f"it came with {since}" if since else "it is gone from this version"
            raise UnsupportedError(f"{self._version.engine} {self._version.text} has no {flag}", hint)
        self._print(flag, values)

    def offer(self, flag: str, *values: object) -> bool:
        """Print a flag unless it is there already or this version lacks it; whether it was printed."""
        if flag in self._given or not exists(flag, self._version, self._catalog):
            return False
        self._print(flag, values)
        return True

    def _print(self, flag: str, values: tuple[object, ...]) -> None:
        self._given.add(flag)
        self._words.append(self._short.get(flag, flag))
        self._words.extend(str(value) for value in values)

    def __str__(self) -> str:
        """The command, quoted for a POSIX shell."""
        return shlex.join(self._words)
