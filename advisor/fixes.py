"""Which single changes make a launch fit, in the order of what each costs in speed, quality and context.

It owns the order; the changes are `advisor.changes`', every figure is `advisor.estimate`'s.

Changes within the risk limit come first, the cheapest of them on top. The cost is what is lost, as a sum of
logarithms: decode speed, half of it with an empty cache and half at a full context, a quarter of what prefill
loses, three times what the answers lose (`advisor.quality`), and the context given up. What no figure tells
has a fixed price: another file has to be fetched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from advisor.changes import Change, changes_of
from advisor.config import Interval, PredictedFigures, Setup
from advisor.engines.rules import apply
from advisor.estimate import predict_setups
from advisor.memory import account
from advisor.quality import retained
from advisor.words import SAFE
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError

_FALLBACKS = 3
"""Changes to name where none is enough by itself."""
_PREFILL_WEIGHT = 0.25
_QUALITY_WEIGHT = 3.0


@dataclass(frozen=True, slots=True)
class Fixed:
    """A change with its figures and its cost."""

    change: Change
    figures: PredictedFigures
    cost: float

    @property
    def fits(self) -> bool:
        """Whether the change brings the risk within the limit."""
        return self.figures.oom_probability <= SAFE


def changes_that_fit(setup: Setup, figures: PredictedFigures, catalog: Catalog) -> list[Fixed]:
    """Single changes after which `setup` fits, cheapest first; where there are none, the most helpful ones.

    `figures` are those of `setup` itself.
    """
    found = list(_possible(changes_of(setup, catalog), setup, catalog))
    predicted = predict_setups([change.setup for change in found])
    fixed = [
        Fixed(change, after, _cost(setup, figures, change, after))
        for change, after in zip(found, predicted, strict=True)
    ]
    enough = sorted((item for item in fixed if item.fits), key=lambda item: (item.cost, item.change.text))
    if enough:
        return enough
    better = [item for item in fixed if _shortage(item.figures) < _shortage(figures) - 1]
    return sorted(better, key=_helpfulness)[:_FALLBACKS]


def _helpfulness(item: Fixed) -> tuple[float, float, float]:
    return round(item.figures.oom_probability, 2), _shortage(item.figures), item.cost


def _shortage(figures: PredictedFigures) -> float:
    """MiB that are missing, by which changes compare where the risk is certain anyway."""
    return figures.memory.total_mib - figures.memory.available_mib


def _possible(changes: Iterable[Change], setup: Setup, catalog: Catalog) -> Iterator[Change]:
    """The changes that can be computed and that no rule forbids which allows the launch as it is."""
    before = {caution.rule for caution in apply(setup, catalog=catalog).forbidden}
    for change in changes:
        if {caution.rule for caution in apply(change.setup, catalog=catalog).forbidden} - before:
            continue
        try:
            account(change.setup)
        except UnsupportedError:
            continue
        yield change


def _cost(setup: Setup, before: PredictedFigures, change: Change, after: PredictedFigures) -> float:
    """What is lost, in logarithms; gains do not pay for losses."""
    quality = retained(change.setup.model, change.setup.quant, change.setup.launch) / retained(
        setup.model, setup.quant, setup.launch
    )
    return (
        _lost(before.decode_tps, after.decode_tps) / 2
        + _lost(before.decode_tps_full_context, after.decode_tps_full_context) / 2
        + _PREFILL_WEIGHT * _lost(before.prefill_tps, after.prefill_tps)
        - _QUALITY_WEIGHT * math.log(min(quality, 1.0))
        - math.log(min(change.setup.launch.ctx / setup.launch.ctx, 1.0))
        + change.price
    )


def _lost(before: Interval | None, after: Interval | None) -> float:
    if before is None or after is None:
        return 0.0
    return max(0.0, math.log(before.value / after.value))
