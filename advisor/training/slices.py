"""Parts of the cases that reports look at apart: by kind of run, engine, device, format, size of the source.

It names groups and sorts cases into them; what they score is `advisor.training.accuracy`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from advisor.training.accuracy import HEADLINES, rows_by_source
from advisor.training.rows import Case, Kind

Namer = Callable[[Case], str]


@dataclass(frozen=True, slots=True)
class Slice:
    """One way to part the cases. `namer` may look at all cases before it names the group of one.

    `every_rate`: decode of several sequences and with speculation is shown too, since the groups tell them
    apart.
    """

    name: str
    namer: Callable[[Sequence[Case]], Namer]
    every_rate: bool = False
    remark: str = ""

    def figures(self, cases: Sequence[Case], figure: Kind) -> list[int]:
        """The cases that stand for a headline figure in this slice, by their indices."""
        wanted = HEADLINES[figure]
        if self.every_rate and figure in {"decode", "total"}:
            return [index for index, case in enumerate(cases) if case.kind == figure]
        return [index for index, case in enumerate(cases) if wanted(case)]


def groups_of(cases: Sequence[Case], chosen: Sequence[int], piece: Slice) -> dict[str, list[int]]:
    """The chosen cases by group."""
    name = piece.namer(cases)
    members: dict[str, list[int]] = defaultdict(list)
    for index in chosen:
        members[name(cases[index])].append(index)
    return members


def _by(attribute: Namer) -> Callable[[Sequence[Case]], Namer]:
    return lambda _: attribute


def _source_size(cases: Sequence[Case]) -> Namer:
    rows: Mapping[str, int] = rows_by_source(cases)

    def name(case: Case) -> str:
        """The decade of the source's rows: `1–9`, `10–99` …."""
        least = 10 ** (len(str(rows[case.source])) - 1)
        return f"{least:,}–{10 * least - 1:,} rows"

    return name


SLICES = (
    Slice(
        "kind of run",
        _by(lambda case: case.regime),
        every_rate=True,
        remark="The hardest condition names it; decode is here that of each sequence, also of several.",
    ),
    Slice("engine", _by(lambda case: case.setup.launch.engine)),
    Slice("device", _by(lambda case: case.setup.gpu.name)),
    Slice("format family", _by(lambda case: case.setup.quant.family)),
    Slice("size of the source", _source_size),
)
