"""Runs that fitted or ran out of memory, with the memory that their setups need and what was measured of it.

What a row says of its launch is `advisor.training.memory_rows`'; rows that say too little are left out and
counted.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from advisor.config import Memory, Setup
from advisor.memory import account
from advisor.memory.llamacpp import FAMILY
from advisor.memory.vllm import budget
from advisor.risk import Demand, demand_of, risk_of
from advisor.training.memory_rows import (
    Row,
    allocation_known,
    filled,
    memory_setup,
    names_of,
    number,
    placed,
    stated_context,
)
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError, UsageError
from knowledge.ingest.resolving import Names
from knowledge.sources import source_of
from knowledge.units import MIB_PER_GIB

_DECIDES = 0.1
"""Difference in risk from which on a setting is said to decide."""
_UNLIKE = 0.85
"""A llama.cpp run that used less than this share of its estimate kept part of the model on the host."""


Kind = Literal["run", "borderline", "start"]
"""A row of observations, of `memory_cases.csv` or of `vllm_startup.csv`."""


@dataclass(frozen=True, slots=True)
class MemoryCase:
    """One run: its setup and accounted memory, whether it ran out, and by whom.

    `used_mib`: memory in use over all devices, where stated. `residual_mib`: measured demand − estimated,
    where the row lets it be told (llama.cpp's memory in use; the cache that vLLM had left, against the
    estimate). `placed`: whether the row says what lay on the card. `fill`: tokens that it held at most, where
    it says so. `kind`: of which table it is; `address`: its page.
    """

    setup: Setup
    memory: Memory
    oom: bool
    used_mib: float | None
    residual_mib: float | None
    placed: bool
    source: str
    demand: Demand
    fill: int | None
    kind: Kind
    address: str
    left_mib: float | None = None
    """Cache that a vLLM log says was left."""


@dataclass(slots=True)
class MemoryCases:
    """All usable runs, and why the others are not (reason → rows)."""

    cases: list[MemoryCase] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    rows: int = 0


def read_cases(files: list[Path], catalog: Catalog) -> MemoryCases:
    """Cases of CSV files in the columns of observations, `memory_cases.csv` or `vllm_startup.csv`."""
    out = MemoryCases()
    seen: set[tuple[object, ...]] = set()
    for path in files:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                out.rows += 1
                case = case_of(row, names_of(row, catalog), catalog)
                reason = case if isinstance(case, str) else misplaced(case)
                if isinstance(case, str) or reason:
                    out.skipped[reason] += 1
                    continue
                # Tables repeat one run for each prompt that was sent to it.
                key = (case.setup.launch, case.oom, case.residual_mib, case.source, case.fill)
                if case.kind != "borderline" and key in seen:
                    out.skipped["repeats another row"] += 1
                    continue
                seen.add(key)
                out.cases.append(case)
    return out


def case_of(row: Row, names: Names, catalog: Catalog) -> MemoryCase | str:
    """The run that `row` tells of, or the reason why it cannot be used."""
    setup = memory_setup(row, names, catalog)
    if isinstance(setup, str):
        return setup
    known = stated_context(row) is not None and allocation_known(row)
    try:
        memory = account(setup)
        if stated_context(row) is None and _hangs_on_context(setup, memory):
            return "no stated context, and it decides"
    except UnsupportedError:
        return "engine, architecture or cache type without accounting"
    except UsageError:
        return "llama.cpp of unknown age"
    # Where it does not decide it is set low, and tells nothing of what was used.
    used_gib = number(row.get("vram_used_gib")) if known else None
    used_mib = None if used_gib is None else used_gib * MIB_PER_GIB
    residual = _residual_mib(row, setup, memory, used_mib)
    source = source_of(row["source_url"])
    oom, fill = row["outcome"] == "oom", filled(row)
    demand = demand_of(setup, memory, fill)
    address, left_gib = row["source_url"], number(row.get("available_kv_gib"))
    left = None if left_gib is None else left_gib * MIB_PER_GIB
    return MemoryCase(
        setup, memory, oom, used_mib, residual, placed(row), source, demand, fill, _kind(row), address, left
    )


def _kind(row: Row) -> Kind:
    if "max_model_len" in row:
        return "start"
    return "borderline" if "stage" in row else "run"


def _hangs_on_context(setup: Setup, memory: Memory) -> bool:
    """Whether the model's whole context would be another matter than the short one that is assumed."""
    whole = setup.with_launch(ctx=setup.model.max_context or setup.launch.ctx)
    return abs(risk_of(whole, account(whole), fill=0).full - risk_of(setup, memory, fill=0).full) > _DECIDES


def misplaced(case: MemoryCase, *, trust_stated: bool = False) -> str:
    """Why it is not known how much of a llama.cpp run lay on the one card; empty when it is.

    For fitting, a run that used much less than its estimate was another one than its row says. A score must
    not leave out rows by their error: with `trust_stated`, a placement that is stated is believed.
    """
    if not case.oom and case.memory.weights_mib > case.setup.launch.vram_gib * MIB_PER_GIB:
        return "weights larger than the card: more devices, or more on the host, than stated"
    if case.setup.launch.engine not in FAMILY:
        return ""
    if case.oom or (trust_stated and case.placed):
        return ""
    if not case.placed and case.used_mib is None:
        return "llama.cpp run that may have kept layers on the host"
    if case.used_mib is not None and case.used_mib < _UNLIKE * case.memory.total_mib:
        return "measured memory belongs to another configuration"
    return ""


def _residual_mib(row: Row, setup: Setup, memory: Memory, used_mib: float | None) -> float | None:
    """Measured demand − estimated; only a fully stated run tells it.

    Of llama.cpp: a real file, placed by a flag, on a card's own memory (on unified memory the figure in use
    is the whole machine's). Of vLLM: the cache that its log says was left.
    """
    launch = setup.launch
    left_gib = number(row.get("available_kv_gib"))
    if left_gib is not None and launch.engine == "vllm":
        return budget(setup).kv_budget_mib - left_gib * MIB_PER_GIB
    stated = setup.weights.basis == "given" and bool(launch.n_gpu_layers) and launch.spec_decode == "none"
    if used_mib is not None and stated and launch.engine in FAMILY and setup.gpu.kind == "gpu":
        return used_mib - memory.total_mib
    return None
