"""What there is to choose from: engines for a GPU, formats for an engine, KV cache types for both.

It owns the short lists worth trying, best quality first; sizes, speeds and rules are judged elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from advisor.config import Request
from advisor.engines import PROPOSED, engine_named
from advisor.engines.repos import repo_of
from advisor.engines.traits import compute_capability
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError, UsageError
from knowledge.kv_types import normalise_kv_type
from knowledge.schema import Gpu, ModelSpec, Quant
from knowledge.units import format_tokens
from knowledge.weights import NATIVE_MXFP4

_GGUF = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K")
_GGUF_DYNAMIC = (
    "Q8_0",
    "UD-Q6_K_XL",
    "UD-Q5_K_XL",
    "UD-Q4_K_XL",
    "Q4_K_M",
    "IQ4_XS",
    "UD-Q3_K_XL",
    "UD-Q2_K_XL",
)
"""Dynamic recipes lose less per bit from 3 bits down; they exist where somebody has published them."""
_MLX = ("MLX-8bit", "MLX-6bit", "MLX-5bit", "MLX-4bit", "MLX-3bit")
_EXL3 = (
    "EXL3-8.0bpw",
    "EXL3-6.0bpw",
    "EXL3-5.0bpw",
    "EXL3-4.5bpw",
    "EXL3-4.0bpw",
    "EXL3-3.5bpw",
    "EXL3-3.0bpw",
    "EXL3-2.5bpw",
)
_VLLM = ("BF16", "FP8", "AWQ-INT4", "GPTQ-INT4", "NVFP4")
_VLLM_MIN_SM = {"BF16": 80, "FP8": 80, "AWQ-INT4": 75, "GPTQ-INT4": 75, "NVFP4": 100, "MXFP4": 80}
"""Weight-only Marlin kernels run FP8 from Ampere on (rule R01); NVFP4 is worth it with FP4 units only."""
_VLLM_AMD_FORMATS = ("BF16", "FP8")
"""AWQ and GPTQ on ROCm depend on card and version (rule R11): not proposed, accepted when asked for."""
_VLLM_GFX = ("gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1101", "gfx1200", "gfx1201", "gfx1150", "gfx1151")
"""AMD targets that vLLM builds for: https://docs.vllm.ai/en/latest/getting_started/installation/gpu.html"""
_VLLM_LEAST_SM = 75
_FP8_KV_MIN_SM = 80
_SERVER = ("tensor_parallel", "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens")
_TAKES = {
    "llama.cpp": ("parallel", "kv_unified", "flash_attn", "ubatch", "ngl", "n_cpu_moe"),
    "vllm": _SERVER,
    "sglang": _SERVER,
    "ollama": ("parallel", "flash_attn"),
    "lmstudio": ("parallel", "ngl"),
    "mlx": ("max_num_batched_tokens",),
    "exllamav3": ("n_cpu_moe", "tensor_parallel", "max_num_seqs", "max_num_batched_tokens"),
}
"""Options of the request that an engine has and some other lacks."""
_READS = {
    "gguf": ("llama.cpp", "ollama", "lmstudio"),
    "safetensors": ("vllm", "sglang", "mlx", "exllamav3"),
}
"""The engines for each kind of file."""
_GENERIC_FAMILY = "generic"


def check_options(request: Request) -> None:
    """Refuse options that contradict each other.

    Raises:
        UsageError: naming the option and what to write instead.
    """
    if request.weights_gib is not None and (request.quant is None or request.model is None):
        raise UsageError("--weights-gib is the size of one file", "name its --model and --quant too")
    if request.depth > request.ctx:
        deep, ctx = format_tokens(request.depth), format_tokens(request.ctx)
        raise UsageError(f"--depth {deep} is more than --ctx {ctx} holds", f"write --ctx {deep} or more")
    if (request.tensor_parallel or 1) > request.gpu_count:
        raise UsageError(
            f"--tp {request.tensor_parallel} needs as many GPUs", f"write --gpu {request.tensor_parallel}x…"
        )


def engines_for(gpu: Gpu, request: Request, kind: str | None = None) -> tuple[str, ...]:
    """Engines that run on the device, have the asked options and read files of `kind`, preferred first.

    vLLM serves several users better, llama.cpp gets most out of a card for one.

    Raises:
        UnsupportedError: an unknown engine, or one without an option that was asked for.
        UsageError: options of different engines together, or a version without its engine.
    """
    given = [name for names in (_TAKES["llama.cpp"], _SERVER) for name in names if _given(request, name)]
    if request.engine is not None:
        engine = engine_named(request.engine)
        check_device(engine, gpu)
        foreign = [name for name in given if name not in _TAKES[engine]]
        if foreign:
            raise UnsupportedError(f"{engine} has no {_option(foreign[0])}", "leave it out")
        if kind is not None and engine not in _READS[kind]:
            raise UnsupportedError(
                f"{engine} is not launched from {kind} files here", f"use {_READS[kind][0]}"
            )
        return (engine,)
    if request.engine_version is not None:
        raise UsageError("--engine-version needs --engine", f"add --engine {PROPOSED[0]}")
    wanted = [engine for engine in PROPOSED if all(name in _TAKES[engine] for name in given)]
    if not wanted:
        one, other = given[0], next(name for name in given if (name in _SERVER) != (given[0] in _SERVER))
        raise UsageError(f"{_option(one)} and {_option(other)} belong to different engines", "leave one out")
    if not _runs_vllm(gpu) or gpu.memory_each_gib:  # it splits evenly
        wanted = [engine for engine in wanted if engine != "vllm"]
    if kind is not None:
        wanted = [engine for engine in wanted if engine in _READS[kind]]
        if not wanted:
            raise UnsupportedError(
                f"{kind} files are for {_READS[kind][0]}, which {gpu.name} or an option rules out",
                "name other files, or leave the option out",
            )
    many = request.concurrency > 1 or request.goal == "throughput"
    return tuple(sorted(wanted, key=lambda engine: (engine == "vllm") != many))


