"""What kernels of an engine make of a device's rates: by format, by kind of attention, by the engine's ways.

It knows which unit a kernel works on; rates of units are `device`'s, how much of them is reached is fitted.
"""

from __future__ import annotations

import math

from advisor.config import Setup
from advisor.speed.device import (
    bandwidth_bytes_per_s,
    cycles_per_s,
    integer_op_per_s,
    issue_bytes_per_s,
    peak_flop_per_s,
    synchronous_op_per_s,
    vector_flop_per_s,
)
from knowledge.kv_types import KV_TYPES, normalise_kv_type
from knowledge.schema import Quant

MMQ_ENGINES = frozenset({"llama.cpp", "ik_llama.cpp", "llamafile", "ollama", "lmstudio", "koboldcpp"})
TENSOR_PARALLEL_ENGINES = frozenset({"vllm", "sglang", "tensorrt-llm", "lmdeploy"})
"""Engines that split every tensor over the GPUs; the llama.cpp family passes tokens from card to card."""

UNPACK_OPS = {
    "legacy": 1.0,
    "int8": 0.5,
    "int4": 1.0,
    "fp4": 1.0,
    "mlx": 1.0,
    "k-quant": 2.0,
    "ud": 2.0,
    "apex": 2.0,
}
"""Relative arithmetic per weight to unpack a block format: a scale (legacy), scales and minima of sub-blocks
(k-quants). Formats that hardware reads as they are cost nothing."""
CODEBOOK_OPS = 3.0
"""The same for formats that look weights up in a table (i-quants), and for k-quants of 3 bits or fewer, whose
bits lie in two places."""
_LOW_BITS = 3.9
UNQUANTIZED_BITS = 16
_WEIGHT_ONLY = ("12.1",)
"""CUDA capabilities (GB10) on which servers multiply 8- and 4-bit weights no faster than 16-bit ones
(data/observations/djangodevreng_spark.csv: a 27B in FP8 at 0.6 of its BF16, MoE in NVFP4 as in BF16)."""
_ELEMENTS_PER_CYCLE, _WIDE_ELEMENTS_PER_CYCLE, _FORKED_ELEMENTS_PER_CYCLE = 4.5, 1.5, 1.6
"""Elements of query heads times tokens that this kernel gets through per multiprocessor and cycle: 1.05 to
1.3e12 a second on an H100, whether 4 or 8 heads share their keys (docs/h100_llamacpp.md), and 4.3 on an RTX
4070 (Qwen3.5-9B in data/observations/llmfit_community.csv). Heads wider than 256 are not for it: gemma-4-E4B
gets 1.4 there. The third is ik_llama.cpp's (gemma-3-27b on an RTX A6000, whose steps grow by 1.0 ms for
every thousand tokens: https://github.com/ikawrakow/ik_llama.cpp/discussions/334)."""
_AMD_ELEMENTS_PER_CYCLE = 0.7
"""The same on ROCm: steps of Qwen3.8-27B over a q4_1 cache on an RX 9070 XT grow by 0.56 ms for every
thousand tokens (https://github.com/ggml-org/llama.cpp/issues/27796)."""
_TILE_COLUMNS, _VECTORS = 300.0, 8
"""Columns that a tile is as good as used for, at the datasheet's rate, and the tokens up to which none is
used: batches of 16 take so long on an H100 (dense models of 8 to 27B and mixtures alike,
docs/h100_llamacpp.md) and an RTX 3090 (a 27B in data/observations/insiderllm.csv, where 8 take as long and 4
half of it)."""
_WIDEST_HEAD, _WIDE_HEADS = 256, 0.2
"""Servers' attention kernels end at heads of 256; wider ones (Gemma 4: 512) take a general kernel, with 11
TFLOPS on a GB10 where others reach 40 to 80 (the same rows, by the fall of speed from 8K to 25K tokens)."""


def product_flop_per_s(setup: Setup) -> float:
    """Rate of the matrix products of a prompt, FLOP per second.

    CUDA kernels of llama.cpp multiply quantized weights by 8-bit integers (MMQ), which GeForce cards do four
    times as fast as 16-bit floats summed in 32 bits, and professional ones twice.
    """
    gpu, quant = setup.gpu, setup.quant
    if _has_integer_kernels(setup):
        if quant.bpw < UNQUANTIZED_BITS:
            return min(integer_op_per_s(gpu), synchronous_op_per_s(gpu, 8))
        # Unquantized weights go through cuBLAS, which sums 16-bit products in 16 bits: half the integer rate.
        return integer_op_per_s(gpu) / 2
    if gpu.compute_capability in _WEIGHT_ONLY:
        return peak_flop_per_s(gpu)
    return peak_flop_per_s(gpu, quant.activation_bits)


