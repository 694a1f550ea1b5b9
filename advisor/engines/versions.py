"""Which engine version is older: llama.cpp's builds, commits and releases, and dotted versions.

It owns the order of versions and the newest one known; it knows no flags and no rules.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from knowledge.catalog import Catalog, default_catalog
from knowledge.errors import UsageError

_BUILD = re.compile(r"\bb(\d{3,6})\b")
_DATE = re.compile(r"\b(20\d\d)-(\d\d)(?:-(\d\d))?\b")
_DOTTED = re.compile(r"^v?(\d+(?:\.\d+)+)(?:\.?(rc|dev)(\d+))?")
_DAYS_IN_FUTURE = 366


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one engine; `key` orders the versions of the same engine."""

    engine: str
    text: str
    key: tuple[int, ...]

    def is_in(self, since: Version | None, before: Version | None) -> bool:
        """Whether `since` ≤ this < `before`; None is an open end."""
        return (since is None or since.key <= self.key) and (before is None or self.key < before.key)


@dataclass(frozen=True)
class _Calendar:
    named: dict[str, int]
    """Names of llama.cpp versions (commits, releases) → build number."""
    dated: tuple[tuple[dt.date, int], ...]
    newest: str | None


@lru_cache(maxsize=16)
def _calendar(engine: str, catalog: Catalog) -> _Calendar:
    rows = [row for row in catalog.engine_versions if row.engine == engine]
    named = {row.version.lower(): row.build for row in rows if row.build is not None}
    dated = tuple(
        (dt.date.fromisoformat(row.released_on), row.build)
        for row in rows
        if row.build is not None and row.basis == "stated"
    )
    return _Calendar(named, dated, rows[-1].version if rows else None)


def newest(engine: str, catalog: Catalog | None = None) -> Version | None:
    """The newest version that the facts know; None for an engine without a calendar."""
    known = catalog or default_catalog()
    text = _calendar(engine, known).newest
    return None if text is None else parse(engine, text, known)


@lru_cache(maxsize=1024)
def parse(engine: str, text: str, catalog: Catalog | None = None) -> Version:
    """The version that `text` names: `b9265`, a known commit, `v0.5.0` or a day for llama.cpp; else dotted.

    Raises:
        UsageError: it cannot be put in order among the engine's versions.
    """
    calendar = _calendar(engine, catalog or default_catalog())
    clean = text.strip().lower()
    if calendar.named:
        build = _build_number(clean, calendar)
        if build is not None:
            return Version(engine, text.strip(), (build,))
    elif match := _DOTTED.match(clean):
        parts = [int(part) for part in match[1].split(".")]
        # a candidate or development build comes before the release that it leads to
        tail = (-1, int(match[3])) if match[2] else (0, 0)
        return Version(engine, text.strip(), (*parts, *[0] * (3 - len(parts)), *tail))
    example = calendar.newest or "1.2.0"
    raise UsageError(
        f"cannot tell how old {engine} {text!r} is", f"write for example --engine-version {example}"
    )


_NEWER_THAN_ALL = (9999,)


def newest_without_calendar(engine: str) -> Version:
    """The newest version of an engine without a calendar in the facts: it has every flag that is not gone."""
    return Version(engine, "newest", _NEWER_THAN_ALL)


def resolve(engine: str, text: str | None, catalog: Catalog | None = None) -> Version | None:
    """The version a configuration means: what it names, else the newest known; None if none is known."""
    return newest(engine, catalog) if text is None else parse(engine, text, catalog)


def known_version(engine: str, text: str | None, catalog: Catalog | None = None) -> Version:
    """As `resolve`, for an engine that must have a calendar.

    Raises:
        UsageError: no version is named, and the facts know none.
    """
    version = resolve(engine, text, catalog)
    if version is None:
        raise UsageError(f"no version of {engine} is known", "name one with --engine-version")
    return version


def _build_number(text: str, calendar: _Calendar) -> int | None:
    if match := _BUILD.search(text):
        return int(match[1])
    if text in calendar.named:
        return calendar.named[text]
    for name, build in calendar.named.items():
        # commits are known by nine digits; people paste seven to forty
        if len(text) >= 7 and len(name) == 9 and (text.startswith(name) or name.startswith(text)):
            return build
    if match := _DATE.search(text):
        try:
            day = dt.date(int(match[1]), int(match[2]), int(match[3] or 15))
        except ValueError as error:
            raise UsageError(f"{text!r} is not a day", "write for example 2026-10-01") from error
        return _build_on(day, calendar.dated)
    return None


def _build_on(day: dt.date, dated: tuple[tuple[dt.date, int], ...]) -> int | None:
    """The build of a day, interpolated between stated ones; at the ends, the nearest stated one."""
    if day <= dated[0][0]:
        return dated[0][1]
    for (start, low), (end, high) in pairwise(dated):
        if start <= day < end:
            return low + round((high - low) * (day - start).days / (end - start).days)
    return dated[-1][1] if (day - dated[-1][0]).days < _DAYS_IN_FUTURE else None
