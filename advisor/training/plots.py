"""The diagrams that go with the model card, from a training run: file name → SVG.

It chooses what is shown; how it is drawn, `advisor.training.diagrams` says.
"""

from __future__ import annotations

from collections.abc import Sequence

from advisor.training.accuracy import PARTS, Validation, covered_at
from advisor.training.card_tables import FEW
from advisor.training.diagrams import bars_diagram, coverage_diagram, scatter_diagram
from advisor.training.slices import SLICES, groups_of

SCATTER, COVERAGE, BY_SLICE = "decode_scatter.svg", "interval_coverage.svg", "error_by_slice.svg"
_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_CURVES = ("decode", "total", "prefill", "ttft")
_BARRED = ("kind of run", "engine", "format family", "depth")


def plots(validation: Validation) -> dict[str, str]:
    """Predicted against measured, reliability of intervals, error by slice; of sources left out."""
    chosen = validation.indices("decode")
    measured = [validation.cases[index].measured for index in chosen]
    predicted = validation.predicted["source"][chosen].tolist()
    return {
        SCATTER: scatter_diagram(measured, predicted),
        COVERAGE: coverage_diagram(_coverage(validation)),
        BY_SLICE: bars_diagram("Median error of decode of one sequence, by part", _bars(validation)),
    }


def _coverage(validation: Validation) -> dict[str, Sequence[tuple[float, float]]]:
    curves: dict[str, list[tuple[float, float]]] = {PARTS[key].name: [] for key in _CURVES}
    where = {key: validation.indices(key) for key in _CURVES}
    for level in _LEVELS:
        inside = covered_at(validation.cases, validation.predicted["source"], "source", level)
        for key, chosen in where.items():
            if chosen:
                curves[PARTS[key].name].append((level, float(inside[chosen].mean())))
    return dict(curves)


def _bars(validation: Validation) -> list[tuple[str, int, float]]:
    bars = []
    for piece in SLICES:
        if piece.name not in _BARRED:
            continue
        groups = groups_of(validation.cases, piece.figures(validation.cases, "decode"), piece)
        for name, chosen in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
            error = validation.score("source", chosen).mdape
            if len(chosen) >= FEW and error is not None:
                bars.append((f"{piece.name}: {name}", len(chosen), error))
    return bars
