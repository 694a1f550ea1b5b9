"""The physics of a step: ideal seconds by part, and their sum with fitted inefficiencies.

Every part is the time that datasheet rates allow; a `Coefficients` vector (one non-negative factor per part,
1 = datasheet) fitted per engine, backend and architecture turns them into a step time. Sources: the roofline
model (Williams, Waterman, Patterson 2009), and the expected number of distinct experts under even routing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from advisor.config import Setup
from advisor.speed.device import (
    bandwidth_bytes_per_s,
    host_bytes_per_s,
    integer_op_per_s,
    issue_bytes_per_s,
    link_bytes_per_s,
    pcie_bytes_per_s,
    peak_flop_per_s,
    vector_flop_per_s,
)
from advisor.speed.work import work_of
from knowledge.schema import Gpu, Quant

DECODE_PARTS = (
    "weights",
    "experts",
    "kv",
    "state",
    "flop",
    "attention",
    "layers",
    "recurrent_layers",
    "moe_layers",
    "step",
    "link",
    "host",
    "stall",
    "unpack",
)
PREFILL_PARTS = (
    "flop", "vector", "expert_flop", "attention", "weights", "state", "layers", "step", "link", "host",
)  # fmt: skip
_MICRO = 1e-6

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

_WEIGHT_ONLY = ("12.1",)
"""CUDA capabilities (GB10) on which servers multiply dense layers of 8 and 4 bits no faster than 16-bit ones
(data/observations/djangodevreng_spark.csv: a 27B in FP8 at 0.6 of the same in BF16)."""
MMQ_ENGINES = frozenset({"llama.cpp", "ik_llama.cpp", "llamafile", "ollama", "lmstudio", "koboldcpp"})
TENSOR_PARALLEL_ENGINES = frozenset({"vllm", "sglang", "tensorrt-llm", "lmdeploy"})
"""Engines that split every tensor over the GPUs; the llama.cpp family passes tokens from card to card."""


@dataclass(frozen=True, slots=True)
class Split:
    """How weights and work lie over devices and host."""

    ways: int
    """Tensor-parallel width: devices that share each layer."""
    host_dense: float
    """Share of the dense weights that the host holds."""
    host_experts: float
    """Share of the routed experts that the host holds."""


def split_of(setup: Setup) -> Split:
    """Placement that the launch asks for: tensor parallel, partial offload (`ngl`), experts on the host."""
    launch, layers = setup.launch, max(setup.model.n_layers, 1)
    if setup.gpu.kind == "cpu":
        return Split(1, 0.0, 0.0)  # the device is the host: its own bandwidth is the device bandwidth
    on_gpu = layers if launch.n_gpu_layers is None else min(max(launch.n_gpu_layers, 0), layers)
    host_layers = 1.0 - on_gpu / layers
    moe_layers = max(layers - setup.model.n_dense_layers, 1)
    host_experts = max(host_layers, min(launch.n_cpu_moe, moe_layers) / moe_layers)
    ways = max(launch.tensor_parallel, 1)
    return Split(ways, host_layers, host_experts if setup.model.is_moe else 0.0)


AGED_PARTS = frozenset({"experts", "unpack", "layers", "recurrent_layers", "moe_layers", "step"})
"""What engines got faster at by writing better kernels: launches fused and captured, unpacking, experts."""
AGEING_PER_YEAR, KERNEL_AGEING_PER_YEAR, PREFILL_AGEING_PER_YEAR = 0.05, 0.2, 0.2
"""Slowness per year of age of the engine, in log: of decoding, of its `AGED_PARTS` on top, of prompts. One
rate for all engines: single reporters use single builds, so that finer ones would only tell the reporters
apart."""
AMD_AGEING_PER_YEAR, AMD_PREFILL_AGEING_PER_YEAR = 0.1, 0.6
"""The same on AMD's GPUs, whose kernels for matrix units, attention and integers came during these years."""
REFERENCE_YEAR, FIRST_YEAR = 2026.0, 2025.0
"""Builds before `FIRST_YEAR` are as slow as those of that year: older ones ran models that were easier."""


def age_years(year: float) -> float:
    """How much older a build is than one of `REFERENCE_YEAR`; negative for a younger one."""
    return 0.0 if math.isnan(year) else REFERENCE_YEAR - max(year, FIRST_YEAR)


def _is_amd_gpu(gpu: Gpu) -> bool:
    return gpu.vendor == "AMD" and gpu.kind != "cpu"


