"""The founding figures: what one person noted in a day, beside what is predicted for that day without them.

Intervals are those of answers; builds are those of the day. It fits nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from advisor.config import Interval
from advisor.speed.intervals import Widths
from advisor.training.rows import Case
from advisor.training.training_run import TrainingRun

FILE = "daily_insights.csv"
_DECIDES = {
    "engine": "engine",
    "engine_version": "build",
    "kv_type_k": "cache type",
    "depth": "depth",
    "weights_gib": "file",
}
"""What decides about a speed, by column of a row, in words."""


@dataclass(frozen=True, slots=True)
class Noted:
    """One noted figure with its prediction; `remark` as it was noted, `unsaid` what it leaves open."""

    case: Case
    predicted: Interval
    remark: str
    unsaid: tuple[str, ...]

    @property
    def inside(self) -> bool:
        """Whether the interval has it."""
        return self.predicted.low <= self.case.measured <= self.predicted.high

    @property
    def reach(self) -> float:
        """How far up the interval reaches, relative to the prediction."""
        return self.predicted.high / self.predicted.value - 1.0


def noted(run: TrainingRun) -> Iterator[Noted]:
    """Every rate of the founding notes that can be predicted, in the order of the rows."""
    for index, case in enumerate(run.found.cases):
        row = run.rows[case.row]
        if row.get("file") == FILE and case.kind in {"decode", "total"}:
            half = run.model.widths.of(case.rate, "seen", case.regime)
            value = float(run.validation.predicted["source"][index])
            unsaid = tuple(word for column, word in _DECIDES.items() if row.get(column) in (None, ""))
            yield Noted(case, Widths.interval(value, half), str(row.get("notes") or ""), unsaid)
