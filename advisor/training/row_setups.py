"""Measured rows as setups: what was run, as far as a row tells it, and the engine's ways where it does not.

Rows name devices, models and formats by the catalog's names here; what their figures mean is `rows`'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from advisor.config import Host, LaunchConfig, Setup
from advisor.engines.repos import published_format
from advisor.speed.rates import TENSOR_PARALLEL_ENGINES
from advisor.training.row_flags import told
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.kv_types import normalise_kv_type
from knowledge.names.quant import match_quant
from knowledge.schema import Gpu, ModelSpec, Quant
from knowledge.weights import best_weight_bytes, stored_format

_CPU_MOE_NOTE = re.compile(r"(\d+) layers' MoE tensors on CPU", re.IGNORECASE)
_DDR_NOTE = re.compile(r"DDR[345][X]?-(\d{4,5})", re.IGNORECASE)
_USUAL_ENGINE = "llama.cpp"
_LEAST_BUDGET = 512
"""A server's `batch` below it counts sequences."""
_FLASH_BY_CHOICE = frozenset({"llama.cpp", "ik_llama.cpp", "llamafile"})
_FLASH_BY_ITSELF = "2025-09"
"""llama.cpp turned flash attention on wherever it can with b6325 (2025-08-30)."""
_VENDOR_BACKEND = {"NVIDIA": "cuda", "Apple": "metal"}
_MAX_NGL = 90
"""`-ngl 99` and the like mean all layers."""
_NATIVE_QUANTS = {
    "gpt-oss": "MXFP4",
    "DeepSeek V3": "FP8",
    "DeepSeek R1": "FP8",
    "DeepSeek V4": "FP8",
    "MiniMax M2": "FP8",
    "KimiK25ForConditionalGeneration": "W4A16",
}
"""What the repositories of some families and architectures hold; the others publish BF16."""


def default_quant(model: ModelSpec, engine: str, catalog: Catalog) -> Quant | None:
    """The format a row that names none was most likely run in: that of its repository, or the usual GGUF."""
    if engine in TENSOR_PARALLEL_ENGINES:
        usual = _NATIVE_QUANTS.get(model.architecture) or _NATIVE_QUANTS.get(model.family, "BF16")
        return match_quant(published_format(model, catalog) or usual, catalog)
    if engine == "mlx":
        return match_quant("MLX-4bit", catalog)
    if engine in {"exllamav3", "exllamav2"}:
        return None
    return match_quant("MXFP4" if model.family == "gpt-oss" else "Q4_K_M", catalog)


def usual_engine(quant: Quant) -> str:
    """What a row that names no engine was most likely run with: the usual one if it reads the format."""
    readers = quant.engines
    return _USUAL_ENGINE if not readers or _USUAL_ENGINE in readers else readers[0]


def _placement(row: Mapping[str, Any], gpu: Gpu, model: ModelSpec) -> tuple[int | None, int] | str:
    """(n_gpu_layers, n_cpu_moe) of the row, or why its placement is not known."""
    if gpu.kind == "cpu":
        return None, 0
    ngl, n_cpu_moe = row.get("ngl"), row.get("n_cpu_moe")
    note = _CPU_MOE_NOTE.search(str(row.get("notes") or ""))
    if n_cpu_moe is None and note:
        n_cpu_moe = int(note.group(1))
    layers = None if ngl is None or ngl < 0 or ngl > min(model.n_layers, _MAX_NGL) else int(ngl)
    if row.get("offload") == "partial" and layers is None and not n_cpu_moe:
        return "partial offload without a stated split"
    if row.get("offload") == "cpu":
        return 0, 0
    return layers, int(n_cpu_moe or 0)


