"""How old a llama.cpp is, as far as its memory layout depends on it.

It knows the dates at which the layout changed and how builds are numbered; it knows no sizes.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from dataclasses import dataclass
from functools import lru_cache

from knowledge.catalog import default_catalog
from knowledge.errors import UsageError

_ANCHORS = (
    # build number, its date: release notes and reports in knowledge/facts/release_notes.csv
    (5863, dt.date(2025, 7, 10)),
    (6089, dt.date(2025, 8, 5)),
    (7079, dt.date(2025, 11, 16)),
    (7474, dt.date(2025, 12, 18)),
    (8182, dt.date(2026, 3, 8)),
    (8763, dt.date(2026, 4, 12)),
    (9265, dt.date(2026, 5, 25)),
    (10099, dt.date(2026, 8, 6)),
    (10791, dt.date(2026, 9, 5)),
    (11318, dt.date(2026, 10, 1)),
)
_COMMITS = {"49bfddeca": dt.date(2026, 3, 15), "0c1e57098": dt.date(2026, 10, 15)}
"""The two commits whose own accounting was read (`data/memory/llamacpp_accounting.csv`)."""

_HALF_MASK_SINCE = dt.date(2026, 5, 27)
_LIMITED_OUTPUTS_SINCE = dt.date(2026, 5, 30)
_LIMITED_DRAFTS_SINCE = dt.date(2026, 10, 1)
"""Draft heads kept logits of the whole micro-batch in builds of May to September (520 MiB of a 27B,
`data/memory/memory_cases.csv`), those of one row per slot in the source of mid-October."""
_FOUR_SLOTS_SINCE = dt.date(2025, 11, 1)

_FIRST_NUMBER = 1000
"""Smaller numbers come from shallow clones (`b1-6217b49`) and tell nothing."""
_BUILD = re.compile(r"\bb(\d{3,6})\b|\((\d{4,5})\)|^(\d{4,5})$")
_DATE = re.compile(r"\b(20\d\d)-(\d\d)(?:-(\d\d))?")
_STABLE = re.compile(r"^v?0\.\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a build does with memory.

    `mask_bytes` per cell and token of the attention mask on the device; `all_logits`: the buffer reserves
    logits of the whole micro-batch; `pool_scratch`: the f16 copy of a quantized cache comes from the device
    pool at run time, outside the buffer; `default_slots` when `--parallel` is not given.
    """

    mask_bytes: int
    all_logits: bool
    pool_scratch: bool
    default_slots: int
    draft_logits: bool = False
    """Whether a draft head reserves logits of the whole micro-batch."""


NEWEST = Layout(mask_bytes=2, all_logits=False, pool_scratch=False, default_slots=4)


def build_date(version: str) -> dt.date:
    """The day of a build from `b8182`, `2026-03`, `2026-03-08`, `v0.5.0` or a known commit.

    Between two known builds the date is interpolated.

    Raises:
        UsageError: nothing in the text tells how old it is.
    """
    text = version.strip().lower()
    for commit, day in _COMMITS.items():
        if commit in text:
            return day
    if match := _DATE.search(text):
        return dt.date(int(match[1]), int(match[2]), int(match[3] or 15))
    match = _BUILD.search(text)
    if match and int(match[match.lastindex or 0]) >= _FIRST_NUMBER:
        return _interpolated(int(match[match.lastindex or 0]))
    if _STABLE.match(text):  # semantic versions began in September 2026
        return dt.date(2026, 9, 23)
    if text in _named():
        return _named()[text]
    raise UsageError(
        f"cannot tell how old llama.cpp {version!r} is", "write a build or a month: --engine-version b9300"
    )


@lru_cache(maxsize=1)
def _named() -> dict[str, dt.date]:
    """The other names that versions go by in the facts, commits and pull requests among them."""
    rows = default_catalog().engine_versions
    return {
        row.version.lower(): dt.date.fromisoformat(row.released_on)
        for row in rows
        if row.engine == "llama.cpp" and row.build is not None
    }


def _interpolated(build: int) -> dt.date:
    first, last = _ANCHORS[0], _ANCHORS[-1]
    if build <= first[0]:
        return first[1]
    if build >= last[0]:
        return last[1]
    for (low, start), (high, end) in itertools.pairwise(_ANCHORS):
        if low <= build <= high:
            return start + (end - start) * ((build - low) / (high - low))
    raise AssertionError(build)


@lru_cache(maxsize=256)
def layout(version: str | None) -> Layout:
    """The memory layout of a llama.cpp build; None is the newest one."""
    if version is None:
        return NEWEST
    day = build_date(version)
    return Layout(
        mask_bytes=2 if day >= _HALF_MASK_SINCE else 6,
        all_logits=day < _LIMITED_OUTPUTS_SINCE,
        pool_scratch=day < _LIMITED_OUTPUTS_SINCE,
        default_slots=4 if day >= _FOUR_SLOTS_SINCE else 1,
        draft_logits=day < _LIMITED_DRAFTS_SINCE,
    )
