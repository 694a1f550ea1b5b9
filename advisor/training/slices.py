"""Parts of the cases that reports look at apart: by kind of run, engine, device, format, depth and the like.

It names groups and sorts cases into them; what they score is `advisor.training.accuracy`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from advisor.training.accuracy import PARTS, rows_by_source
from advisor.training.rows import Case, Kind
from knowledge.units import format_tokens

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
        """The cases that stand for a figure in this slice, by their indices."""
        if self.every_rate and figure in {"decode", "total"}:
            return [index for index, case in enumerate(cases) if case.kind == figure]
        return [index for index, case in enumerate(cases) if PARTS[figure].about(case)]


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


_DEPTHS = (1024, 8192, 32_768, 131_072)
_CROWDS = (2, 5, 17, 65)


def _range(value: float, bounds: Sequence[int]) -> str:
    """Which range a value is in: below the first bound, from one to the next, from the last on."""
    below = [bound for bound in bounds if bound <= value]
    above = [bound for bound in bounds if bound > value]
    if not below:
        return f"below {format_tokens(above[0])}"
    last = f"to {format_tokens(above[0] - 1 if above[0] < _EXACT else above[0])}" if above else "and more"
    return f"{format_tokens(below[-1])} {last}"


_EXACT = 1000
"""Bounds below it are counts, not rounded lengths."""


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
    Slice("depth", _by(lambda case: _range(case.query.depth, _DEPTHS))),
    Slice(
        "sequences at once",
        _by(lambda case: _range(case.query.sequences, _CROWDS)),
        every_rate=True,
        remark="Decode is here that of each sequence, with speculation too.",
    ),
    Slice("size of the source", _source_size),
)
