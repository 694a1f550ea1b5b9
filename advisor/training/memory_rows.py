"""Rows as setups whose memory can be accounted: what a run stated of its launch, or why it tells nothing.

What a row leaves open (slots, micro-batch, sequences, context of a server) takes its engine's default of that
time. It computes no memory and compares nothing with what was measured (`advisor.training.memory_cases`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from advisor.config import Host, LaunchConfig, Setup
from advisor.memory.builds import build_date
from advisor.memory.llamacpp import FAMILY
from advisor.memory.paged import PAGED
from advisor.memory.state import layer_states
from advisor.risk import family_of
from advisor.training.row_flags import Told, told
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.ingest.resolving import Names
from knowledge.kv_types import normalise_kv_type
from knowledge.names.gpu import match_gpu
from knowledge.names.model import match_model
from knowledge.names.quant import match_quant
from knowledge.schema import Gpu, ModelSpec
from knowledge.weights import best_weight_bytes

Row = Mapping[str, str]
"""Cells as text, in the columns of observations, `memory_cases.csv` or `vllm_startup.csv`; empty or absent
where the source is silent."""

_LONG_CONTEXT = 65_536
"""From here on people quantize the cache more often than not: a row that does not say is left out."""
_MMPROJ_GIB = 0.93
"""Vision projector of the common vision models in f16 (knowledge/facts/files.csv: 0.93; 1.11 of gemma 4)."""
_DRAFT_GIB = {"llama.cpp": 1.2, "vllm": 3.3}
"""A drafter of unstated size: DFlash heads of 27B–31B models, quantized as people run them and in 16 bit
(2.5 GiB less cache on each of two 4090s, `data/memory/vllm_startup.csv`)."""
_LEAST_CONTEXT = 4096
"""What a run has at least where it does not state its context: weights decide then, whichever way it went."""
_FEW_SEQUENCES = 4
"""`--max-num-seqs` of a hybrid that does not state it: the default would not have started on most cards."""
_NIGHTLY_AHEAD = dt.timedelta(days=30)
_V1_ENGINE = "2025-03-18"
"""vLLM 0.8.0, whose engine cuts prompts into chunks."""
_FLASH_BY_DEFAULT = dt.date(2025, 8, 30)
"""`--flash-attn auto` (llama.cpp PR 15434); off before."""


def names_of(row: Row, catalog: Catalog) -> Names:
    """What the row is about, read from its own words."""
    return Names(
        match_gpu(row["gpu"], catalog, number(row.get("vram_gib"))) if row["gpu"] else None,
        match_model(row["model"], catalog, number(row.get("params_b"))) if row["model"] else None,
        match_quant(row["quant"], catalog) if row["quant"] else None,
    )


def memory_setup(row: Row, names: Names, catalog: Catalog) -> Setup | str:
    """The setup that `row` was run on, or the reason why it tells nothing about the total."""
    words = told(row)
    return _silent(row) or _setup(row, words, names, catalog)


def number(text: str | None) -> float | None:
    """A cell's number; None where it is empty."""
    return float(text) if text else None


def placed(row: Row) -> bool:
    """Whether a llama.cpp row says what lay on the card.

    Since December 2025 llama.cpp moves weights to the host instead of failing (`--fit`).
    """
    return bool(row.get("ngl")) or row.get("offload") == "full" or "stage" in row


def filled(row: Row) -> int | None:
    """Tokens that the run is known to have held at once; None where it ran out with a context of any fill.

    A run that came through tells nothing of prompts that it was not sent, and one that failed as it started
    was sent none.
    """
    tokens = (_count(row.get("prompt_tokens")) or 0) + (_count(row.get("depth")) or 0)
    started = row["outcome"] == "ok" or row.get("stage") in {"load", "kv", "compute", "warmup"}
    return tokens if tokens or started or "max_model_len" in row else None


