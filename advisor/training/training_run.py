"""One training: measured rows in, a fitted speed model and how wrong it is out.

The rows are taken in an order of their own, so that the same rows give the same model whichever way they
came. It writes nothing (`advisor.training.destination`) and asks no store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from advisor.listings import Headline
from advisor.speed.model import SpeedModel
from advisor.training.accuracy import PARTS, RULES, Validation, validated
from advisor.training.fit import fit_model, influence_of
from advisor.training.rows import FIGURE_OF, Cases, cases_of
from advisor.training.validate import GROUPS, fit_widths, out_of_fold
from knowledge.catalog import Catalog
from knowledge.errors import UsageError

Row = Mapping[str, Any]
"""A run of the store: `knowledge.store.queries.training_rows`."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """The model, the cases it was fitted on, and what it says of them when they are left out."""

    rows: Sequence[Row]
    found: Cases
    validation: Validation
    model: SpeedModel

    @property
    def own_rows(self) -> int:
        """Rows of the user, not shipped."""
        return sum(row.get("origin") == "user" for row in self.rows)

    def headlines(self) -> list[Headline]:
        """How far each figure was off on sources, devices and models left out."""
        return [
            Headline(
                figure=FIGURE_OF[part.kind],
                part=key,
                left_out=scheme,
                score=self.validation.score(scheme, chosen),
                baseline_mdape=self.validation.rule_score(next(iter(RULES)), scheme, chosen).mdape,
            )
            for key, part in PARTS.items()
            for chosen in [self.validation.indices(key)]
            for scheme in self.validation.predicted
        ]


def train_on(rows: Sequence[Row], catalog: Catalog, tell: Callable[[str], None]) -> TrainingRun:
    """Validate and fit on `rows`; `tell` hears what is being done (a minute or so on all shipped rows).

    Raises:
        UsageError: rows of which not one can be learnt from.
    """
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    found = cases_of(ordered, catalog)
    if not found.cases:
        raise UsageError("no row can be learnt from", "see: advisor observations")
    predicted = {}
    for scheme in GROUPS:
        tell(f"predicting {len(found.cases):,} figures with their {scheme} left out")
        predicted[scheme] = out_of_fold(found.cases, scheme)
    tell("fitting on all of them")
    widths = fit_widths(found.cases, predicted)
    model = fit_model(found.cases, fingerprint=fingerprint_of(ordered), widths=widths)
    model = replace(model, influence=influence_of(found.cases, model))
    return TrainingRun(ordered, found, validated(found.cases, predicted), model)


def fingerprint_of(rows: Sequence[Row]) -> str:
    """Which rows, and what their names were taken for: 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for row in rows:
        digest.update("\0".join(str(row[key]) for key in _IDENTITY).encode())
        digest.update(b"\n")
    return digest.hexdigest()


_IDENTITY = ("id", "gpu_id", "model_id", "quant_id")