def _named(row: Mapping[str, Any], catalog: Catalog) -> tuple[Gpu, ModelSpec, Quant] | str:
    """What the row is about, or which of its names is not known."""
    gpu, model = catalog.gpus.get(row["gpu_id"] or ""), catalog.models.get(row["model_id"] or "")
    if gpu is None or gpu.bandwidth_gbps is None:
        return "unknown device"
    if model is None:
        return "unknown model"
    engine = row.get("engine") or _USUAL_ENGINE
    quant = match_quant(row["quant_id"] or "", catalog) if row.get("quant") else None
    server = engine in TENSOR_PARALLEL_ENGINES
    # Servers say which type they compute in where the repository holds 8 bits.
    narrower = server and published_format(model, catalog) is not None
    if not row.get("quant") or (quant is not None and quant.family == "float" and narrower):
        quant = default_quant(model, engine, catalog)
    if quant is None:
        return "unknown quantization"
    return gpu, model, stored_format(quant, model, catalog, gguf=not server and engine != "mlx")


def _batched_tokens(row: Mapping[str, Any]) -> int | None:
    """The token budget of a server's step, where the row tells it."""
    stated = row.get("batch") or 0
    return int(stated) if stated >= _LEAST_BUDGET else told(row).batched_tokens


def _flash_attention(row: Mapping[str, Any], engine: str) -> bool:
    """As stated; where a row is silent, what the engine did by itself when it was run."""
    stated = row.get("flash_attn")
    if stated is None and engine in _FLASH_BY_CHOICE:
        return str(row.get("observed_on") or "") >= _FLASH_BY_ITSELF
    return stated is not False


def setup_of(row: Mapping[str, Any], catalog: Catalog) -> Setup | str:
    """The setup a row was measured on, or the reason it cannot be told.

    `row` is an observation with the catalog's names of what it is about: `gpu_id`, `model_id`, `quant_id`.
    """
    names = _named(row, catalog)
    if isinstance(names, str):
        return names
    gpu, model, quant = names
    engine = row.get("engine") or usual_engine(quant)
    placement = _placement(row, gpu, model)
    if isinstance(placement, str):
        return placement
    count = int(row.get("gpu_count") or row.get("tp") or 1)
    shares_tensors = engine in TENSOR_PARALLEL_ENGINES
    tensor_parallel = int(row.get("tp") or (count if shares_tensors else 1))
    weights_gib = row.get("weights_gib")
    ddr = _DDR_NOTE.search(str(row.get("notes") or ""))
    launch = LaunchConfig(
        model=model.hf_id,
        quant=quant.name,
        weights_gib=weights_gib,
        gpu=gpu.name,
        gpu_count=max(count, tensor_parallel),
        vram_gib=row.get("vram_gib") or gpu.memory_gib or 8.0,
        engine=engine,
        engine_version=row.get("engine_version") or None,
        backend=row.get("backend") or ("cpu" if gpu.kind == "cpu" else _VENDOR_BACKEND.get(gpu.vendor)),
        ctx=int(row.get("ctx_limit") or (row.get("depth") or 0) + (row.get("prompt_tokens") or 0) + 4096),
        kv_type_k=normalise_kv_type(row.get("kv_type_k") or "") or "f16",
        kv_type_v=normalise_kv_type(row.get("kv_type_v") or "") or "f16",
        flash_attn=_flash_attention(row, engine),
        n_gpu_layers=placement[0],
        n_cpu_moe=placement[1],
        batch=row.get("batch") or 2048,
        ubatch=row.get("ubatch") or 512,
        max_num_batched_tokens=_batched_tokens(row) if shares_tensors else None,
        tensor_parallel=tensor_parallel if shares_tensors else 1,
        concurrency=int(row.get("concurrency") or 1),
        parallel=int(row.get("concurrency") or 1),
    )
    # Two channels, as the boards of these notes have.
    host = Host(ram_bandwidth_gbps=int(ddr.group(1)) * 8 * 2 / 1000 if ddr else None)
    try:
        weights = best_weight_bytes(model, quant, catalog, weights_gib)
    except UsageError:
        return "implausible file size"
    setup = Setup(launch, model, quant, weights, gpu, host)
    whole = placement == (None, 0) and gpu.kind == "gpu"
    if whole and weights.total_gib > launch.vram_gib * launch.gpu_count:
        # It ran all the same, so it was not this: another format, or partly on the host.
        stated = bool(row.get("quant"))
        return "larger than the device, split not stated" if stated else "quantization not stated"
    return setup
