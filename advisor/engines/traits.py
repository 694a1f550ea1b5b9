"""What rules may ask about a configuration: traits of the model and GPU, labels of the format, settings.

It derives facts from a `Setup` and nothing else; which rule asks for which is data.
"""

from __future__ import annotations

import re

from advisor.config import Setup
from advisor.memory import paged
from advisor.memory.llamacpp import backend_of, total_context
from knowledge.kv_types import KV_TYPES, normalise_kv_type
from knowledge.schema import Gpu, ModelSpec, Quant

Fact = str | float | bool | frozenset[str] | None
"""None: not set, or not applicable (a compute capability of an AMD card)."""

NOT_STATED = frozenset({
    "modelopt", "modelopt_mixed",  # who calibrated the checkpoint
    "linear_backend", "attention_backend", "mamba_cache_mode", "kv_connector", "split_mode",
    "cuda_version", "fit", "mmproj", "flag",
    "elsewhere",  # other uses: speech, remote devices, stretched contexts
})  # fmt: skip
"""What rules mention and no configuration states: such a rule never fires by itself."""

_LABELS = {
    "nvfp4": ("nvfp4",), "mxfp4": ("mxfp4",), "fp8": ("fp8",), "awq": ("awq",), "gptq": ("gptq",),
    "bitsandbytes": ("bnb",), "bnb": ("bnb",), "nf4": ("bnb",), "exl3": ("exl3",), "mlx": ("mlx",),
}  # fmt: skip


def model_traits(model: ModelSpec) -> dict[str, Fact]:
    """Facts of the model's shape; `hybrid`: some layers keep a recurrent state instead of a KV cache."""
    return {
        "hybrid": model.layers_linear + model.layers_mamba2 + model.layers_conv > 0,
        "mamba2": model.layers_mamba2 > 0,
        "mla": model.layers_mla > 0,
        "moe": model.is_moe,
        "sliding": model.layers_sliding > 0,
        "multimodal": model.multimodal,
        "mtp": model.has_mtp,
        "family": model.family,
    }


def compute_capability(gpu: Gpu) -> int | None:
    """89 for compute capability 8.9; None for devices without one."""
    match = re.fullmatch(r"(\d+)\.(\d)", gpu.compute_capability)
    return int(match[1] + match[2]) if match else None


def gpu_traits(gpu: Gpu) -> dict[str, Fact]:
    """Facts of the device: vendor, compute capability, gfx target."""
    sm = compute_capability(gpu)
    is_gfx = gpu.compute_capability.startswith("gfx")
    return {
        **{vendor: gpu.vendor.lower() == vendor for vendor in ("nvidia", "amd", "intel", "apple")},
        "sm": sm,
        "blackwell": sm is not None and sm >= 100,
        "gfx": gpu.compute_capability if is_gfx else None,
    }


def quant_labels(quant: Quant) -> frozenset[str]:
    """Names under which rules know a format, such as `gguf`, `fp8`, `nvfp4` or `awq`."""
    name = quant.name.lower()
    labels = {quant.family, *(label for key, found in _LABELS.items() if key in name for label in found)}
    if is_gguf(quant) and "vllm" not in quant.engines:
        labels.add("gguf")
    return frozenset(labels)


def is_gguf(quant: Quant) -> bool:
    """Whether llama.cpp reads the format, in GGUF files (some exist in other files too)."""
    return "llama.cpp" in quant.engines


def setup_facts(setup: Setup) -> dict[str, Fact]:
    """Every fact that a rule may name, for one configuration."""
    launch, model = setup.launch, setup.model
    kv_k = normalise_kv_type(launch.kv_type_k) or launch.kv_type_k
    kv_v = normalise_kv_type(launch.kv_type_v) or launch.kv_type_v
    tensor_parallel = launch.tensor_parallel
    quantized_v = KV_TYPES[kv_v].bits < 16 if kv_v in KV_TYPES else False
    return {
        **model_traits(model),
        **gpu_traits(setup.gpu),
        **launch.__dict__,
        "spec_decode": launch.spec_decode.partition(":")[0],
        "kv_type_k": kv_k,
        "kv_type_v": kv_v,
        "kv_pair": f"{kv_k}-{kv_v}",
        "kv_types_differ": kv_k != kv_v,
        "kv_v_quantized": quantized_v,
        "kv_block_misfit": _misfits(model.head_dim_k, kv_k) or _misfits(model.head_dim_v, kv_v),
        "backend": backend_of(setup),
        "quant_labels": quant_labels(setup.quant),
        # "FP8" alone does not say how its scales are laid out
        "block_scaled": True if re.search(r"block|128x128", setup.quant.name, re.IGNORECASE) else None,
        "prefix_caching_on": _prefix_caching_on(setup),
        "gpu_memory_utilization": paged.utilization(launch),
        "pipeline_parallel": paged.ways_of(launch)[1],
        "tp_misfit": bool(model.n_heads) and model.n_heads % tensor_parallel != 0,
        "kv_replicated": 0 < model.n_kv_heads < tensor_parallel,
        "server_ctx": total_context(launch),
    }


def _misfits(head_dim: int, kv_name: str) -> bool:
    kind = KV_TYPES.get(kv_name)
    return kind is not None and head_dim % kind.block != 0


def _prefix_caching_on(setup: Setup) -> bool | None:
    """Whether vLLM will cache prefixes: hybrids by `advisor.memory.vllm`, others unless told not to."""
    launch = setup.launch
    if launch.engine != "vllm":
        return launch.prefix_caching
    if launch.prefix_caching is None and not model_traits(setup.model)["hybrid"]:
        return True
    return paged.prefix_caching(launch)
