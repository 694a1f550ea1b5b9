"""What an ingestion would change, before anything is kept: errors, configurations, starts, one answer.

The rows are read and checked as for good, on a copy of the store that is thrown away; what they teach is what
`advisor train` takes from the user's own rows, on the loaded model, which is not fitted anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from advisor.calibration import calibrated, judged
from advisor.config import Host, Setup
from advisor.estimate import predict_setups
from advisor.ingestion import Files, Tried, tried
from advisor.listings import Learnt
from advisor.measured import setup_of_start
from advisor.previews import AnswerChange, ConfigurationChange, Preview, StartChange
from advisor.receipts import Receipt, Receipts, joined, own_receipts
from advisor.speed.model import ARTEFACT, SpeedModel, load_model
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError

Ask = Callable[[Receipts], Setup]
"""The configuration that is looked at, as it is with these starts."""

_MOST_ROWS = 2000
"""Rows that predictions are compared on: enough for a median, and answered in a second or two."""
_MOST_CONFIGURATIONS, _MOST_STARTS, _MOST_REASONS = 10, 5, 3
_NO_NEWS = frozenset({"no speed figure", "did not run (out of memory or error)"})
"""Why rows of starts give no rate."""


def previewed(
    files: Files,
    catalog: Catalog,
    ask: Ask | None,
    *,
    file_format: str = "auto",
    gpu: str | None = None,
    model: str | None = None,
    folder: Path | str | None = None,
) -> Preview:
    """The preview of an ingestion of `files`; nothing is written in the user's folder.

    Raises:
        UsageError, StoreError, AdvisorError: as `advisor.ingestion.ingest`.
    """
    known = own_receipts()
    asked = ask(known) if ask else None  # what cannot be answered is said before anything is read
    found = tried(files, most=_MOST_ROWS, file_format=file_format, gpu=gpu, model=model, folder=folder)
    before = load_model()
    learning = _learnt(found, before, catalog)
    with_starts = joined(found.starts, known) if found.starts else known
    answer = None
    if ask and asked:
        becomes = ask(with_starts)
        answer = AnswerChange(
            config=becomes.launch,
            before=predict_setups([asked], before)[0],
            after=predict_setups([becomes], learning.model)[0],
        )
    starts = (_start(start, known, with_starts, catalog) for start in found.starts[:_MOST_STARTS])
    return Preview(
        **dict(found.balance),
        learnt=learning.learnt,
        configurations=learning.configurations[:_MOST_CONFIGURATIONS],
        starts=[start for start in starts if start],
        answer=answer,
        notes=_left_out(found, learning.skipped, len(learning.configurations)),
    )


@dataclass(frozen=True, slots=True)
class _Learning:
    """The model as the rows would have it, and what that does to what it says of the new ones."""

    model: SpeedModel
    learnt: Learnt | None
    configurations: list[ConfigurationChange]
    skipped: Mapping[str, int]


def _learnt(found: Tried, before: SpeedModel, catalog: Catalog) -> _Learning:
    from advisor.training.own_changes import changes  # noqa: PLC0415 - only where files are looked at
    from advisor.training.own_rows import learnt, own_rates, with_own  # noqa: PLC0415 - as above
    from advisor.training.rows import cases_of  # noqa: PLC0415 - as above

    new = cases_of(found.trial.new, catalog)
    if not own_rates(new.cases):
        return _Learning(before, None, [], new.skipped)
    after = with_own(cases_of(found.trial.own, catalog).cases, before, known_cards())
    change = learnt(new.cases, before, after)
    return _Learning(after, change, changes(new.cases, before, after), new.skipped)


def known_cards() -> set[str]:
    """Cards that others have measured: those that the shipped model was fitted on."""
    return {key.removesuffix("|||") for key in load_model(ARTEFACT).counts if key.endswith("|||")}


def _start(start: Receipt, known: Receipts, with_starts: Receipts, catalog: Catalog) -> StartChange | None:
    """A start as it is predicted without and with the new ones; None where its launch cannot be accounted."""
    told = setup_of_start(start, catalog)
    if told is None:
        return None
    # what was free is what the start tells, and today's answer does not know
    launch = replace(told, host=Host())
    try:
        was, becomes = (judged(calibrated(launch, receipts, catalog)) for receipts in (known, with_starts))
    except UnsupportedError:
        return None
    return StartChange(
        config=told.launch,
        outcome=start.outcome,
        total_mib_before=was.memory.total_mib,
        total_mib_after=becomes.memory.total_mib,
        available_mib_before=was.memory.available_mib,
        available_mib_after=becomes.memory.available_mib,
        oom_probability_before=was.risk.full,
        oom_probability_after=becomes.risk.full,
    )


def _left_out(found: Tried, skipped: Mapping[str, int], configurations: int) -> list[str]:
    """What is not compared or not listed, in a line each."""
    new, added = len(found.trial.new), found.trial.report.added
    notes = [f"predictions are compared on {new:,} of {added:,} new rows"] if new < added else []
    if configurations > _MOST_CONFIGURATIONS:
        notes.append(f"{_MOST_CONFIGURATIONS} of {configurations:,} configurations are listed")
    if len(found.starts) > _MOST_STARTS:
        notes.append(f"{_MOST_STARTS} of {len(found.starts):,} new starts are listed")
    reasons = {why: n for why, n in skipped.items() if not (found.starts and why in _NO_NEWS)}
    for why in sorted(reasons, key=lambda why: -reasons[why])[:_MOST_REASONS]:
        rows = "1 new row has" if reasons[why] == 1 else f"{reasons[why]:,} new rows have"
        notes.append(f"{rows} no rate to compare: {why}")
    return notes
