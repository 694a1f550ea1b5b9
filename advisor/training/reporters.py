"""How far two reporters of the same run are apart: what no prediction for a new reporter may expect to beat.

It compares measurements with each other; what was predicted for the same runs stands beside them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.speed.rates import MMQ_ENGINES
from advisor.training.accuracy import Validation
from advisor.training.rows import Case

_COPY = 1e-3
"""Reports that agree so well are one, told in two places."""
_LEAST_DEPTH = 1024
"""Depths and prompts below it are alike; above it those are that share a power of two."""

Cell = tuple[str | int | float | bool, ...]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Each report of a run against what the other reporters measured, and against what was predicted.

    Shares of the report; one of each for every reporter of every cell.
    """

    cells: int
    among_reporters: Sequence[float]
    of_predictions: Sequence[float]


def _cell(case: Case) -> Cell:
    """What makes runs comparable: the same figure, device, model, engine and load; formats of like size."""
    setup, query = case.setup, case.query
    engine = "llama.cpp" if setup.launch.engine in MMQ_ENGINES else setup.launch.engine
    return (
        case.kind,
        setup.gpu.name,
        setup.launch.gpu_count,
        setup.launch.tensor_parallel,
        setup.model.hf_id,
        round(2 * setup.quant.bpw) / 2,
        engine,
        case.speculation,
        case.offloaded,
        query.sequences,
        _magnitude(query.depth),
        _magnitude(query.prompt) if case.kind == "prefill" else 0,
    )


def _magnitude(tokens: float) -> int:
    return int(math.log2(tokens)) if tokens >= _LEAST_DEPTH else 0


def disagreement(validation: Validation, chosen: Sequence[int]) -> Disagreement:
    """Reports of the chosen cases that more than one source made; predicted without that source."""
    cells: dict[Cell, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index in chosen:
        case = validation.cases[index]
        cells[_cell(case)][case.source].append(index)
    shared, apart, off = 0, [], []
    for by_source in cells.values():
        reports = _reports(validation.cases, by_source)
        shared += len(reports) > 1
        for source, measured in reports.items() if len(reports) > 1 else ():
            others = [value for other, value in reports.items() if other != source]
            apart.append(abs(float(np.median(others)) / measured - 1.0))
            off.append(validation.score("source", by_source[source]).mdape or 0.0)
    return Disagreement(shared, apart, off)


def _reports(cases: Sequence[Case], by_source: dict[str, list[int]]) -> dict[str, float]:
    """The median of every reporter, copies left out."""
    reports: dict[str, float] = {}
    for source in sorted(by_source):
        value = float(np.median([cases[index].measured for index in by_source[source]]))
        if all(abs(value / other - 1.0) > _COPY for other in reports.values()):
            reports[source] = value
    return reports
