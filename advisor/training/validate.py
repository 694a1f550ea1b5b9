"""How wrong the speed model is on sources, devices and models not seen, and what that makes of intervals.

Rows are left out by whole groups, never at random: a reporter's rows resemble each other more than the next
reporter's.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from advisor.speed.intervals import LEVEL, Tier, Widths
from advisor.training.fit import fit_model
from advisor.training.predicting import predict_cases
from advisor.training.rows import Case

Floats = npt.NDArray[np.float64]
Scheme = Literal["source", "gpu", "model"]

GROUPS: Mapping[Scheme, Callable[[Case], str]] = {
    "source": lambda case: case.source,
    "gpu": lambda case: case.setup.gpu.name,
    "model": lambda case: case.setup.model.hf_id,
}
TIER_OF: Mapping[Scheme, Tier] = {"source": "seen", "gpu": "new_gpu", "model": "new_model"}
FOLDS: Mapping[Scheme, int] = {"source": 20, "gpu": 10, "model": 10}
"""Parts that the groups are dealt into: the largest sources have one of their own."""
_MIN_WIDTH_ROWS = 60
_FINITE_SAMPLE = 1.0
"""Split-conformal takes the ⌈(n+1)·level⌉-th residual, not the n·level-th."""


def folds_of(groups: Sequence[str], folds: int) -> npt.NDArray[np.int64]:
    """A fold for each row such that no group is split; large groups first, each into the lightest fold."""
    load = [0] * folds
    place: dict[str, int] = {}
    for group, rows in sorted(Counter(groups).items(), key=lambda item: (-item[1], item[0])):
        lightest = min(range(folds), key=lambda fold: (load[fold], fold))
        place[group] = lightest
        load[lightest] += rows
    return np.asarray([place[group] for group in groups], dtype=np.int64)


def fold_of_cases(cases: Sequence[Case], scheme: Scheme) -> npt.NDArray[np.int64]:
    """The fold of each case when whole sources, devices or models are left out."""
    return folds_of([GROUPS[scheme](case) for case in cases], FOLDS[scheme])


def out_of_fold(cases: Sequence[Case], scheme: Scheme) -> Floats:
    """Each case predicted by a model that never saw its group; shape (cases,)."""
    fold = fold_of_cases(cases, scheme)
    out = np.full(len(cases), math.nan)
    for held in range(int(fold.max()) + 1):
        train = [case for case, f in zip(cases, fold, strict=True) if f != held]
        test = np.flatnonzero(fold == held)
        out[test] = predict_cases(fit_model(train), [cases[i] for i in test.tolist()])
    return out


def _quantile(errors: Floats, level: float) -> float:
    rank = math.ceil((len(errors) + _FINITE_SAMPLE) * level)
    return float(np.sort(errors)[min(rank, len(errors)) - 1])


def fit_widths(cases: Sequence[Case], predicted: Mapping[Scheme, Floats], level: float = LEVEL) -> Widths:
    """Interval half-widths from out-of-fold errors, per rate, tier and regime with enough rows."""
    half: dict[str, float] = {}
    for scheme, values in predicted.items():
        tier = TIER_OF[scheme]
        errors: dict[str, list[float]] = defaultdict(list)
        for case, value in zip(cases, values.tolist(), strict=True):
            error = abs(math.log(case.measured / value))
            errors[f"{case.rate}/{tier}"].append(error)
            errors[f"{case.rate}/{tier}/{case.regime}"].append(error)
        for key, found in errors.items():
            if len(found) >= _MIN_WIDTH_ROWS or key.count("/") == 1:
                half[key] = _quantile(np.asarray(found), level)
    # Neither device nor model seen: both errors apply, as independent ones.
    for key in [key for key in half if "/new_gpu" in key]:
        other = half.get(key.replace("/new_gpu", "/new_model"))
        if other is not None:
            half[key.replace("/new_gpu", "/new_both")] = math.hypot(half[key], other)
    return Widths(half)
