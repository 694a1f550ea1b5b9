"""Fitting the speed model: physics factors first, boosted trees on the log of what is left.

The result is the same `SpeedModel` that answers people; how wrong it is, `advisor.training.validate` finds
out.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from advisor.speed.coefficients import Coefficients, Phase, group_path
from advisor.speed.features import features
from advisor.speed.influence import Influence, cell_key
from advisor.speed.intervals import Widths
from advisor.speed.model import (
    Query,
    SpeedModel,
    decode_query_parts,
    physics_seconds,
    prefill_query_parts,
    speculation_key,
)
from advisor.speed.trees import Forest
from advisor.training.export import forest_of
from advisor.training.own_rows import with_own
from advisor.training.physics import ROBUST_SCALE, Range, curvatures, fit_coefficients
from advisor.training.predicting import decode_query, is_decode
from advisor.training.rows import Case

Floats = npt.NDArray[np.float64]

# Factors on datasheet times: start, lowest, highest, spread, in the order of the parts. Nothing beats its
# datasheet; what counts layers and steps is in microseconds.
DECODE_RANGES = (
    Range(1.12, 1.02, 2.5, 0.04),  # weights
    Range(1.3, 1.02, 3.5, 0.12),  # experts
    Range(1.2, 1.0, 6.0, 0.18),  # kv
    Range(1.5, 1.0, 6.0, 0.18),  # state
    Range(1.3, 0.5, 6.0, 0.18),  # flop
    Range(2.0, 0.5, 20.0, 0.3),  # attention
    Range(1.0, 0.2, 4.0, 0.3),  # vector_attention
    Range(30.0, 3.0, 120.0, 0.25),  # layers
    Range(15.0, 0.5, 120.0, 0.3),  # recurrent_layers
    Range(15.0, 0.5, 120.0, 0.3),  # moe_layers
    Range(2.0, 0.2, 40.0, 0.3),  # step
    Range(1.5, 0.5, 6.0, 0.18),  # link
    Range(1.4, 0.7, 5.0, 0.18),  # host
    Range(0.6, 0.05, 3.0, 0.24),  # stall
    Range(1.0, 0.9, 1.2, 0.01),  # queue
    Range(4.0, 0.3, 40.0, 0.4),  # unpack
    Range(1.0, 0.2, 3.0, 0.2),  # tiles
    Range(250.0, 5.0, 800.0, 0.3),  # unfused
)
PREFILL_RANGES = (
    Range(1.0, 0.3, 15.0, 0.4),  # flop
    Range(0.35, 0.02, 15.0, 0.5),  # vector
    Range(1.0, 0.1, 25.0, 0.4),  # expert_flop
    Range(6.0, 0.0001, 60.0, 0.5),  # plain_blas
    Range(2.0, 0.2, 40.0, 0.5),  # attention
    Range(1.0, 0.2, 5.0, 0.3),  # scores
    Range(1.0, 0.1, 8.0, 0.3),  # activations
    Range(1.3, 0.7, 4.0, 0.15),  # weights
    Range(4.0, 0.2, 60.0, 0.4),  # scan
    Range(10.0, 0.2, 200.0, 0.4),  # unfused
    Range(40.0, 0.5, 200.0, 0.3),  # layers
    Range(10.0, 0.5, 100.0, 0.3),  # step
    Range(2.0, 0.1, 20.0, 0.3),  # request
    Range(2.0, 0.5, 10.0, 0.3),  # link
    Range(1.3, 0.5, 5.0, 0.15),  # host
)
TREES = {"max_iter": 15, "learning_rate": 0.05, "max_leaf_nodes": 6, "min_samples_leaf": 60}
"""Few and slow: more trees fit the sources that are there better and each new one worse."""
SEED = 7
_CLIP = 0.6
"""Log residuals beyond this are other mistakes (units, mislabelled runs) and pull no further."""
_MIN_GAINS = 5
_ROWS_PER_CELL = 0.7
"""What a row counts in the physics fit, against priors in units of one: a reporter's rows share the
reporter's own error, so hundreds of them still weigh like a few."""


@dataclass(frozen=True, slots=True)
class Table:
    """Queries with their physics parts, shape (rows, parts); measured seconds and weights, shape (rows,)."""

    queries: Sequence[Query]
    phases: Sequence[Phase]
    parts: Floats
    seconds: Floats
    physics_weights: Floats
    weights: Floats

    @property
    def paths(self) -> list[tuple[str, ...]]:
        """Coefficient groups of each row."""
        return [
            group_path(query.setup, phase) for query, phase in zip(self.queries, self.phases, strict=True)
        ]


def case_weights(cases: Sequence[Case], cell: float, source: float) -> Floats:
    """n^−cell for the n rows of one source, device and model, times m^−source for a source's m rows."""
    keys = [(case.source, case.setup.gpu.name, case.setup.model.hf_id) for case in cases]
    many, by_source = Counter(keys), Counter(case.source for case in cases)
    return np.array([many[key] ** -cell * by_source[key[0]] ** -source for key in keys], dtype=np.float64)


def _table(
    cases: Sequence[Case],
    queries: Sequence[Query],
    phases: Sequence[Phase],
    parts: list[list[float]],
    seconds: list[float],
) -> Table:
    return Table(
        queries,
        phases,
        np.asarray(parts),
        np.asarray(seconds),
        _ROWS_PER_CELL * case_weights(cases, 0.5, 0.0),
        case_weights(cases, 0.5, 0.15),
    )