def check_device(engine: str, gpu: Gpu) -> None:
    """Refuse an engine that does not run on the device, or not on cards that differ.

    Raises:
        UnsupportedError: naming an engine that does.
    """
    if engine == "exllamav3" and gpu.memory_each_gib:
        raise UnsupportedError("cards that differ are not counted for TabbyAPI", "use --engine llama.cpp")
    if engine == "exllamav3" and gpu.vendor != "NVIDIA":
        raise UnsupportedError(
            f"TabbyAPI is known here on NVIDIA cards, not on {gpu.name}", "use --engine llama.cpp"
        )
    if gpu.memory_each_gib and engine not in {"llama.cpp", "ollama"}:
        name = {"vllm": "vLLM", "sglang": "SGLang"}.get(engine, engine)
        raise UnsupportedError(f"{name} splits evenly, and {gpu.name} differ", "use --engine llama.cpp")
    if engine == "mlx" and gpu.vendor != "Apple":
        raise UnsupportedError(f"MLX runs on Apple silicon, not on {gpu.name}", "use --engine llama.cpp")


def _runs_vllm(gpu: Gpu) -> bool:
    sm = compute_capability(gpu)
    return (sm is not None and sm >= _VLLM_LEAST_SM) or gpu.compute_capability in _VLLM_GFX


def _given(request: Request, name: str) -> bool:
    value = getattr(request, name)
    return value is not None and not (name == "tensor_parallel" and value == 1)


def _option(name: str) -> str:
    return "--tp" if name == "tensor_parallel" else f"--{name.replace('_', '-')}"


def formats_for(
    engine: str, model: ModelSpec, gpu: Gpu, request: Request, catalog: Catalog
) -> tuple[Quant, ...]:
    """Formats worth trying for the model on the engine, widest first; the asked one only, where one is.

    `4-bit` and its like ask for every listed format of about that width.
    """
    asked = catalog.quants[request.quant] if request.quant is not None else None
    if asked is not None and asked.family != _GENERIC_FAMILY:
        return (asked,) if engine in asked.engines else ()
    names = _listed(engine, model, gpu, catalog)
    formats = [catalog.quants[name] for name in names if engine in catalog.quants[name].engines]
    if asked is not None:
        formats = [quant for quant in formats if int(_width(quant)) == int(asked.bpw)]
    return tuple(formats)


def _width(quant: Quant) -> float:
    """Bits per weight of where most weights are: the experts, in formats that treat them apart."""
    return min(quant.bpw, quant.expert_bpw)


def _listed(engine: str, model: ModelSpec, gpu: Gpu, catalog: Catalog) -> Sequence[str]:
    if engine == "exllamav3":
        return _EXL3
    # Natively 4-bit experts are stored as they are in every format: one entry says it all.
    native = model.architecture in NATIVE_MXFP4
    if engine in _READS["gguf"]:
        if native:
            return ("MXFP4_MOE",)
        published = repo_of(model, catalog.quants["UD-Q4_K_XL"], "gguf", catalog=catalog)
        return _GGUF_DYNAMIC if published and engine == "llama.cpp" else _GGUF
    if engine == "mlx":
        return _MLX
    sm = compute_capability(gpu)
    names = ("MXFP4",) if native else _VLLM
    if sm is None:
        return tuple(name for name in names if name in _VLLM_AMD_FORMATS)
    return tuple(name for name in names if sm >= _VLLM_MIN_SM[name])


def kv_pairs_for(engine: str, gpu: Gpu, request: Request) -> tuple[tuple[str, str], ...]:
    """(K, V) cache types worth trying, widest first; what is asked for only, where it is."""
    if request.kv_type_k is not None or request.kv_type_v is not None:
        key = request.kv_type_k or request.kv_type_v or "f16"
        return ((key, request.kv_type_v or key),)
    if engine == "lmstudio":  # its command has no flag for it
        return (("f16", "f16"),)
    if engine in {"llama.cpp", "ollama", "mlx"}:
        if request.flash_attn is False:  # a quantized V cache needs flash attention (rule R20)
            return (("f16", "f16"),)
        return (("f16", "f16"), ("q8_0", "q8_0"), ("q4_0", "q4_0"))
    if engine == "exllamav3":
        return (("f16", "f16"), ("q8_0", "q8_0"), ("q6", "q6"), ("q4_0", "q4_0"))
    sm = compute_capability(gpu)
    narrow = sm is not None and sm >= _FP8_KV_MIN_SM
    return (("f16", "f16"), ("fp8", "fp8")) if narrow else (("f16", "f16"),)


def is_last_resort(pair: tuple[str, str]) -> bool:
    """Whether a cache type is tried only where nothing wider fits: below 8 bits answers get visibly worse."""
    return any((normalise_kv_type(name) or "").startswith(("q4", "q3", "q2")) for name in pair)
