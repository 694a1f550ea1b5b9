"""Learning from the user's own rows: how much slower or faster their machines are than all rows say.

A machine's factor is shrunk towards none by what is known of such cards already; a model's on it towards the
machine's. Rows of one model on one machine share its error, so that many weigh like a few.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from advisor.listings import Learnt
from advisor.speed.model import SpeedModel
from advisor.speed.own import OwnFactors, own_keys
from advisor.training.predicting import is_decode, predict_cases
from advisor.training.rows import Case

Floats = npt.NDArray[np.float64]

_WITHIN = 0.15
"""Standard deviation, in log, of one reporter's cells around the machine's own mean (docs/model_card.md: two
reports of one configuration differ by a tenth)."""
_KNOWN_CARD, _NEW_CARD, _MODEL = 0.12, 0.3, 0.1
"""The same of machines around what is predicted, for cards that others have measured and for others; and of a
model around its machine."""
_CLIP = 1.0
"""Logarithms beyond this are other mistakes, and pull no further."""


def with_own(cases: Sequence[Case], model: SpeedModel, known_cards: Collection[str]) -> SpeedModel:
    """`model` with what the user's own among the `cases` say, and nothing of what they said before."""
    plain = replace(model, own=OwnFactors())
    return replace(plain, own=own_factors(cases, plain, known_cards))


def own_factors(cases: Sequence[Case], model: SpeedModel, known_cards: Collection[str]) -> OwnFactors:
    """Factors for every machine that the user measured, over `model`, which has none.

    `known_cards`: those that others have measured.
    """
    own = own_rates(cases)
    off: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for case, predicted in zip(own, predict_cases(model, own).tolist() if own else (), strict=True):
        machine, cell = own_keys(case.setup, decode=is_decode(case))
        # A rate that was overestimated means seconds that were underestimated.
        off[machine][cell].append(float(np.clip(math.log(predicted / case.measured), -_CLIP, _CLIP)))
    known = {
        own_keys(case.setup, decode=is_decode(case))[0]: case.setup.gpu.name in known_cards for case in own
    }
    logs: dict[str, float] = {}
    for machine, cells in off.items():
        means = {cell: float(np.median(values)) for cell, values in cells.items()}
        weights = {cell: math.sqrt(len(values)) for cell, values in cells.items()}
        spread = _KNOWN_CARD if known[machine] else _NEW_CARD
        total = sum(weights.values())
        offset = sum(weights[cell] * means[cell] for cell in cells) / (total + (_WITHIN / spread) ** 2)
        logs[machine] = offset
        for cell, mean in means.items():
            logs[cell] = weights[cell] * (mean - offset) / (weights[cell] + (_WITHIN / _MODEL) ** 2)
    return OwnFactors(logs)


def learnt(cases: Sequence[Case], before: SpeedModel | None, after: SpeedModel) -> Learnt | None:
    """What own rows changed: the error on them before and after, and how far other predictions moved.

    `before`: the model that answered until now; None where none could be read.
    """
    own = own_rates(cases)
    if not own:
        return None
    cards = {case.setup.gpu.name for case in own}
    rest = [case for case in cases if case.setup.gpu.name not in cards]
    moved = None
    if before and rest:
        moved = float(np.median(np.abs(predict_cases(after, rest) / predict_cases(before, rest) - 1.0)))
    return Learnt(
        figures=len(own),
        rows=len({case.row for case in own}),
        error_before=_median_error(own, predict_cases(before, own)) if before else None,
        error_after=_median_error(own, predict_cases(after, own)),
        others_moved=moved,
    )


def own_rates(cases: Sequence[Case]) -> list[Case]:
    """The cases that tell of the user's machine: rates of the user's, without guesses of unknown luck."""
    return [case for case in cases if case.own and case.kind != "ttft" and case.speculation == "none"]


def _median_error(cases: Sequence[Case], predicted: Floats) -> float:
    measured = np.asarray([case.measured for case in cases])
    return float(np.median(np.abs(predicted - measured) / measured))
