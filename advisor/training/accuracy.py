"""How far predictions were off for rows that the fit had not seen: errors, honest coverage, a rule to beat.

It scores what `advisor.training.validate` predicted out of fold and fits nothing but one constant. Which
groups are shown, and in which words, is the model card's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from advisor.config import Setup
from advisor.listings import FigureScore
from advisor.training.metrics import figure_score
from advisor.training.rows import Case, Kind
from advisor.training.validate import TIER_OF, Scheme, fit_widths, fold_of_cases

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

HEADLINES: Mapping[Kind, Callable[[Case], bool]] = {
    "decode": lambda case: case.kind == "decode" and case.query.sequences == 1 and case.speculation == "none",
    "total": lambda case: case.kind == "total" and case.speculation == "none",
    "prefill": lambda case: case.kind == "prefill",
    "ttft": lambda case: case.kind == "ttft",
}
"""The cases that each headline figure is about."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Cases with what was predicted for them without their source, device or model; arrays of (cases,).

    `covered`: inside the 80 % interval whose width the other folds' errors gave. `simple`: bandwidth ÷ bytes
    × one constant, NaN where that rule says nothing.
    """

    cases: Sequence[Case]
    predicted: Mapping[Scheme, Floats]
    covered: Mapping[Scheme, Bools]
    simple: Mapping[Scheme, Floats]

    def score(self, scheme: Scheme, chosen: Sequence[int]) -> FigureScore:
        """The score of some cases, by their indices."""
        where = list(chosen)
        measured = [self.cases[index].measured for index in where]
        return figure_score(measured, self.predicted[scheme][where], self.covered[scheme][where])

    def simple_score(self, scheme: Scheme, chosen: Sequence[int]) -> FigureScore:
        """The score of the simple rule on those of the cases that it speaks about."""
        where = [index for index in chosen if not math.isnan(self.simple[scheme][index])]
        measured = [self.cases[index].measured for index in where]
        return figure_score(measured, self.simple[scheme][where], None)

    def indices(self, headline: Kind) -> list[int]:
        """Which cases a headline figure is about."""
        return [index for index, case in enumerate(self.cases) if HEADLINES[headline](case)]


def validated(cases: Sequence[Case], predicted: Mapping[Scheme, Floats]) -> Validation:
    """The out-of-fold predictions with their coverage and the rule to beat."""
    return Validation(
        cases,
        predicted,
        {scheme: _covered(cases, values, scheme) for scheme, values in predicted.items()},
        {scheme: _simple(cases, scheme) for scheme in predicted},
    )


def _others(cases: Sequence[Case], scheme: Scheme) -> list[tuple[list[int], list[int]]]:
    """For every fold the cases in it and the cases outside, by their indices."""
    fold = fold_of_cases(cases, scheme).tolist()
    return [
        (
            [index for index, place in enumerate(fold) if place == held],
            [index for index, place in enumerate(fold) if place != held],
        )
        for held in sorted(set(fold))
    ]


def _covered(cases: Sequence[Case], predicted: Floats, scheme: Scheme) -> Bools:
    """Whether each case lies inside the interval that the errors of the other folds would have given it."""
    out = np.zeros(len(cases), dtype=np.bool_)
    tier = TIER_OF[scheme]
    for held, others in _others(cases, scheme):
        widths = fit_widths([cases[index] for index in others], {scheme: predicted[others]})
        for index in held:
            case = cases[index]
            # A kind of figure that no other fold measured has no interval, and so covers nothing.
            if f"{case.kind}/{tier}" in widths.half:
                error = abs(math.log(case.measured / predicted[index]))
                out[index] = error <= widths.of(case.kind, tier, case.regime)
    return out


def _simple(cases: Sequence[Case], scheme: Scheme) -> Floats:
    """What most calculators do: `reading_rate` × one constant, here the median of the other folds."""
    out = np.full(len(cases), math.nan)
    bound = np.asarray([reading_rate(case.setup) for case in cases])
    measured = np.asarray([case.measured for case in cases])
    single = np.asarray([HEADLINES["decode"](case) for case in cases], dtype=np.bool_)
    for held, others in _others(cases, scheme):
        known = np.asarray(others, dtype=np.int64)
        known = known[single[known]]
        asked = np.asarray(held, dtype=np.int64)
        asked = asked[single[asked]]
        if known.size and asked.size:
            out[asked] = bound[asked] * np.median(measured[known] / bound[known])
    return out


def reading_rate(setup: Setup) -> float:
    """How often a second the devices that share each tensor can read the weights that one token needs."""
    weights, model = setup.weights, setup.model
    used = model.n_experts_used / model.n_experts if model.n_experts else 0.0
    read = weights.dense + weights.output + weights.experts * used
    return (setup.gpu.bandwidth_gbps or 0.0) * 1e9 * setup.launch.tensor_parallel / read


def rows_by_source(cases: Sequence[Case]) -> Counter[str]:
    """How many rows each source gave cases from."""
    return Counter(source for source, _ in {(case.source, case.row) for case in cases})
