"""The measured runs nearest to a configuration, and in which words they differ from it.

It owns the distance between a run and a configuration. It predicts nothing and writes no SQL: the store's
named queries give the runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advisor.config import Evidence, Setup
from advisor.memory.llamacpp import FAMILY
from knowledge.catalog import Catalog
from knowledge.kv_types import normalise_kv_type
from knowledge.names.match import normalise
from knowledge.store.connection import Store
from knowledge.store.queries import Wanted, evidence_rows
from knowledge.units import format_tokens

Row = Mapping[str, Any]

_CONSIDERED = 250
"""Runs looked at, the store's nearest by name first; a long sweep of one source has about two hundred."""
_MODEL, _GPU, _ENGINE, _QUANT, _SPEC, _OFFLOAD, _CACHE = 8.0, 5.0, 1.0, 0.7, 1.5, 2.0, 0.3
"""What another model, device, engine, format … costs, before how unlike it is: the order in which they move
the speed of a run. Another model costs more than everything on the same one."""
_ROWS_PER_RUN = 12
"""Rows in which a run's figures are looked for: decode and prefill, repeated over a few depths."""
_RELATIVE = 0.2
"""What a fine-tune of the model costs: the same shape, but other files."""
_UNSTATED = 0.5
"""Share of a cost when the run does not say."""
_DEPTH_UNIT = 4096
"""Tokens within which depth hardly matters; beyond, each doubling counts."""
_FIGURES = ("decode_tps", "prefill_tps", "vram_used_gib")


@dataclass(frozen=True, slots=True)
class Near:
    """A run that is shown, and the rows of the store that tell of it."""

    run: Evidence
    rows: tuple[Row, ...]


def nearest_runs(store: Store, setups: Sequence[Setup], catalog: Catalog, limit: int = 5) -> list[list[Near]]:
    """For each setup at most `limit` successful runs of the model or on the device, nearest first."""
    found = evidence_rows(store.con, [_wanted(setup) for setup in setups], limit=_CONSIDERED)
    return [nearest_of(rows, setup, catalog, limit) for rows, setup in zip(found, setups, strict=True)]


def _wanted(setup: Setup) -> Wanted:
    return Wanted(setup.launch.model, setup.gpu.name, setup.quant.name, setup.launch.engine)


def nearest_of(rows: Sequence[Row], setup: Setup, catalog: Catalog, limit: int = 5) -> list[Near]:
    """The nearest of `rows`. Rows of one run that state different figures of it become one."""
    order = sorted(rows, key=lambda row: (distance(row, setup, catalog), -_day(row), str(row["id"])))
    runs: dict[tuple[object, ...], Near] = {}
    for row in order[: limit * _ROWS_PER_RUN]:
        found = _evidence(row, setup)
        key = (found.source_url, *found.differs_in)
        known = runs.get(key)
        if known is None:
            if len(runs) < limit:
                runs[key] = Near(found, (row,))
        else:
            missing = {name: getattr(found, name) for name in _FIGURES if getattr(known.run, name) is None}
            runs[key] = Near(known.run.model_copy(update=missing), (*known.rows, row))
    return list(runs.values())


def sweep(store: Store, setup: Setup) -> list[Evidence]:
    """Measured decoding of this model on this card in this format, by depth: the points beside a curve."""
    launch = setup.launch
    (rows,) = evidence_rows(store.con, [_wanted(setup)], limit=_CONSIDERED)
    found = [
        _evidence(row, setup)
        for row in rows
        if (row["model_id"], row["gpu_id"], row["quant_id"])
        == (launch.model, setup.gpu.name, setup.quant.name)
        and row["decode_tps"] is not None
        and row["depth"] is not None
        and (row["gpu_count"] or 1, row["concurrency"] or 1) == (launch.gpu_count, launch.concurrency)
        and _same_spec(row, setup)
        and _same_offload(row, setup)
    ]
    return sorted(found, key=lambda run: (run.depth or 0, run.source_url))


def distance(row: Row, setup: Setup, catalog: Catalog) -> float:
    """How unlike a run is to the configuration, from 0; without unit, and only good for ordering."""
    launch = setup.launch
    cost = 0.0
    if row["model_id"] != launch.model:
        other = catalog.models.get(row["model_id"] or "")
        cost += _MODEL + (
            _log_ratio(other.active_params_b, setup.model.active_params_b) if other else _MODEL * _UNSTATED
        )
    cost += _RELATIVE if _is_relative(row, setup) else 0.0
    if row["gpu_id"] != setup.gpu.name:
        card = catalog.gpus.get(row["gpu_id"] or "")
        known = card.bandwidth_gbps if card else None
        ours = setup.gpu.bandwidth_gbps
        cost += _GPU + (2 * _log_ratio(known, ours) if known and ours else _GPU * _UNSTATED)
    cost += _GPU * _log_ratio(row["gpu_count"] or 1, launch.gpu_count)
    if row["quant_id"] != setup.quant.name:
        quant = catalog.quants.get(row["quant_id"] or "")
        cost += _QUANT + (3 * _log_ratio(quant.bpw, setup.quant.bpw) if quant else _QUANT)
    cost += _ENGINE * _unlike_engine(str(row["engine"]), launch.engine)
    cost += abs(math.log2((row["concurrency"] or 1) / launch.concurrency))
    cost += 0.0 if _same_spec(row, setup) else _SPEC
    cost += 0.0 if _same_offload(row, setup) else _OFFLOAD
    cost += 0.0 if _cache(row) in ("", launch.kv_type_k) else _CACHE
    cost += _depth_gap(row, setup)
    return cost + (1.0 if row["decode_tps"] is None else 0.0)