def _silent(row: Row) -> str:
    """Why a row tells nothing about the memory of a launch; empty when it does."""
    kv = row.get("kv_type_k") or row.get("kv_cache_dtype") or ""
    curated = "max_model_len" in row or "stage" in row
    reasons = {
        "neither ran nor ran out of memory": row["outcome"] not in {"ok", "oom"},
        "ran out without failing": "soft_oom" in (row.get("notes") or ""),
        "unknown KV cache type": bool(kv) and normalise_kv_type(kv) is None,
        "long context without a stated KV cache type": not kv
        and not curated
        and (stated_context(row) or 0) >= _LONG_CONTEXT,
    }
    return next((reason for reason, applies in reasons.items() if applies), "")


def stated_context(row: Row) -> int | None:
    """Tokens of the cache: the stated limit; a llama-bench run allocates what it measures."""
    stated = _count(row.get("ctx_limit") or row.get("max_model_len"))
    return (
        stated or sum(_count(row.get(key)) or 0 for key in ("depth", "prompt_tokens", "gen_tokens")) or None
    )


def allocation_known(row: Row) -> bool:
    """Whether the cache's size is known, and not only what was sent through it.

    llama-bench measures prompts and generation apart, a server's row has both of a request.
    """
    if row.get("ctx_limit") or row.get("max_model_len") or row.get("depth"):
        return True
    return bool(row.get("prompt_tokens")) != bool(row.get("gen_tokens"))


def _count(text: str | None) -> int | None:
    return int(float(text)) if text else None


def _setup(row: Row, words: Told, names: Names, catalog: Catalog) -> Setup | str:
    gpu, model, quant = names.gpu, names.model, names.quant
    if gpu is None or model is None or quant is None:
        known = {"unknown device": gpu, "unknown model": model, "unknown quantization": quant}
        return next(reason for reason, entry in known.items() if entry is None)
    if _split_unstated(row, words, model):
        return "partial offload without a stated split"
    vram_gib = number(row.get("vram_gib")) or gpu.memory_gib
    if vram_gib is None:
        return "unknown memory size"
    engine, version = _engine(row, catalog)
    paged = engine in PAGED
    ctx = stated_context(row) or min(_LEAST_CONTEXT, model.max_context or _LEAST_CONTEXT)
    tensor = (_count(row.get("tp")) or _count(row.get("gpu_count")) or 1) if paged else 1
    weights_gib = number(row.get("weights_gib"))
    loaded = number(row.get("model_weights_gib"))  # with MXFP4's padding, which the accounting adds itself
    if weights_gib is None and loaded is not None and not quant.name.upper().startswith("MXFP4"):
        weights_gib = loaded * tensor
    try:
        weights = best_weight_bytes(model, quant, catalog, weights_gib)
    except UsageError:
        return "implausible file size"
    kv_k = normalise_kv_type(row.get("kv_cache_dtype") or row.get("kv_type_k") or "")
    kv_k = kv_k or ("bf16" if paged else "f16")
    kv_v = normalise_kv_type(row.get("kv_type_v") or "") or kv_k
    speculation = _speculation(row, words)
    single = bool(row.get("depth")) or speculation != "none" or _is_benchmark(row)
    drafts = speculation == "draft"
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
        ctx=ctx,
        kv_type_k=kv_k,
        kv_type_v=kv_v,
        flash_attn=_flash_attention(row, engine, version, kv_v),
        n_gpu_layers=_count(row.get("ngl")),
        n_cpu_moe=_count(row.get("n_cpu_moe")) or 0,
        # who measures or speculates serves one sequence
        parallel=_count(row.get("parallel")) or words.slots or (1 if single else None),
        kv_unified=True,  # `ctx_limit` is the whole cache in these rows
        ubatch=_count(row.get("ubatch")) or words.ubatch or 512,
        batch=max(_count(row.get("batch")) or 2048, 1),
        tensor_parallel=tensor if paged else 1,
        tensor_split=words.tensor_split,
        spec_decode="none" if drafts else speculation,
        draft_gib=_DRAFT_GIB[family_of(engine)] if drafts else None,
        mmproj_gib=_MMPROJ_GIB if row.get("mmproj") == "1" or words.vision else None,
        gpu_memory_utilization=number(row.get("gpu_memory_utilization")) or words.utilization,
        max_num_seqs=_count(row.get("max_num_seqs"))
        or words.sequences
        or (_FEW_SEQUENCES if paged and layer_states(model) else None),
        max_num_batched_tokens=ctx
        if words.unchunked
        else _count(row.get("max_num_batched_tokens")) or words.batched_tokens,
        enforce_eager=(row.get("enforce_eager") or "").lower() in {"1", "true"} or words.eager,
    )
    return Setup(launch, model, quant, weights, gpu, Host(headless=_headless(gpu)))


