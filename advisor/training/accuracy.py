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
from advisor.speed.intervals import DEEP_TOKENS, LEVEL
from advisor.training.metrics import figure_score
from advisor.training.rows import Case, Kind
from advisor.training.rules_of_thumb import closed_formula, reading_rate
from advisor.training.validate import TIER_OF, Scheme, fit_widths, fold_of_cases
from knowledge.units import format_tokens

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Part:
    """One of the figures that a score is given for: which cases it is about, and how it is called."""

    kind: Kind
    name: str
    about: Callable[[Case], bool]


def _steady(case: Case) -> bool:
    """Decoding of one sequence, without speculation."""
    return case.kind == "decode" and case.query.sequences == 1 and case.speculation == "none"


def _on_gpu(case: Case) -> bool:
    return _steady(case) and not case.offloaded and case.setup.gpu.kind != "cpu"


PARTS: Mapping[str, Part] = {
    "decode": Part("decode", "decode, one sequence, on GPU", _on_gpu),
    "decode_deep": Part(
        "decode",
        f"– {format_tokens(DEEP_TOKENS)} and more in the cache",
        lambda case: _on_gpu(case) and case.query.depth >= DEEP_TOKENS,
    ),
    "decode_offload": Part(
        "decode", "decode, partly on the host", lambda case: _steady(case) and case.offloaded
    ),
    "decode_cpu": Part(
        "decode", "decode, on a CPU", lambda case: _steady(case) and case.setup.gpu.kind == "cpu"
    ),
    "decode_shared": Part(
        "decode",
        "decode, each of several sequences",
        lambda case: case.kind == "decode" and case.query.sequences > 1 and case.speculation == "none",
    ),
    "decode_speculative": Part(
        "decode",
        "decode, with speculation",
        lambda case: case.kind == "decode" and case.speculation != "none",
    ),
    "total": Part(
        "total",
        "total throughput of several sequences",
        lambda case: case.kind == "total" and case.speculation == "none",
    ),
    "prefill": Part("prefill", "prefill", lambda case: case.kind == "prefill"),
    "ttft": Part("ttft", "time to first token", lambda case: case.kind == "ttft"),
}
"""The figures that are scored apart, in the order they are shown."""

RULES: Mapping[str, Callable[[Setup], float]] = {
    "bandwidth ÷ bytes × one constant": reading_rate,
    "closed formula of llmfit": closed_formula,
}
"""What others do, on the same rows (`advisor.training.rules_of_thumb`); the first has a constant to fit."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Cases with what was predicted for them without their source, device or model; arrays of (cases,).

    `covered`: inside the 80 % interval whose width the other folds' errors gave. `rules`: what each of
    `RULES` says, NaN where it says nothing.
    """

    cases: Sequence[Case]
    predicted: Mapping[Scheme, Floats]
    covered: Mapping[Scheme, Bools]
    rules: Mapping[str, Mapping[Scheme, Floats]]

    def score(self, scheme: Scheme, chosen: Sequence[int]) -> FigureScore:
        """The score of some cases, by their indices."""
        where = list(chosen)
        measured = [self.cases[index].measured for index in where]
        return figure_score(measured, self.predicted[scheme][where], self.covered[scheme][where])

    def rule_score(self, rule: str, scheme: Scheme, chosen: Sequence[int]) -> FigureScore:
        """The score of one of `RULES` on those of the cases that it speaks about."""
        said = self.rules[rule][scheme]
        where = [index for index in chosen if not math.isnan(said[index])]
        measured = [self.cases[index].measured for index in where]
        return figure_score(measured, said[where], None)

    def bias(self, scheme: Scheme, chosen: Sequence[int]) -> float | None:
        """The median of predicted ÷ measured, less one; None without a case."""
        if not chosen:
            return None
        ratios = [self.predicted[scheme][index] / self.cases[index].measured for index in chosen]
        return float(np.median(ratios)) - 1.0

    def indices(self, part: str) -> list[int]:
        """Which cases a part of `PARTS` is about."""
        return [index for index, case in enumerate(self.cases) if PARTS[part].about(case)]


def validated(cases: Sequence[Case], predicted: Mapping[Scheme, Floats]) -> Validation:
    """The out-of-fold predictions with their coverage and the rule to beat."""
    return Validation(
        cases,
        predicted,
        {scheme: covered_at(cases, values, scheme) for scheme, values in predicted.items()},
        {
            rule: {scheme: _by_rule(cases, scheme, rate, fitted=not index) for scheme in predicted}
            for index, (rule, rate) in enumerate(RULES.items())
        },
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


def covered_at(cases: Sequence[Case], predicted: Floats, scheme: Scheme, level: float = LEVEL) -> Bools:
    """Whether each case lies inside the interval that the errors of the other folds would have given it."""
    out = np.zeros(len(cases), dtype=np.bool_)
    tier = TIER_OF[scheme]
    for held, others in _others(cases, scheme):
        widths = fit_widths([cases[index] for index in others], {scheme: predicted[others]}, level)
        for index in held:
            case = cases[index]
            # A rate that no other fold measured has no interval, and so covers nothing.
            if f"{case.rate}/{tier}" in widths.half:
                error = abs(math.log(case.measured / predicted[index]))
                out[index] = error <= widths.of(case.rate, tier, case.regime)
    return out


def _by_rule(
    cases: Sequence[Case], scheme: Scheme, rate: Callable[[Setup], float], *, fitted: bool
) -> Floats:
    """Decode of one sequence as `rate` says it; `fitted`: × one constant, the median of the other folds."""
    out = np.full(len(cases), math.nan)
    single = np.asarray([_steady(case) for case in cases], dtype=np.bool_)
    out[single] = [rate(case.setup) for case in cases if _steady(case)]
    if not fitted:
        return out
    scaled = out.copy()
    measured = np.asarray([case.measured for case in cases])
    for held, others in _others(cases, scheme):
        known = np.asarray(others, dtype=np.int64)
        known = known[single[known]]
        asked = np.asarray(held, dtype=np.int64)
        asked = asked[single[asked]]
        if known.size and asked.size:
            scaled[asked] = out[asked] * np.median(measured[known] / out[known])
    return scaled


def rows_by_source(cases: Sequence[Case]) -> Counter[str]:
    """How many rows each source gave cases from."""
    return Counter(source for source, _ in {(case.source, case.row) for case in cases})