def prefill_table(cases: Sequence[Case]) -> Table:
    """Prefill cases: seconds for the prompt."""
    chosen = [case for case in cases if case.kind == "prefill"]
    queries = [case.query for case in chosen]
    parts = [prefill_query_parts(query) for query in queries]
    phases: list[Phase] = ["prompt"] * len(chosen)
    return _table(chosen, queries, phases, parts, [case.query.prompt / case.measured for case in chosen])


def decode_table(cases: Sequence[Case], prefill: Coefficients) -> Table:
    """Decode and total cases without speculation: seconds per step."""
    chosen = [case for case in cases if is_decode(case) and case.speculation == "none"]
    queries = [decode_query(case, prefill) for case in chosen]
    parts = [decode_query_parts(query) for query in queries]
    seconds = [(c.query.sequences if c.kind == "total" else 1.0) / c.measured for c in chosen]
    return _table(chosen, queries, [query.decode_phase for query in queries], parts, seconds)


def _fit_residual(table: Table, coefficients: Coefficients) -> Forest:
    """Trees on log(measured ÷ physics) in seconds."""
    physics = [
        physics_seconds(query, coefficients, parts, phase)
        for query, phase, parts in zip(table.queries, table.phases, table.parts.tolist(), strict=True)
    ]
    matrix = np.asarray([features(query.setup, query.circumstance) for query in table.queries])
    target = np.log(table.seconds / np.asarray(physics))
    trees = HistGradientBoostingRegressor(
        loss="absolute_error", random_state=SEED, early_stopping=False, **TREES
    )
    # Several threads make small fits many times slower on shared machines.
    with threadpool_limits(1, user_api="openmp"):
        trees.fit(matrix, np.clip(target, -_CLIP, _CLIP), sample_weight=table.weights)
    return forest_of(trees)


def _counts(cases: Sequence[Case]) -> dict[str, int]:
    """Fitted rows by device, model, format and engine, at the levels `SpeedModel.support` asks for."""
    counts: Counter[str] = Counter()
    for case in cases:
        gpu, model, launch = case.setup.gpu.name, case.setup.model.hf_id, case.setup.launch
        counts.update(
            (f"{gpu}|{model}|{launch.quant}|{launch.engine}", f"{gpu}|{model}||", f"{gpu}|||", f"|{model}||")
        )
    return dict(counts)


def _speculation(cases: Sequence[Case], model: SpeedModel) -> dict[str, float]:
    """Decode speed-up by method and kind of model (`speculation_key`), where at least five rows show it.

    The weighted median: one reporter's hundred rows are of one text, and texts decide how much is accepted.
    """
    chosen = [case for case in cases if is_decode(case) and case.speculation != "none"]
    queries = [decode_query(case, model.prefill_factors) for case in chosen]
    plain = model.decode_seconds(queries)
    weights = case_weights(chosen, 0.5, 0.25)
    gains: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for case, seconds, weight in zip(chosen, plain.tolist(), weights.tolist(), strict=True):
        rate = (case.query.sequences if case.kind == "total" else 1.0) / seconds
        for method in (case.speculation, "any"):
            key = speculation_key(method, case.setup, case.query.sequences)
            gains[key].append((case.measured / rate, weight))
    return {key: _weighted_median(values) for key, values in gains.items() if len(values) >= _MIN_GAINS}


def _weighted_median(values: Sequence[tuple[float, float]]) -> float:
    """The value at which half of the weight is reached."""
    ordered = sorted(values)
    half, reached = sum(weight for _, weight in ordered) / 2, 0.0
    for value, weight in ordered:
        reached += weight
        if reached >= half:
            return value
    return ordered[-1][0]


def fit_model(cases: Sequence[Case], *, fingerprint: str = "", widths: Widths | None = None) -> SpeedModel:
    """A speed model from cases; `widths` come from validation and may be added later.

    Deterministic: the same cases in the same order give the same arrays.
    """
    prefill = prefill_table(cases)
    prefill_factors = fit_coefficients(
        prefill.parts, prefill.seconds, prefill.physics_weights, prefill.paths, PREFILL_RANGES
    )
    decode = decode_table(cases, prefill_factors)
    decode_factors = fit_coefficients(
        decode.parts, decode.seconds, decode.physics_weights, decode.paths, DECODE_RANGES
    )
    years = [c.query.circumstance.year for c in cases if not math.isnan(c.query.circumstance.year)]
    model = SpeedModel(
        decode_factors=decode_factors,
        decode_forest=_fit_residual(decode, decode_factors),
        prefill_factors=prefill_factors,
        prefill_forest=_fit_residual(prefill, prefill_factors),
        widths=widths or Widths({}),
        counts=_counts(cases),
        speculation={},
        newest_year=max(years, default=2026.0),
        fingerprint=fingerprint,
    )
    model = replace(model, speculation=_speculation(cases, model))
    return with_own(cases, model, {case.setup.gpu.name for case in cases if not case.own})


def influence_of(cases: Sequence[Case], model: SpeedModel) -> Influence:
    """What tells how far a prediction of `model` would move without some of the `cases` it was fitted on."""
    table = decode_table(cases, model.prefill_factors)
    found, priors = curvatures(
        table.parts, table.seconds, table.physics_weights, table.paths, DECODE_RANGES, model.decode_factors
    )
    cells = Counter(
        cell_key(case.source, case.setup) for case in cases if is_decode(case) and case.speculation == "none"
    )
    return Influence(found, priors, dict(cells), ROBUST_SCALE, _ROWS_PER_CELL)
