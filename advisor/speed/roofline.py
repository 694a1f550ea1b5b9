"""The physics of a step: ideal seconds by part, and their sum with fitted inefficiencies.

Every part is the time that datasheet rates allow; a `Coefficients` vector (one non-negative factor per part,
1 = datasheet) fitted per engine, backend and architecture turns them into a step time. Sources: the roofline
model (Williams, Waterman, Patterson 2009), and the expected number of distinct experts under even routing.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

from advisor.config import Setup
from advisor.speed.ageing import (
    AGED_PARTS,
    AMD_INTEGERS_SINCE,
    cuts_windows,
    prompt_slowness,
    slowness,
    unfused,
)
from advisor.speed.device import (
    bandwidth_bytes_per_s,
    copied_bytes_per_s,
    host_bytes_per_s,
    link_bytes_per_s,
    link_latency_s,
    peak_flop_per_s,
    vector_flop_per_s,
)
from advisor.speed.rates import (
    MMQ_ENGINES,
    TENSOR_PARALLEL_ENGINES,
    UNQUANTIZED_BITS,
    attention_flop_per_s,
    product_flop_per_s,
    tile_seconds,
    unpack_seconds,
    vector_attention_s,
    vector_bytes_per_s,
)
from advisor.speed.work import Work, work_of

DECODE_PARTS = (
    "weights",
    "experts",
    "kv",
    "state",
    "flop",
    "attention",
    "vector_attention",
    "layers",
    "recurrent_layers",
    "moe_layers",
    "step",
    "link",
    "host",
    "stall",
    "queue",
    "unpack",
    "tiles",
    "unfused",
)
PREFILL_PARTS = (
    "flop",
    "vector",
    "expert_flop",
    "plain_blas",
    "attention",
    "scores",
    "activations",
    "weights",
    "scan",
    "unfused",
    "layers",
    "step",
    "request",
    "link",
    "host",
)
_MICRO = 1e-6

_BY_VECTORS = 2
"""Tokens of a step up to which llama.cpp's attention over a quantized cache works on vectors."""
SCORE_BYTES = 20
"""Traffic of one attention score where no kernel keeps it on the chip: written by one product in 32 bits,
read and written by the softmax, read by the other product, and its mask."""

ACTIVATION_BYTES = 40
"""Traffic per token, layer and hidden dimension between kernels: some twenty reads and writes of 16 bits."""


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


def _work(setup: Setup, year: float) -> Work:
    """What a step has to do in a build of `year`."""
    work = work_of(setup)
    if not work.window or cuts_windows(setup.launch.engine, year):
        return work
    return replace(work, window=setup.model.max_context or sys.maxsize)


def decode_parts(
    setup: Setup,
    sequences: float,
    depth: float,
    *,
    year: float = math.nan,
    stall_s: float = 0.0,
    queue_s: float = 0.0,
) -> list[float]:
    """Ideal seconds of one decoding step of `sequences` sequences at `depth`, by `DECODE_PARTS`.

    `year` is the build date of the engine; `stall_s` what other requests' prefill adds to each step of a
    server under load (0 in a steady decode).
    """
    work = _work(setup, year)
    gpu, split = setup.gpu, split_of(setup)
    bandwidth = bandwidth_bytes_per_s(gpu) * split.ways
    reading = bandwidth if setup.launch.engine in TENSOR_PARALLEL_ENGINES else vector_bytes_per_s(setup, year)
    bits = setup.quant.activation_bits
    peak = peak_flop_per_s(gpu, bits) * split.ways
    expert_bytes = work.experts * work.expert_share(sequences)
    host = work.dense * split.host_dense + expert_bytes * split.host_experts
    link = 0.0
    if split.ways > 1:
        # Two all-reduces a layer, each moving 2·(ways−1)/ways of the activations.
        moved = 2.0 * sequences * work.hidden_size * 2 * 2 * (split.ways - 1) / split.ways
        link = work.blocks * (moved / link_bytes_per_s(gpu) + 2 * math.log2(split.ways) * link_latency_s(gpu))
    by_vectors = 0.0
    if sequences <= _BY_VECTORS:  # while it reads what it computes with
        taken = vector_attention_s(setup, work.attention_flop(depth)) * sequences
        by_vectors = max(0.0, taken - sequences * work.kv_bytes(depth) / bandwidth)
    tiles = 0.0
    if sequences > 1 and split.host_dense == split.host_experts == 0:
        touched = work.body_flop + work.output_flop
        if work.n_experts:
            touched += work.expert_flop * work.n_experts / work.n_experts_used * work.expert_share(sequences)
        tiles = max(
            0.0,
            tile_seconds(setup, touched, sequences) / split.ways
            - (work.dense + work.output + expert_bytes) / reading,
        )
    read = work.dense * (1 - split.host_dense) + work.output + expert_bytes * (1 - split.host_experts)
    seconds = [
        (work.dense * (1 - split.host_dense) + work.output) / reading,
        expert_bytes * (1 - split.host_experts) / reading,
        sequences * work.kv_bytes(depth) / bandwidth,
        2 * sequences * work.state / bandwidth,
        sequences * (work.body_flop + work.expert_flop + work.output_flop) / peak,
        sequences * work.attention_flop(depth) / (peak_flop_per_s(gpu) * split.ways),
        by_vectors,
        work.blocks * _MICRO,
        work.recurrent_layers * _MICRO,
        work.moe_layers * _MICRO,
        100 * _MICRO,
        link,
        host / host_bytes_per_s(setup),
        stall_s,
        queue_s,
        unpack_seconds(setup, read) / split.ways,
        tiles,
        unfused(setup, year) * setup.model.layers_linear * _MICRO,
    ]
    old, old_kernels = slowness(gpu, year)
    return [
        part * old * (old_kernels if name in AGED_PARTS else 1.0)
        for name, part in zip(DECODE_PARTS, seconds, strict=True)
    ]


