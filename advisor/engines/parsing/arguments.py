"""The options that were read from a command, and their values as typed things.

It owns the checks of values and of versions. How words become options is `grammars`', and what an option
means is the engines' business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from advisor.engines.parsing.flag_table import Table
from advisor.engines.versions import Version, parse
from knowledge.catalog import Catalog
from knowledge.errors import UsageError

NUMBER = re.compile(r"^-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")
_TRUE, _FALSE = ("on", "true", "1", "enabled", "yes"), ("off", "false", "0", "disabled", "no")
SWITCH_VALUES = frozenset({*_TRUE, *_FALSE, "auto"})


@dataclass(frozen=True, slots=True)
class Unknown:
    """A word of the command that the engine's version would not accept: why, and what may be meant."""

    flag: str
    reason: str
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """One option as given: its own name, whether its on form was written, values, and where it stands.

    `start` and `end` are indices into the arguments; −1 where a variable of the environment gave it.
    """

    name: str
    spelled: str
    on: bool
    values: tuple[str, ...]
    start: int = -1
    end: int = -1


@dataclass(slots=True)
class Arguments:
    """What was read: options in order (variables first), positional words with their places, unknown ones."""

    options: list[Option] = field(default_factory=list)
    positional: list[tuple[int, str]] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)

    def last(self, name: str) -> Option | None:
        """The occurrence that counts; None where the option is not given."""
        return next((option for option in reversed(self.options) if option.name == name), None)

    def text(self, name: str) -> str | None:
        """The option's (first) value as written."""
        option = self.last(name)
        return option.values[0] if option is not None and option.values else None

    def whole(self, name: str, least: int = 0) -> int | None:
        """The option's value as a whole number from `least`.

        Raises:
            UsageError: it is none.
        """
        option = self.last(name)
        if option is None:
            return None
        text = option.values[0].strip()
        if not re.fullmatch(r"[+-]?\d{1,9}", text) or int(text) < least:
            raise UsageError(
                f"{option.spelled} {text!r} is not a whole number from {least}", _variable_hint(text)
            )
        return int(text)

    def number(self, name: str, most: float | None = None) -> float | None:
        """The option's value as a number from 0 (to `most`).

        Raises:
            UsageError: it is none.
        """
        option = self.last(name)
        if option is None:
            return None
        text = option.values[0].strip()
        if not NUMBER.match(text) or float(text) < 0 or (most is not None and float(text) > most):
            limit = "from 0" if most is None else f"from 0 to {most:g}"
            raise UsageError(f"{option.spelled} {text!r} is not a number {limit}", _variable_hint(text))
        return float(text)

    def switch(self, name: str) -> bool | None:
        """Whether the switch was put on or off; None where it was not given, or given as `auto`.

        Raises:
            UsageError: it has a value that is neither.
        """
        option = self.last(name)
        if option is None:
            return None
        if not option.values:
            return option.on
        value = option.values[0].lower()
        if value not in SWITCH_VALUES:
            raise UsageError(
                f"{option.spelled} {value!r} is neither on nor off", f"write {option.spelled} on"
            )
        return None if value == "auto" else (value in _TRUE) == option.on


def _variable_hint(text: str) -> str:
    return "write the variable's value" if "$" in text else ""


def check_versions(found: Arguments, table: Table, version: Version, catalog: Catalog) -> None:
    """Add the options that this version lacks to the unknown ones."""
    for option in found.options:
        flag = table.dated.get(option.spelled) or table.by_spelling[option.name][0]
        if flag.missing_in and version.key <= parse(flag.engine, flag.missing_in, catalog).key:
            reason = f"{version.engine} {version.text} does not have it yet"
        elif flag.gone_in and version.key >= parse(flag.engine, flag.gone_in, catalog).key:
            reason = f"it is gone from {version.engine} {version.text}"
        else:
            continue
        found.unknown.append(Unknown(option.spelled, reason, ()))
