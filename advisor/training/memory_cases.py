"""Runs that fitted or ran out of memory, as setups: the borderline cases, start-up logs and measured rows.

What a row leaves open (slots, micro-batch) takes its engine's default. Rows whose failure says nothing about
the total (one allocation too large, memory taken by others, a vision encoder) are left out and counted.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from advisor.config import Host, LaunchConfig, Memory, Setup
from advisor.memory import account
from advisor.memory.llamacpp import FAMILY
from advisor.memory.vllm import budget
from knowledge.catalog import Catalog
from knowledge.errors import AdvisorError, UnsupportedError, UsageError
from knowledge.kv_types import normalise_kv_type
from knowledge.names.gpu import match_gpu
from knowledge.names.model import match_model
from knowledge.names.quant import match_quant
from knowledge.units import MIB_PER_GIB
from knowledge.weights import best_weight_bytes

Row = Mapping[str, str]

_LONG_CONTEXT = 65_536
"""From here on people quantize the cache more often than not: a row that does not say is left out."""
_UNLIKE = 0.85
"""A llama.cpp run that used less than this share of its estimate kept part of the model on the host."""
_PAGED = frozenset({"vllm", "sglang"})
_OTHER_CAUSE = re.compile(
    r"cause=(?:single_allocation_limit|memory_taken_before_start|vision_encoder)|vision projector"
)
_BATCHED = re.compile(r"max-num-batched-tokens[ =](\d+)")
_UTILIZATION = re.compile(r"(?:gpu-memory-utilization|mem-util)[ =]([\d.]+)")
_DRAFTED = re.compile(r"MTP (?:n|K) ?= ?(\d)|n-max (\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MemoryCase:
    """One run: its setup and accounted memory, whether it ran out, and by whom.

    `residual_mib`: measured demand − estimated, where the row lets it be told (llama.cpp's memory in use; the
    cache that vLLM had left, against the estimate).
    """

    setup: Setup
    memory: Memory
    oom: bool
    residual_mib: float | None
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
                case = _case(row, catalog)
                if isinstance(case, str):
                    out.skipped[case] += 1
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


def _case(row: Row, catalog: Catalog) -> MemoryCase | str:
    """The run that `row` tells of, or the reason why it cannot be used."""
    setup = _unusable(row) or _setup(row, catalog)
    if isinstance(setup, str):
        return setup
    try:
        memory = account(setup)
    except UnsupportedError:
        return "engine, architecture or cache type without accounting"
    except UsageError:
        return "llama.cpp of unknown age"
    oom, used_gib = row["outcome"] == "oom", _number(row.get("vram_used_gib"))
    used_mib = None if used_gib is None else used_gib * MIB_PER_GIB
    if setup.launch.engine in FAMILY:
        reason = _misplaced(row, setup, memory, used_mib)
        if reason:
            return reason
    residual = _residual_mib(row, setup, memory, used_mib)
    return MemoryCase(setup, memory, oom, residual, source_of(row["source_url"]))


def _misplaced(row: Row, setup: Setup, memory: Memory, used_mib: float | None) -> str:
    """Why it is not known how much of a llama.cpp run lay on the one card; empty when it is."""
    if setup.launch.gpu_count > 1:
        return "llama.cpp split of several cards"
    if row["outcome"] == "oom":
        return ""
    # Since December 2025 llama.cpp moves weights to the host instead of failing (`--fit`).
    placed = setup.launch.n_gpu_layers is not None or row.get("offload") == "full"
    if not placed and used_mib is None:
        return "llama.cpp run that may have kept layers on the host"
    if used_mib is not None and used_mib < _UNLIKE * memory.total_mib:
        return "measured memory belongs to another configuration"
    return ""


def _residual_mib(row: Row, setup: Setup, memory: Memory, used_mib: float | None) -> float | None:
    """Measured demand − estimated; only a fully stated run tells it.

    Of llama.cpp: a real file, placed by a flag, on a card's own memory (on unified memory the figure in use
    is the whole machine's). Of vLLM: the cache that its log says was left.
    """
    launch = setup.launch
    left_gib = _number(row.get("available_kv_gib"))
    if left_gib is not None and launch.engine == "vllm":
        return budget(setup).kv_budget_mib - left_gib * MIB_PER_GIB
    stated = setup.weights.basis == "given" and bool(launch.n_gpu_layers) and launch.spec_decode == "none"
    if used_mib is not None and stated and launch.engine in FAMILY and setup.gpu.kind == "gpu":
        return used_mib - memory.total_mib
    return None


def source_of(address: str) -> str:
    """Who measured: a repository, else the page."""
    match = re.match(r"https://github\.com/([^/]+/[^/]+)", address)
    return match[1] if match else address


def _unusable(row: Row) -> str:
    """Why a row tells nothing about the total; empty when it does."""
    text = f"{row.get('flags') or ''} {row.get('notes') or ''} {row.get('error_text_short') or ''}"
    tokens = _context(row)
    kv = row.get("kv_type_k") or row.get("kv_cache_dtype") or ""
    split = row.get("ngl") or row.get("n_cpu_moe")
    logged = "max_model_len" in row
    reasons = {
        "neither ran nor ran out of memory": row["outcome"] not in {"ok", "oom"},
        "another cause than the total, or a vision encoder": bool(_OTHER_CAUSE.search(text))
        or row.get("mmproj") == "1",
        "partial offload without a stated split": row.get("offload") == "partial" and not split,
        "a draft model of unstated size": (row.get("spec_decode") or "none") not in {"none", "mtp"},
        "no stated context limit": not tokens,
        "unknown KV cache type": bool(kv) and normalise_kv_type(kv) is None,
        "long context without a stated KV cache type": not kv
        and not logged
        and (tokens or 0) >= _LONG_CONTEXT,
    }
    return next((reason for reason, applies in reasons.items() if applies), "")


def _context(row: Row) -> int | None:
    """Tokens of the cache: the stated limit; a llama-bench run allocates what it measures."""
    stated = _count(row.get("ctx_limit") or row.get("max_model_len"))
    if stated or not row.get("depth"):
        return stated
    return sum(_count(row.get(key)) or 0 for key in ("depth", "prompt_tokens", "gen_tokens")) or None


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _count(text: str | None) -> int | None:
    return int(float(text)) if text else None


def _setup(row: Row, catalog: Catalog) -> Setup | str:
    gpu = match_gpu(row["gpu"], catalog, _number(row.get("vram_gib"))) if row["gpu"] else None
    model = match_model(row["model"], catalog, _number(row.get("params_b"))) if row["model"] else None
    quant = match_quant(row["quant"], catalog) if row["quant"] else None
    if gpu is None:
        return "unknown device"
    if model is None:
        return "unknown model"
    if quant is None:
        return "unknown quantization"
    vram_gib = _number(row.get("vram_gib")) or gpu.memory_gib
    if vram_gib is None:
        return "unknown memory size"
    startup = "max_model_len" in row
    engine = "vllm" if startup else row["engine"]
    version = row.get("engine_version") or None
    if startup and version and "sglang" in version:
        engine, version = "sglang", None
    paged = engine in _PAGED
    default_kv = "bf16" if paged else "f16"
    kv_k = normalise_kv_type(row.get("kv_cache_dtype") or row.get("kv_type_k") or "") or default_kv
    kv_v = normalise_kv_type(row.get("kv_type_v") or "") or kv_k
    text = f"{row.get('flags') or ''} {row.get('notes') or ''}"
    tensor = _count(row.get("tp")) or (_count(row.get("gpu_count")) or 1 if paged else 1)
    weights_gib = _number(row.get("weights_gib"))
    # llama-bench has one sequence, and who speculates serves one.
    single = bool(row.get("depth")) or row.get("spec_decode") == "mtp"
    batched, stated = _BATCHED.search(text), _UTILIZATION.search(text)
    launch = LaunchConfig(
        model=model.hf_id,
        quant=quant.name,
        weights_gib=weights_gib,
        gpu=gpu.name,
        gpu_count=max(_count(row.get("gpu_count")) or 1, tensor),
        vram_gib=vram_gib,
        engine=engine,
        engine_version=version,
        backend=row.get("backend") or None,
        ctx=_context(row) or 1,
        kv_type_k=kv_k,
        kv_type_v=kv_v,
        n_gpu_layers=_count(row.get("ngl")),
        n_cpu_moe=_count(row.get("n_cpu_moe")) or 0,
        parallel=_count(row.get("parallel")) or (1 if single else None),
        kv_unified=True,  # `ctx_limit` is the whole cache in these rows
        ubatch=_count(row.get("ubatch")) or 512,
        batch=max(_count(row.get("batch")) or 2048, 1),
        tensor_parallel=tensor if paged else 1,
        spec_decode=_speculation(row, text),
        gpu_memory_utilization=_number(row.get("gpu_memory_utilization"))
        or (float(stated[1].rstrip(".")) if stated else None),
        max_num_seqs=_count(row.get("max_num_seqs")),
        max_num_batched_tokens=_count(row.get("max_num_batched_tokens"))
        or (int(batched[1]) if batched else None),
        enforce_eager=(row.get("enforce_eager") or "").lower() in {"1", "true"},
    )
    try:
        weights = best_weight_bytes(model, quant, catalog, weights_gib)
    except AdvisorError:
        return "implausible file size"
    return Setup(launch, model, quant, weights, gpu, Host(headless=True))


def _speculation(row: Row, text: str) -> str:
    stated = row.get("spec_decode") or ("mtp" if re.search(r"\bMTP n", text) else "none")
    drafted = _DRAFTED.search(text)
    return f"mtp:{drafted[1] or drafted[2]}" if stated == "mtp" and drafted else stated