def _is_relative(row: Row, setup: Setup) -> bool:
    """Whether the run is of a fine-tune under a name of its own."""
    return row["model_id"] == setup.launch.model and normalise(setup.model.name) not in normalise(
        row["model"]
    )


def _log_ratio(one: float, other: float) -> float:
    return abs(math.log(one / other))


def _unlike_engine(theirs: str, ours: str) -> float:
    if theirs.lower() == ours:
        return 0.0
    family = theirs.lower() in FAMILY and ours in FAMILY
    return _UNSTATED if family or not theirs else 1.0


def _depth_gap(row: Row, setup: Setup) -> float:
    """Doublings between the run's depth and the asked one; runs at a full context come right after."""
    if row["depth"] is None:
        return _UNSTATED
    here = math.log2(row["depth"] + _DEPTH_UNIT)
    gaps = [abs(here - math.log2(tokens + _DEPTH_UNIT)) for tokens in (setup.launch.depth, setup.launch.ctx)]
    return min(gaps[0], gaps[1] + _UNSTATED)


def _same_spec(row: Row, setup: Setup) -> bool:
    return (row["spec_decode"] or "none").lower().split("_")[0] == setup.launch.spec_decode


def _same_offload(row: Row, setup: Setup) -> bool:
    ours = bool(setup.launch.n_cpu_moe) or setup.launch.n_gpu_layers is not None
    return ours == _offloaded(row)


def _offloaded(row: Row) -> bool:
    return bool(row["n_cpu_moe"]) or row["offload"] in ("partial", "cpu")


def _cache(row: Row) -> str:
    return normalise_kv_type(row["kv_type_k"] or "") or ""


def _day(row: Row) -> int:
    return row["observed_on"].toordinal() if row["observed_on"] else 0


def differences(row: Row, setup: Setup) -> list[str]:
    """In plain words, what the run did otherwise: `gpu: RTX 4090`; what it leaves unsaid is said too."""
    launch, unsaid = setup.launch, "not stated"
    engine, version, backend = str(row["engine"]), row["engine_version"], row["backend"]
    depth = unsaid if row["depth"] is None else format_tokens(row["depth"])
    count, sequences, cache = row["gpu_count"] or 1, row["concurrency"] or 1, _cache(row)
    checks = (
        (row["model_id"] != launch.model, f"model: {row['model']}"),
        (_is_relative(row, setup), f"model: {row['model']}, of the same shape"),
        (row["gpu_id"] != setup.gpu.name, f"gpu: {row['gpu_id'] or row['gpu']}"),
        (count != launch.gpu_count, f"gpus: {count}"),
        (row["quant_id"] != setup.quant.name, f"quant: {row['quant'] or unsaid}"),
        (engine.lower() != launch.engine, f"engine: {engine or unsaid}"),
        (bool(launch.engine_version) and version != launch.engine_version, f"version: {version or unsaid}"),
        (bool(backend) and str(backend).lower() != launch.backend, f"backend: {backend}"),
        (row["depth"] != launch.depth, f"depth: {depth}"),
        (sequences != launch.concurrency, f"concurrency: {sequences}"),
        (cache not in ("", launch.kv_type_k), f"KV cache: {cache}"),
        (not _same_spec(row, setup), f"speculation: {row['spec_decode'] or 'none'}"),
        (not _same_offload(row, setup), f"offload: {'partly on the host' if _offloaded(row) else 'none'}"),
    )
    return [words for differs, words in checks if differs]


def _evidence(row: Row, setup: Setup) -> Evidence:
    return Evidence(
        source_url=row["source_url"],
        observed_on=row["observed_on"].isoformat() if row["observed_on"] else None,
        gpu=row["gpu_id"] or row["gpu"],
        model=row["model"],
        quant=row["quant"],
        engine=row["engine"],
        engine_version=row["engine_version"] or None,
        depth=row["depth"],
        concurrency=row["concurrency"],
        decode_tps=row["decode_tps"],
        prefill_tps=row["prefill_tps"],
        vram_used_gib=row["vram_used_gib"],
        differs_in=differences(row, setup),
    )
