"""Runs that fitted or ran out of memory, with the memory that their setups need and what was measured of it.

Rows whose failure says nothing about the total (one allocation too large, memory taken by others, a vision
encoder) are left out and counted. What a row says of its launch is `advisor.training.memory_rows`'.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from advisor.config import Memory, Setup
from advisor.memory import account
from advisor.memory.llamacpp import FAMILY
from advisor.memory.vllm import budget
from advisor.training.memory_rows import Row, memory_setup, names_of, number, placed
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError, UsageError
from knowledge.ingest.resolving import Names
from knowledge.sources import source_of
from knowledge.units import MIB_PER_GIB

_UNLIKE = 0.85
"""A llama.cpp run that used less than this share of its estimate kept part of the model on the host."""


@dataclass(frozen=True, slots=True)
class MemoryCase:
    """One run: its setup and accounted memory, whether it ran out, and by whom.

    `used_mib`: memory in use over all devices, where stated. `residual_mib`: measured demand − estimated,
    where the row lets it be told (llama.cpp's memory in use; the cache that vLLM had left, against the
    estimate). `placed`: whether the row says what lay on the card.
    """

    setup: Setup
    memory: Memory
    oom: bool
    used_mib: float | None
    residual_mib: float | None
    placed: bool
    source: str


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
                if not _tells_memory(row):
                    continue
                out.rows += 1
                case = case_of(row, names_of(row, catalog), catalog)
                reason = case if isinstance(case, str) else misplaced(case)
                if isinstance(case, str) or reason:
                    out.skipped[reason] += 1
                    continue
                # Tables repeat one run for each prompt that was sent to it.
                key = (case.setup.launch, case.oom, case.residual_mib, case.source)
                if key in seen:
                    out.skipped["repeats another row"] += 1
                    continue
                seen.add(key)
                out.cases.append(case)
    return out


def _tells_memory(row: Row) -> bool:
    startup = "max_model_len" in row
    return startup or row.get("stage", "") != "" or row["outcome"] == "oom" or bool(row["vram_used_gib"])


def case_of(row: Row, names: Names, catalog: Catalog) -> MemoryCase | str:
    """The run that `row` tells of, or the reason why it cannot be used."""
    setup = memory_setup(row, names, catalog)
    if isinstance(setup, str):
        return setup
    try:
        memory = account(setup)
    except UnsupportedError:
        return "engine, architecture or cache type without accounting"
    except UsageError:
        return "llama.cpp of unknown age"
    used_gib = number(row.get("vram_used_gib"))
    used_mib = None if used_gib is None else used_gib * MIB_PER_GIB
    residual = _residual_mib(row, setup, memory, used_mib)
    source = source_of(row["source_url"])
    return MemoryCase(setup, memory, row["outcome"] == "oom", used_mib, residual, placed(row), source)


def misplaced(case: MemoryCase, *, trust_stated: bool = False) -> str:
    """Why it is not known how much of a llama.cpp run lay on the one card; empty when it is.

    For fitting, a run that used much less than its estimate was another one than its row says. A score must
    not leave out rows by their error: with `trust_stated`, a placement that is stated is believed.
    """
    if case.setup.launch.engine not in FAMILY:
        return ""
    if case.setup.launch.gpu_count > 1:
        return "llama.cpp split of several cards"
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