EXPERT_TILE_TOKENS = 32
"""Rows that a matrix product works on at once: experts with fewer tokens pay for a whole tile."""


def prefill_parts(
    setup: Setup,
    prompt: float,
    depth: float,
    chunk: float,
    *,
    sequences: float = 1.0,
    year: float = math.nan,
    plain_blas: bool = False,
    served: bool = False,
) -> list[float]:
    """Ideal seconds to process `prompt` tokens behind `depth`, in chunks of `chunk`, by `PREFILL_PARTS`.

    `sequences` prompts of that length arrive together: chunks are filled from several where one is too short.
    `plain_blas`: ROCm multiplies by rocBLAS without hipBLASLt; `served`: the time includes what a server does
    about the request.
    """
    work = _work(setup, year)
    gpu, split = setup.gpu, split_of(setup)
    chunk = max(1.0, min(chunk, prompt * sequences))
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
    # Servers multiply whole tiles by matrix units, as libraries do with unquantized weights; their kernels
    # leave little to the others.
    whole = setup.launch.engine in TENSOR_PARALLEL_ENGINES or setup.quant.bpw >= UNQUANTIZED_BITS
    vector_flop = 0.0 if whole else work.body_flop + expert_flop
    scores = 0.0 if setup.launch.flash_attn else work.heads * prompt * (depth + prompt / 2)
    # Quantized weights took that road too until ROCm builds multiplied them by integers.
    by_blas = setup.quant.bpw >= UNQUANTIZED_BITS or year < AMD_INTEGERS_SINCE
    blas_flop = work.body_flop + expert_flop if plain_blas and by_blas else 0.0
    scan = work.scan_flop * prompt / (vector_flop_per_s(gpu) * split.ways)
    link = 0.0
    if split.ways > 1:
        moved = 2.0 * prompt * work.hidden_size * 2 * 2 * (split.ways - 1) / split.ways
        link = work.blocks * (
            moved / link_bytes_per_s(gpu) + chunks * 2 * math.log2(split.ways) * link_latency_s(gpu)
        )
    seconds = [
        prompt * work.body_flop / peak,
        vector_flop * prompt / (vector_flop_per_s(gpu) * split.ways),
        prompt * expert_flop / peak,
        prompt * blas_flop / peak,
        work.prefill_attention_flop(prompt, depth) / (attention_flop_per_s(setup) * split.ways),
        SCORE_BYTES * scores / bandwidth,
        ACTIVATION_BYTES * prompt * work.blocks * work.hidden_size / bandwidth,
        chunks * (work.weight_bytes(chunk) - host) / bandwidth,
        scan,
        scan * unfused(setup, year),
        chunks * work.blocks * _MICRO,
        100 * _MICRO / sequences,
        10_000 * _MICRO * served / sequences,
        link,
        chunks * host / copied_bytes_per_s(setup),
    ]
    old = prompt_slowness(gpu, year) * pipelined(setup, chunks)
    return [part * old for part in seconds]


def pipelined(setup: Setup, chunks: float) -> float:
    """Share of one card's time that a prompt of `chunks` micro-batches takes on cards that pass layers on.

    While one card works on a micro-batch the one before it has the next: chunks + cards − 1 stages in place
    of chunks × cards. llama.cpp does so where every layer is on a GPU.
    """
    launch = setup.launch
    cards = launch.gpu_count
    if cards == 1 or split_of(setup) != Split(1, 0.0, 0.0) or launch.engine not in MMQ_ENGINES:
        return 1.0
    return (max(chunks, 1.0) + cards - 1) / (max(chunks, 1.0) * cards)