def _has_integer_kernels(setup: Setup) -> bool:
    """Whether llama.cpp's CUDA kernels multiply quantized weights by 8-bit integers there."""
    gpu = setup.gpu
    return gpu.vendor == "NVIDIA" and gpu.int8_tops is not None and setup.launch.engine in MMQ_ENGINES


def tile_seconds(setup: Setup, flop_per_token: float, tokens: float) -> float:
    """Seconds of llama.cpp's integer kernels for weights of `flop_per_token` and a handful of `tokens`.

    Up to eight tokens are multiplied vector by vector; beyond, a tile of weights is unpacked for all its
    columns, whether a few or a hundred of them are used. 0 where other kernels work.
    """
    if not _has_integer_kernels(setup) or setup.quant.bpw >= UNQUANTIZED_BITS:
        return 0.0
    columns = _TILE_COLUMNS * min(1.0, tokens / _VECTORS)
    return flop_per_token * columns / product_flop_per_s(setup)


def attention_flop_per_s(setup: Setup) -> float:
    """Rate of attention over a long cache, FLOP per second.

    Servers and CUDA have kernels on matrix units; elsewhere those of llama.cpp and its like work on vectors.
    """
    gpu = setup.gpu
    server = setup.launch.engine in TENSOR_PARALLEL_ENGINES
    if server and max(setup.model.head_dim_k, setup.model.global_head_dim or 0) > _WIDEST_HEAD:
        return peak_flop_per_s(gpu) * _WIDE_HEADS
    if server:
        return peak_flop_per_s(gpu)
    if gpu.vendor == "NVIDIA":
        return min(peak_flop_per_s(gpu), synchronous_op_per_s(gpu, 16))
    return vector_flop_per_s(gpu)


def vector_attention_s(setup: Setup, attention_flop: float) -> float:
    """Seconds that llama.cpp's attention over a quantized cache takes for one token on CUDA and ROCm.

    Up to two tokens go to a kernel on vectors that reads every query head for itself, however many share keys
    and values: bounded by elements of the heads per multiprocessor and cycle, not by bytes. 0 elsewhere.
    """
    launch, gpu = setup.launch, setup.gpu
    wide = KV_TYPES[normalise_kv_type(launch.kv_type_k) or "f16"].bits >= UNQUANTIZED_BITS
    compiled = gpu.vendor == "NVIDIA" or launch.backend == "rocm"  # ROCm builds are of the same source
    if wide or not compiled or launch.engine not in MMQ_ENGINES or setup.model.kv_lora_rank:
        return 0.0
    head = setup.model.global_head_dim or setup.model.head_dim_k
    rate = _FORKED_ELEMENTS_PER_CYCLE if launch.engine == "ik_llama.cpp" else _ELEMENTS_PER_CYCLE
    if head > _WIDEST_HEAD:
        rate = _WIDE_ELEMENTS_PER_CYCLE
    if gpu.vendor == "AMD":
        rate = _AMD_ELEMENTS_PER_CYCLE
    return attention_flop / 4 / (rate * cycles_per_s(gpu))


def vector_bytes_per_s(setup: Setup, year: float) -> float:
    """Rate at which matrix-vector kernels read weights: bandwidth and issue rate, the slower one prevailing.

    Engines with kernels of their own for server cards (`TENSOR_PARALLEL_ENGINES`) reach the bandwidth.
    """
    gpu, floats = setup.gpu, setup.quant.bpw >= UNQUANTIZED_BITS
    ratio = bandwidth_bytes_per_s(gpu) / issue_bytes_per_s(gpu, floats=floats, year=year)
    return bandwidth_bytes_per_s(gpu) / math.pow(1 + math.pow(ratio, 3), 1 / 3)


def unpack_seconds(setup: Setup, read_bytes: float) -> float:
    """Seconds of FP32-rate arithmetic to unpack `read_bytes` of weights, `unpack_ops` for each."""
    rate = setup.gpu.fp32_tflops
    return unpack_ops(setup.quant) * read_bytes * 8 / setup.quant.bpw / (rate * 1e12) if rate else 0.0


def unpack_ops(quant: Quant) -> float:
    """Operations to unpack one weight, relative to a format of one scale per block."""
    codebook = quant.family in {"i-quant", "iqk", "exl3"}
    low = quant.family in {"k-quant", "ud"} and quant.bpw < _LOW_BITS
    return CODEBOOK_OPS if codebook or low else UNPACK_OPS.get(quant.family, 0.0)
