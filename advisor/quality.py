"""How good a model's answers are, on one public scale, and what quantization takes from it.

It owns the estimate for models without a figure and the exchange rate between lost perplexity and quality.
Speed and memory are not its business.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from functools import lru_cache

from advisor.config import LaunchConfig
from knowledge.catalog import Catalog
from knowledge.kv_types import normalise_kv_type
from knowledge.loss import quality_loss
from knowledge.schema import ModelSpec, Quant

_POINTS_PER_LOSS = 2.0
"""Relative quality lost per relative perplexity gained. Multiple-choice scores in `facts/quant_loss.csv` fall
by 0.25 (median of 12 pairs); the scale here is made of long, hard tasks, which break earlier: a judgement."""
_KV_LOSS = {
    # Perplexity gained with the cache in this type, from `facts/quant_loss.csv`: q8_0 +0.03 % (and a KL of
    # 0.001-0.4 by model), fp8 weights and cache against fp8 weights -0.4 % MMLU, q4_0 +0.2-0.7 % with
    # only 68 % agreement on gemma-4-26B-A4B; the others lie between by their bits.
    "f32": 0.0, "f16": 0.0, "bf16": 0.0, "int8": 0.002, "q8_0": 0.002, "turbo8": 0.002, "fp8": 0.004,
    "q5_1": 0.008, "q5_0": 0.01, "q4_1": 0.02, "q4_0": 0.02, "iq4_nl": 0.02, "nvfp4": 0.02,
    "turbo4": 0.01, "turbo3": 0.02, "turbo2": 0.06, "q7": 0.003, "q6": 0.005, "q3": 0.04, "q2": 0.1,
}  # fmt: skip
_EPOCH = dt.date(2024, 1, 1)


@dataclass(frozen=True, slots=True)
class Quality:
    """Points on the catalog's common scale, unquantized; `estimated` where no figure is published."""

    points: float
    estimated: bool
    source_url: str | None


@dataclass(frozen=True, slots=True)
class _Trend:
    """ln(points) = constant + per_year · years + per_size · ln(√(total · active) parameters)."""

    constant: float
    per_year: float
    per_size: float
    spread: float
    """Standard deviation of ln(points) around the trend."""


def quality_of(model: ModelSpec, catalog: Catalog) -> Quality:
    """The model's published quality; where there is none, what its age and size suggest, one spread lower.

    The estimate is lowered so that a model nobody has measured does not outrank its measured peers.
    """
    known = catalog.quality.get(model.hf_id)
    if known is not None:
        return Quality(known.value, estimated=False, source_url=known.source_url)
    trend = _trend(catalog)
    expected = trend.constant + trend.per_year * _years(model) + trend.per_size * _size(model)
    return Quality(math.exp(expected - trend.spread), estimated=True, source_url=None)


def retained(model: ModelSpec, quant: Quant, launch: LaunchConfig) -> float:
    """Share of the model's quality that is left with this format and KV cache, from 0 to 1."""
    cache = max(
        _KV_LOSS.get(normalise_kv_type(name) or "", 0.0) for name in (launch.kv_type_k, launch.kv_type_v)
    )
    return math.exp(-_POINTS_PER_LOSS * (quality_loss(quant, model) + cache))


def points_left(model: ModelSpec, quant: Quant, launch: LaunchConfig, catalog: Catalog) -> float:
    """Points of the common scale that are left of the model's with this format and KV cache."""
    return quality_of(model, catalog).points * retained(model, quant, launch)


def _years(model: ModelSpec) -> float:
    """Years from 2024 to the release; an unknown release counts as the epoch: old until shown new."""
    parts = [int(part) for part in model.released.split("-")] if model.released else []
    if not parts:
        return 0.0
    year, month, day = (*parts, *(6, 15)[len(parts) - 1 :])
    return (dt.date(year, month, day) - _EPOCH).days / 365.25


def _size(model: ModelSpec) -> float:
    """The usual one-number size of a mixture: the geometric mean of total and active parameters."""
    return math.log(math.sqrt(model.total_params_b * model.active_params_b))


@lru_cache(maxsize=4)
def _trend(catalog: Catalog) -> _Trend:
    """Least squares over the models that have a figure."""
    rows = [
        (_years(model), _size(model), math.log(max(known.value, 1.0)))
        for model in catalog.models.values()
        if (known := catalog.quality.get(model.hf_id)) is not None
    ]
    n = len(rows)
    mean_t, mean_s, mean_y = (sum(row[i] for row in rows) / n for i in range(3))
    tt = sum((t - mean_t) ** 2 for t, _, _ in rows)
    ss = sum((s - mean_s) ** 2 for _, s, _ in rows)
    ts = sum((t - mean_t) * (s - mean_s) for t, s, _ in rows)
    ty = sum((t - mean_t) * (y - mean_y) for t, _, y in rows)
    sy = sum((s - mean_s) * (y - mean_y) for _, s, y in rows)
    determinant = tt * ss - ts * ts
    per_year = (ty * ss - sy * ts) / determinant
    per_size = (sy * tt - ty * ts) / determinant
    constant = mean_y - per_year * mean_t - per_size * mean_s
    residuals = [y - constant - per_year * t - per_size * s for t, s, y in rows]
    return _Trend(constant, per_year, per_size, math.sqrt(sum(r * r for r in residuals) / max(1, n - 3)))
