"""Rows as setups whose memory can be accounted: what a run stated of its launch, or why it tells nothing.

What a row leaves open (slots, micro-batch) takes its engine's default. It computes no memory and compares
nothing with what was measured (`advisor.training.memory_cases`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from advisor.config import Host, LaunchConfig, Setup
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.ingest.resolving import Names
from knowledge.kv_types import normalise_kv_type
from knowledge.names.gpu import match_gpu
from knowledge.names.model import match_model
from knowledge.names.quant import match_quant
from knowledge.schema import ModelSpec
from knowledge.weights import best_weight_bytes

Row = Mapping[str, str]
"""Cells as text, in the columns of observations, `memory_cases.csv` or `vllm_startup.csv`; empty or absent
where the source is silent."""

_LONG_CONTEXT = 65_536
"""From here on people quantize the cache more often than not: a row that does not say is left out."""
_PAGED = frozenset({"vllm", "sglang"})
_OTHER_CAUSE = re.compile(
    r"cause=(?:single_allocation_limit|memory_taken_before_start|vision_encoder)|vision projector"
)
_BY_TENSOR = re.compile(r"(?:^|\s)-ot\b|override-tensor|tensors on CPU", re.IGNORECASE)
_BATCHED = re.compile(r"max-num-batched-tokens[ =](\d{1,9})\b")
_UTILIZATION = re.compile(r"(?:gpu-memory-utilization|mem-util)[ =](0?\.\d+|1(?:\.0+)?)\b")
_DRAFTED = re.compile(r"MTP (?:n|K) ?= ?(\d)|n-max (\d)", re.IGNORECASE)


def names_of(row: Row, catalog: Catalog) -> Names:
    """What the row is about, read from its own words."""
    return Names(
        match_gpu(row["gpu"], catalog, number(row.get("vram_gib"))) if row["gpu"] else None,
        match_model(row["model"], catalog, number(row.get("params_b"))) if row["model"] else None,
        match_quant(row["quant"], catalog) if row["quant"] else None,
    )


def memory_setup(row: Row, names: Names, catalog: Catalog) -> Setup | str:
    """The setup that `row` was run on, or the reason why it tells nothing about the total."""
    return _silent(row) or _setup(row, names, catalog)


def number(text: str | None) -> float | None:
    """A cell's number; None where it is empty."""
    return float(text) if text else None


def placed(row: Row) -> bool:
    """Whether a llama.cpp row says what lay on the card.

    Since December 2025 llama.cpp moves weights to the host instead of failing (`--fit`).
    """
    return bool(row.get("ngl")) or row.get("offload") == "full"


def _silent(row: Row) -> str:
    """Why a row tells nothing about the total; empty when it does."""
    text = f"{row.get('flags') or ''} {row.get('notes') or ''} {row.get('error_text_short') or ''}"
    tokens = _context(row)
    kv = row.get("kv_type_k") or row.get("kv_cache_dtype") or ""
    logged = "max_model_len" in row
    reasons = {
        "neither ran nor ran out of memory": row["outcome"] not in {"ok", "oom"},
        "another cause than the total, or a vision encoder": bool(_OTHER_CAUSE.search(text))
        or row.get("mmproj") == "1",
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


def _count(text: str | None) -> int | None:
    return int(float(text)) if text else None


def _setup(row: Row, names: Names, catalog: Catalog) -> Setup | str:
    gpu, model, quant = names.gpu, names.model, names.quant
    if gpu is None or model is None or quant is None:
        known = {"unknown device": gpu, "unknown model": model, "unknown quantization": quant}
        return next(reason for reason, entry in known.items() if entry is None)
    if _split_unstated(row, model):
        return "partial offload without a stated split"
    vram_gib = number(row.get("vram_gib")) or gpu.memory_gib
    if vram_gib is None:
        return "unknown memory size"
    weights_gib = number(row.get("weights_gib"))
    try:
        weights = best_weight_bytes(model, quant, catalog, weights_gib)
    except UsageError:
        return "implausible file size"
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
        gpu_memory_utilization=number(row.get("gpu_memory_utilization"))
        or (float(stated[1]) if stated else None),
        max_num_seqs=_count(row.get("max_num_seqs")),
        max_num_batched_tokens=_count(row.get("max_num_batched_tokens"))
        or (int(batched[1]) if batched else None),
        enforce_eager=(row.get("enforce_eager") or "").lower() in {"1", "true"},
    )
    return Setup(launch, model, quant, weights, gpu, Host(headless=True))


def _split_unstated(row: Row, model: ModelSpec) -> bool:
    """Whether part of the model lay on the host, but not said which: more layers than it has, or tensors."""
    if row.get("n_cpu_moe"):
        return False
    if _BY_TENSOR.search(f"{row.get('flags') or ''} {row.get('notes') or ''}"):
        return True
    layers = _count(row.get("ngl"))
    return row.get("offload") == "partial" and (layers is None or not 0 <= layers <= model.n_layers)


def _speculation(row: Row, text: str) -> str:
    stated = row.get("spec_decode") or ("mtp" if re.search(r"\bMTP n", text) else "none")
    drafted = _DRAFTED.search(text)
    return f"mtp:{drafted[1] or drafted[2]}" if stated == "mtp" and drafted else stated