def _headless(gpu: Gpu) -> bool:
    """Servers and benchmark rigs; a laptop's card drives its display."""
    return "laptop" not in gpu.name.lower()


def _is_benchmark(row: Row) -> bool:
    """llama-bench has one sequence, and allocates what it measures."""
    return not row.get("ctx_limit") and "stage" not in row


def _engine(row: Row, catalog: Catalog) -> tuple[str, str | None]:
    """The engine and its version; where the version is silent or cannot be ordered, that of the day."""
    version = row.get("engine_version") or None
    if "max_model_len" in row:
        return ("sglang", None) if version and "sglang" in version else ("vllm", _vllm_version(row, catalog))
    engine = row["engine"]
    if engine == "vllm":
        return engine, _vllm_version(row, catalog)
    if engine != "llama.cpp":
        return engine, version
    day = row.get("observed_on") or ""
    try:
        build_date(version or "")
    except UsageError:
        return engine, day[:10] if len(day) >= len("2026-01") else None
    return engine, version


def _vllm_version(row: Row, catalog: Catalog) -> str | None:
    """As stated; else the release that nightly builds of the day led to."""
    stated = row.get("engine_version") or ""
    day = row.get("observed_on") or ""
    if stated[:1].isdigit() and not stated.startswith("0.1.dev"):
        return stated
    if len(day) >= len("2026-01-01"):
        day = str(dt.date.fromisoformat(day[:10]) + _NIGHTLY_AHEAD)
    released = [
        known.version
        for known in catalog.engine_versions
        if known.engine == "vllm" and f"{known.released_on}-15"[:10] <= day
    ]
    if not day or released:
        return released[-1] if released else None
    return "0.8.0" if day >= _V1_ENGINE else "0.6.0"  # before the calendar begins


def _flash_attention(row: Row, engine: str, version: str | None, kv_v: str) -> bool:
    """As stated; else on with a quantized V cache, which needs it, and by the default of the build's day."""
    if row.get("flash_attn") in {"0", "False", "off"}:
        return False
    if row.get("flash_attn") or engine not in FAMILY or kv_v not in {"f16", "bf16", "f32"}:
        return True
    if engine == "llama.cpp" and version:
        return build_date(version) >= _FLASH_BY_DEFAULT
    return engine not in {"llamafile", "ik_llama.cpp"}


def _split_unstated(row: Row, words: Told, model: ModelSpec) -> bool:
    """Whether part of the model lay on the host, but not said which: more layers than it has, or tensors."""
    if row.get("n_cpu_moe"):
        return False
    if words.by_tensor:
        return True
    layers = _count(row.get("ngl"))
    return row.get("offload") == "partial" and (layers is None or not 0 <= layers <= model.n_layers)


def _speculation(row: Row, words: Told) -> str:
    stated = row.get("spec_decode") or ("mtp" if words.mtp else "draft" if words.drafter else "none")
    if stated not in {"none", "mtp"}:
        return "draft"
    return f"mtp:{words.drafted}" if stated == "mtp" and words.drafted else stated
