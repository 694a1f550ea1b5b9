"""How an answer would move without the measured runs that are shown beside it.

It takes the store's rows for what the fit took them for, and asks the speed model; it finds no runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from advisor.config import Prediction, Setup
from advisor.evidence import Near
from advisor.speed.coefficients import group_path
from advisor.speed.figures import decode_query_of
from advisor.speed.influence import Run
from advisor.speed.model import SpeedModel, decode_query_parts, load_model
from advisor.training.predicting import decode_query, is_decode
from advisor.training.rows import cases_of
from knowledge.catalog import Catalog
from knowledge.units import format_tps

Row = Mapping[str, Any]


def with_runs(prediction: Prediction, setup: Setup, near: Sequence[Near], catalog: Catalog) -> Prediction:
    """The prediction with the measured runs, what decode would be without each, and without all of them."""
    figure = prediction.prediction.decode_tps
    decode = figure.value if figure else None
    model = load_model()
    shown = [_runs(item.rows, model, catalog) for item in near] if decode else [[] for _ in near]
    evidence = []
    for item, runs in zip(near, shown, strict=True):
        moved = _moved(setup, model, runs)
        value = decode * moved if decode and moved else None
        evidence.append(item.run.model_copy(update={"decode_tps_without": value}))
    moved = _moved(setup, model, [run for runs in shown for run in runs])
    if decode and moved:
        said = f" Without the runs shown, decode would be {format_tps(decode * moved)} tok/s."
        prediction = prediction.model_copy(update={"why": prediction.why + said})
    return prediction.model_copy(update={"evidence": evidence})


def without(setup: Setup, rows: Sequence[Row], catalog: Catalog) -> float | None:
    """Decode of `setup` (relative to what is predicted) had the runs `rows` been left out of the fit.

    None where none of them was fitted: there is nothing to leave out.
    """
    model = load_model()
    return _moved(setup, model, _runs(rows, model, catalog))


def _moved(setup: Setup, model: SpeedModel, runs: Sequence[Run]) -> float | None:
    if not runs:
        return None
    query = decode_query_of(setup, model)
    phase = query.decode_phase
    parts = decode_query_parts(query)
    return math.exp(-model.influence.shift(model.decode_factors, setup, phase, parts, runs))


def _runs(rows: Sequence[Row], model: SpeedModel, catalog: Catalog) -> list[Run]:
    """The decoding steps that the fit saw of the rows."""
    found = []
    for case in cases_of(rows, catalog).cases:
        if not is_decode(case) or case.speculation != "none":
            continue
        weight = model.influence.weight_of(case.source, case.setup)
        if weight:
            query = decode_query(case, model.prefill_factors)
            seconds = (query.sequences if case.kind == "total" else 1.0) / case.measured
            path = group_path(case.setup, query.decode_phase)
            found.append(Run(decode_query_parts(query), math.log(seconds), weight, path))
    return found
