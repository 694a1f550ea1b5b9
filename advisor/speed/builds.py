"""How old an engine build is, in years: speed grows with the builds, and predictions are made for one.

It knows version dates (`knowledge/facts`, `advisor.memory.builds`) and nothing of what changed in them.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

from advisor.config import Setup
from advisor.memory.builds import build_date
from knowledge.catalog import default_catalog
from knowledge.errors import UsageError

_BUILD_NUMBERED = frozenset({"llama.cpp", "llamafile"})
_RELEASE = re.compile(r"v?(\d+)\.(\d+)")
_MONTHS_AFTER = 0.3
"""Years after the younger of model and device that a run without any date is put."""
_OLDEST = 2023.5


def year_of(day: str) -> float:
    """`2026-02-24` → 2026.12; NaN when not stated."""
    digits = day[:10].split("-")
    if not digits[0].isdigit():
        return math.nan
    month = int(digits[1]) if len(digits) > 1 and digits[1].isdigit() else 6
    return int(digits[0]) + (month - 0.5) / 12


@lru_cache(maxsize=1024)
def build_year(engine: str, version: str | None) -> float | None:
    """When a version was built; None when it does not tell."""
    if not version:
        return None
    if engine in _BUILD_NUMBERED:
        try:
            day = build_date(version)
        except UsageError:
            return None  # a fork or a private build: the run's own date says more
        return year_of(day.isoformat())
    match = _RELEASE.match(version)
    return _release_years(engine).get((int(match[1]), int(match[2]))) if match else None


@lru_cache(maxsize=16)
def _release_years(engine: str) -> dict[tuple[int, int], float]:
    """First date of each (major, minor) among the engine's dated release notes."""
    years: dict[tuple[int, int], float] = {}
    for note in default_catalog().release_notes:
        match = _RELEASE.match(note.version)
        year = year_of(note.released_on)
        if note.engine == engine and match and not math.isnan(year):
            key = (int(match[1]), int(match[2]))
            years[key] = min(year, years.get(key, year))
    return years


def assumed_year(setup: Setup) -> float:
    """When a run without a date was probably made: soon after the younger of its model and its device."""
    years = [year for part in (setup.model, setup.gpu) if not math.isnan(year := year_of(part.released))]
    return max(_OLDEST, max(years, default=_OLDEST) + _MONTHS_AFTER)