def decode_parts(
    setup: Setup, sequences: float, depth: float, *, year: float = math.nan, stall_s: float = 0.0
) -> list[float]:
    """Ideal seconds of one decoding step of `sequences` sequences at `depth`, by `DECODE_PARTS`.

    `year` is the build date of the engine; `stall_s` what other requests' prefill adds to each step of a
    server under load (0 in a steady decode).
    """
    work = work_of(setup)
    gpu, split = setup.gpu, split_of(setup)
    bandwidth = bandwidth_bytes_per_s(gpu) * split.ways
    reading = bandwidth if setup.launch.engine in TENSOR_PARALLEL_ENGINES else vector_bytes_per_s(gpu)
    bits = setup.quant.activation_bits
    peak = peak_flop_per_s(gpu, bits) * split.ways
    expert_bytes = work.experts * work.expert_share(sequences)
    host = work.dense * split.host_dense + expert_bytes * split.host_experts
    link = 0.0
    if split.ways > 1:
        # Two all-reduces a layer, each moving 2·(ways−1)/ways of the activations.
        moved = 2.0 * sequences * work.hidden_size * 2 * 2 * (split.ways - 1) / split.ways
        link = work.blocks * (moved / link_bytes_per_s(gpu) + 2 * math.log2(split.ways) * 5 * _MICRO)
    read = work.dense * (1 - split.host_dense) + work.output + expert_bytes * (1 - split.host_experts)
    seconds = [
        (work.dense * (1 - split.host_dense) + work.output) / reading,
        expert_bytes * (1 - split.host_experts) / reading,
        sequences * work.kv_bytes(depth) / bandwidth,
        2 * sequences * work.state / bandwidth,
        sequences * (work.body_flop + work.expert_flop + work.output_flop) / peak,
        sequences * work.attention_flop(depth) / (peak_flop_per_s(gpu) * split.ways),
        work.blocks * _MICRO,
        work.recurrent_layers * _MICRO,
        work.moe_layers * _MICRO,
        100 * _MICRO,
        link,
        host / host_bytes_per_s(setup),
        stall_s,
        unpack_seconds(setup, read) / split.ways,
    ]
    age = age_years(year)
    rate = AMD_AGEING_PER_YEAR if _is_amd_gpu(gpu) else AGEING_PER_YEAR
    old, old_kernels = math.exp(rate * age), math.exp(KERNEL_AGEING_PER_YEAR * age)
    return [
        part * old * (old_kernels if name in AGED_PARTS else 1.0)
        for name, part in zip(DECODE_PARTS, seconds, strict=True)
    ]


def product_flop_per_s(setup: Setup) -> float:
    """Rate of the matrix products of a prompt, FLOP per second.

    CUDA kernels of llama.cpp multiply quantized weights by 8-bit integers (MMQ), which GeForce cards do four
    times as fast as 16-bit floats summed in 32, and professional ones twice.
    """
    gpu, quant = setup.gpu, setup.quant
    integers = gpu.vendor == "NVIDIA" and gpu.int8_tops and setup.launch.engine in MMQ_ENGINES
    if integers and quant.bpw < 16:
        return integer_op_per_s(gpu)
    if gpu.compute_capability in _WEIGHT_ONLY and not setup.model.is_moe:
        return peak_flop_per_s(gpu)
    return peak_flop_per_s(gpu, quant.activation_bits)


def attention_flop_per_s(setup: Setup) -> float:
    """Rate of attention over a long cache, FLOP per second.

    Servers and CUDA have kernels on matrix units; elsewhere those of llama.cpp and its like work on vectors.
    """
    gpu = setup.gpu
    if gpu.vendor == "NVIDIA" or setup.launch.engine in TENSOR_PARALLEL_ENGINES:
        return peak_flop_per_s(gpu)
    return vector_flop_per_s(gpu)


def vector_bytes_per_s(gpu: Gpu) -> float:
    """Rate at which matrix-vector kernels read weights: bandwidth and issue rate, the slower one prevailing.

    Engines with kernels of their own for server cards (`TENSOR_PARALLEL_ENGINES`) reach the bandwidth.
    """
    ratio = bandwidth_bytes_per_s(gpu) / issue_bytes_per_s(gpu)
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


EXPERT_TILE_TOKENS = 32
"""Rows that a matrix product works on at once: experts with fewer tokens pay for a whole tile."""


def prefill_parts(
    setup: Setup, prompt: float, depth: float, chunk: float, *, year: float = math.nan
) -> list[float]:
    """Ideal seconds to process `prompt` tokens behind `depth`, in chunks of `chunk`, by `PREFILL_PARTS`."""
    work = work_of(setup)
    gpu, split = setup.gpu, split_of(setup)
    chunk = max(1.0, min(chunk, prompt))
    chunks = prompt / chunk
    bandwidth = bandwidth_bytes_per_s(gpu) * split.ways
    peak = product_flop_per_s(setup) * split.ways
    expert_share = work.expert_share(chunk)
    expert_bytes = work.experts * expert_share
    host = work.dense * split.host_dense + expert_bytes * split.host_experts
    padding = 0.0
    if work.n_experts:
        tokens_per_expert = chunk * work.n_experts_used / (work.n_experts * expert_share)
        padding = EXPERT_TILE_TOKENS / tokens_per_expert
    expert_flop = work.expert_flop * (1 + padding)
    # Servers multiply whole tiles by matrix units; their kernels leave little to the others.
    vector_flop = 0.0 if setup.launch.engine in TENSOR_PARALLEL_ENGINES else work.body_flop + expert_flop
    link = 0.0
    if split.ways > 1:
        moved = 2.0 * prompt * work.hidden_size * 2 * 2 * (split.ways - 1) / split.ways
        link = work.blocks * (moved / link_bytes_per_s(gpu) + chunks * 2 * math.log2(split.ways) * 5 * _MICRO)
    seconds = [
        prompt * work.body_flop / peak,
        vector_flop * prompt / (vector_flop_per_s(gpu) * split.ways),
        prompt * expert_flop / peak,
        work.prefill_attention_flop(prompt, depth) / (attention_flop_per_s(setup) * split.ways),
        chunks * (work.weight_bytes(chunk) - host) / bandwidth,
        2 * prompt * work.state / bandwidth,
        chunks * work.blocks * _MICRO,
        100 * _MICRO,
        link,
        chunks * host / min(host_bytes_per_s(setup), pcie_bytes_per_s(gpu)),
    ]
    ageing = AMD_PREFILL_AGEING_PER_YEAR if _is_amd_gpu(gpu) else PREFILL_AGEING_PER_YEAR
    old = math.exp(ageing * age_years(year))
    return [part * old for part in seconds]
