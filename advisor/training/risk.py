"""Fitting the spread of memory demand on runs that fitted and runs that failed, and scoring it by source.

Maximum likelihood of the outcomes and of what was measured of demand, one constant at a time over a few
values; every source counts with the square root of its rows. The relative errors of parts that were read from
engines are given, not fitted: too few runs would carry them.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from advisor.risk import CONSTANTS, UNFORESEEN, Spread, family_of, risk_under, standard_error_mib
from advisor.training.memory_cases import MemoryCase, MemoryCases

_BASE = Spread(
    shift=0.0,
    fixed_mib=400.0,
    weights_given=0.004,
    weights_listed=0.02,
    weights_computed=0.03,
    compute_read=0.05,
    compute_derived=0.35,
    cache=0.01,
    growth_mib=100.0,
    growth_spread_mib=200.0,
)
"""Before any outcome is seen: file sizes by rule are 2–3 % off (`tests/test_weights.py`), compute buffers
within 0.05 where the accounting was read (`tests/test_memory_llamacpp.py`)."""

_GRID: dict[str, dict[str, Sequence[float]]] = {
    "llama.cpp": {
        "shift": (-0.01, 0.0, 0.01),
        "fixed_mib": (100, 150, 250, 400, 600, 900),
        "weights_listed": (0.005, 0.01, 0.02, 0.03),
        "weights_computed": (0.01, 0.02, 0.03, 0.05),
    },
    "vllm": {
        "shift": (-0.01, 0.0, 0.01, 0.02),
        "fixed_mib": (150, 250, 400, 600, 900, 1200),
        "weights_listed": (0.01, 0.02, 0.03, 0.05),
        "weights_computed": (0.02, 0.03, 0.05, 0.1, 0.15),
    },
}
"""Bounds are physical: demand is shifted by little, so that one half stays near the point where the estimate
equals what is available, and a guessed file is hardly worse than the rule that guesses it."""
FAMILIES = tuple(_GRID)
_PASSES = 3
_LEAST = 0.01
"""Nearest to 0 or 1 that a probability counts as: one odd row must not widen every error."""

_ANYTHING_MIB = 8192.0


@dataclass(frozen=True, slots=True)
class Score:
    """How good probabilities are: area under the ROC curve, Brier score, expected calibration error."""

    n: int
    positives: int
    auc: float | None
    brier: float
    ece: float


def fit_risk(cases: Sequence[MemoryCase]) -> dict[str, Spread]:
    """The spread of each engine family that maximises the likelihood of the outcomes of `cases`."""
    return {
        family: _fit(family, [case for case in cases if family_of(case.setup.launch.engine) == family])
        for family in _GRID
    }


def _fit(family: str, cases: Sequence[MemoryCase]) -> Spread:
    """Coordinate descent from `_BASE`: each constant in turn to its best value, until none moves."""
    counts = Counter(case.source for case in cases)
    weights = [1 / math.sqrt(counts[case.source]) for case in cases]
    best, least = _BASE, math.inf
    for _ in range(_PASSES):
        before = best
        for name, values in _GRID[family].items():
            for value in values:
                spread = replace(best, **{name: value})
                loss = _loss(cases, weights, spread)
                if loss < least:
                    best, least = spread, loss
        if best == before:
            break
    return best


def _loss(cases: Sequence[MemoryCase], weights: Sequence[float], spread: Spread) -> float:
    loss = 0.0
    for case, weight in zip(cases, weights, strict=True):
        if case.residual_mib is not None:
            loss -= weight * math.log(_residual_density(case, case.residual_mib, spread))
        p = min(max(risk_under(case.demand, spread).full, _LEAST), 1 - _LEAST)
        loss -= weight * math.log(p if case.oom else 1 - p)
    return loss


def _residual_density(case: MemoryCase, residual_mib: float, spread: Spread) -> float:
    """Likelihood of a measured demand: normal around the estimate, or (a few rows) anything at all."""
    deviation = standard_error_mib(case.demand, case.memory, spread)
    z = (residual_mib - case.memory.total_mib * spread.shift) / deviation
    normal = math.exp(-0.5 * z * z) / (deviation * math.sqrt(2 * math.pi))
    return (1 - UNFORESEEN) * normal + UNFORESEEN / _ANYTHING_MIB


def left_out_spreads(cases: Sequence[MemoryCase], folds: int = 5) -> list[Spread]:
    """For each case the constants of its family, fitted without its source."""
    largest_first = [source for source, _ in Counter(case.source for case in cases).most_common()]
    fold_of = {source: index % folds for index, source in enumerate(largest_first)}
    fitted = [fit_risk([case for case in cases if fold_of[case.source] != fold]) for fold in range(folds)]
    return [fitted[fold_of[case.source]][family_of(case.setup.launch.engine)] for case in cases]


def score(probabilities: Sequence[float], outcomes: Sequence[bool], bins: int = 10) -> Score:
    """Score `probabilities` of running out against what happened; AUC is None without both outcomes."""
    n = len(outcomes)
    brier = sum((p - oom) ** 2 for p, oom in zip(probabilities, outcomes, strict=True)) / max(n, 1)
    ece = sum(abs(mean - rate) * count for _, count, mean, rate in reliability(probabilities, outcomes, bins))
    return Score(n, sum(outcomes), _auc(probabilities, outcomes), brier, ece / max(n, 1))


def _auc(probabilities: Sequence[float], outcomes: Sequence[bool]) -> float | None:
    """Share of pairs of a failed and a good run in which the failed one was thought likelier to fail."""
    failed: Counter[float] = Counter(p for p, oom in zip(probabilities, outcomes, strict=True) if oom)
    good: Counter[float] = Counter(p for p, oom in zip(probabilities, outcomes, strict=True) if not oom)
    if not failed or not good:
        return None
    wins, below = 0.0, 0
    for p in sorted(failed | good):
        wins += failed[p] * (below + 0.5 * good[p])
        below += good[p]
    return wins / (failed.total() * good.total())


def reliability(
    probabilities: Sequence[float], outcomes: Sequence[bool], bins: int = 10
) -> list[tuple[int, int, float, float]]:
    """(bin, cases, mean probability, share that ran out) of every bin that has cases."""
    grouped: dict[int, list[tuple[float, bool]]] = {}
    for p, oom in zip(probabilities, outcomes, strict=True):
        grouped.setdefault(min(int(p * bins), bins - 1), []).append((p, oom))
    return [
        (index, len(rows), sum(p for p, _ in rows) / len(rows), sum(oom for _, oom in rows) / len(rows))
        for index, rows in sorted(grouped.items())
    ]


def write_constants(
    cases: MemoryCases, sources: Iterable[str], scores: Mapping[str, Any], path: Path = CONSTANTS
) -> dict[str, Any]:
    """Fit on all `cases`, and write the artefact with counts, sources and `scores`."""
    content = {
        "spreads": {family: asdict(spread) for family, spread in fit_risk(cases.cases).items()},
        "fitted_on": {
            "files": sorted(sources),
            "rows": cases.rows,
            "cases": len(cases.cases),
            "oom": sum(case.oom for case in cases.cases),
            "sources": len({case.source for case in cases.cases}),
            "skipped": dict(sorted(cases.skipped.items())),
        },
        **scores,
    }
    rounded = json.loads(json.dumps(content), parse_float=lambda text: round(float(text), 4))
    path.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    return content
