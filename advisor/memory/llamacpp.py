"""Memory of llama.cpp and its family (ik_llama.cpp, llamafile, Ollama, LM Studio) on one or more devices.

It adds up what `placement`, `kv_cache`, `state` and `compute` know; whether that fits is `risk`'s judgement.
"""

from __future__ import annotations

from dataclasses import replace

from advisor.config import GpuMemory, LaunchConfig, Memory, Setup
from advisor.memory.builds import NEWEST, Layout, layout
from advisor.memory.compute import (
    Part,
    compute_bytes,
    draft_compute_bytes,
    graph_of,
    output_bytes,
    pool_scratch_bytes,
)
from advisor.memory.kv_cache import Cells, attention_rows, cells, kv_bytes
from advisor.memory.placement import Placement, memory_of_devices, place
from advisor.memory.state import draft_length, state_bytes
from advisor.memory.supply import free_mib
from knowledge.errors import UnsupportedError
from knowledge.kv_types import normalise_kv_type, row_bytes
from knowledge.schema import ModelSpec
from knowledge.units import BYTES_PER_MIB, MIB_PER_GIB

FAMILY = ("llama.cpp", "ik_llama.cpp", "llamafile", "ollama", "lmstudio")
"""Engines whose memory is llama.cpp's."""

_OLD_LAYOUT = Layout(mask_bytes=6, all_logits=True, pool_scratch=True, default_slots=1)
"""ik_llama.cpp and llamafile left llama.cpp before the changes of 2026; Ollama starts one slot."""

_PIPELINE_COPIES = 4
"""GGML_SCHED_MAX_COPIES: inputs of every micro-batch in flight, when layers are split over devices."""

OVERHEAD_MIB = {"cuda": 230.0, "rocm": 250.0, "vulkan": 120.0, "sycl": 250.0, "metal": 80.0, "cpu": 0.0}
"""Context, kernels and library workspaces beside the buffers, typical per backend; `risk` owns the spread.

The CUDA figure is what remains after the 300–450 MiB that the driver and the context itself take from the
nominal size (a headless 3090 offers 24,124 of 24,576 MiB: `supply` and this constant share that loss)."""
_PARTIAL_CUDA_MIB = 250.0
"""More of them where layers or experts run on the host and their weights are streamed in for prompts
(`data/observations/insiderllm.csv`: 140 MiB beside the buffers of a whole model, 380–590 of a split one)."""
_FOREIGN_TYPES = frozenset({"fp8", "int8", "int4", "nvfp4", "q7", "q6", "q3", "q2"})
"""Cache types of other engines."""
_DRAFT_UBATCH = 512
_ENCODER_MIB = 400.0
"""Buffers of a vision encoder while it reads an image: 40 MiB for a small one, a GiB for 4 megapixels."""


def backend_of(setup: Setup) -> str:
    """The compute backend: as stated, else the vendor's usual one."""
    if setup.launch.backend:
        return setup.launch.backend.lower()
    if setup.gpu.kind == "cpu":
        return "cpu"
    vendor = setup.gpu.vendor.lower()
    if "apple" in vendor:
        return "metal"
    return "cuda" if "nvidia" in vendor else "vulkan"


def layout_of(launch: LaunchConfig) -> Layout:
    """The memory layout of the launch's engine and version."""
    if launch.engine in {"ik_llama.cpp", "llamafile"}:
        return _OLD_LAYOUT
    if launch.engine == "llama.cpp":
        return layout(launch.engine_version)
    return NEWEST


def slots(launch: LaunchConfig) -> tuple[int, bool]:
    """The server's slots and whether they share one unified cache.

    llama-server without `--parallel` starts 4 unified slots; an explicit number turns unified off unless
    `--kv-unified`. Ollama and the older forks start one slot.
    """
    default = (
        1 if launch.engine in {"ollama", "ik_llama.cpp", "llamafile"} else layout_of(launch).default_slots
    )
    count = launch.parallel or default
    unified = launch.kv_unified if launch.kv_unified is not None else launch.parallel is None
    return count, unified or count == 1


def total_context(launch: LaunchConfig) -> int:
    """Tokens of `--ctx-size`: `ctx` for every concurrent sequence (unified), else for every slot."""
    count, unified = slots(launch)
    return launch.ctx * (min(max(launch.concurrency, 1), count) if unified else count)


def account(setup: Setup) -> Memory:
    """Memory of `setup` by part, on the fullest device.

    Raises:
        UnsupportedError: architecture, attention kind or KV type that llama.cpp's accounting does not cover.
    """
    launch, model = setup.launch, setup.model
    graph_of(model)  # refuse before anything is summed
    type_k, type_v = _kv_name(launch.kv_type_k), _kv_name(launch.kv_type_v)
    build = layout_of(launch)
    count, _ = slots(launch)
    shape = shape_of(launch, model)
    placement = place(setup)
    rollback = draft_length(launch.spec_decode)

    flash = launch.flash_attn
    kv = kv_bytes(model, shape, type_k, type_v, flash_attn=flash) / BYTES_PER_MIB
    state = state_bytes(model, count, rollback) / BYTES_PER_MIB
    memory = memory_of_devices(setup)
    shares = [share for share in placement.shares if share > 0]
    pipelined = len(shares) > 1 and placement.layer_share == 1.0 and not launch.n_cpu_moe

    streamed = min(launch.n_cpu_moe, model.n_layers) if model.is_moe else 0

    def buffer_mib(*, first: bool) -> float:
        part = Part(
            copies=_PIPELINE_COPIES if pipelined else 1,
            first=first,
            streamed_layers=streamed,
            streamed=(placement.expert_bytes,) * 3 if streamed else (0.0, 0.0, 0.0),
        )
        needed = compute_bytes(
            model, shape, type_k, type_v, slots=count, flash_attn=flash, layout=build, part=part
        )
        return max(needed, _streamed_floor(setup, shape, placement, needed)) / BYTES_PER_MIB

    pool = pool_scratch_bytes(model, shape, type_k, type_v, flash_attn=flash, layout=build) / BYTES_PER_MIB
    output = output_bytes(model, count) / BYTES_PER_MIB
    on_device = placement.layer_share if launch.kv_offload else 0.0
    parts = []
    for index, (gib, share) in enumerate(zip(memory, placement.shares, strict=True)):
        weights = placement.device * share + (launch.mmproj_gib or 0.0) * MIB_PER_GIB * (index == 0)
        cache = kv * on_device * share
        compute = buffer_mib(first=index == 0) if share or index == 0 else 0.0
        growth = pool + (_ENCODER_MIB if launch.mmproj_gib and index == 0 else 0.0)
        if index == placement.output_on:
            weights += placement.output + (launch.draft_gib or 0.0) * MIB_PER_GIB
            if rollback or launch.draft_gib:
                cache += _draft_cache_mib(setup, shape)
                compute += _draft_mib(setup, shape, build, count)
        overhead = (
            _overhead_mib(setup, placement) + _shared_host_mib(setup, placement) * (index == 0) + growth
        )
        parts.append(
            GpuMemory(
                weights_mib=weights,
                kv_cache_mib=cache,
                recurrent_state_mib=state * on_device * share,
                compute_mib=compute,
                output_host_mib=output,
                overhead_mib=overhead,
                total_mib=weights + cache + state * on_device * share + compute + overhead,
                available_mib=free_mib(setup, gib),
                growth_mib=growth,
            )
        )
    host = placement.host + (kv + state) * (1.0 - on_device) + output
    fullest = max(parts, key=lambda part: part.total_mib - part.available_mib)
    return Memory(**dict(fullest), host_mib=host, per_gpu=parts if len(parts) > 1 else [])


def shape_of(launch: LaunchConfig, model: ModelSpec) -> Cells:
    """The cache's geometry under the launch's slots, context and micro-batch."""
    count, unified = slots(launch)
    ubatch = min(launch.ubatch, launch.batch)
    shape = cells(model, total_context(launch), count, unified=unified, ubatch=ubatch)
    return replace(shape, sliding=shape.cells) if launch.swa_full and shape.sliding else shape


def least_mib(setup: Setup) -> float:
    """MiB of weights and cache alone, all on one device: what no compute buffer could make fit.

    Raises:
        UnsupportedError: see `account`.
    """
    launch, model = setup.launch, setup.model
    types = _kv_name(launch.kv_type_k), _kv_name(launch.kv_type_v)
    cache = kv_bytes(model, shape_of(launch, model), *types)
    return place(setup).device + cache / BYTES_PER_MIB


def largest_buffer_mib(setup: Setup) -> float:
    """The largest single allocation of `setup` on a device: the compute buffer, or one layer's cache.

    Backends that cut weights and caches into several buffers still need each tensor whole.
    """
    launch, model = setup.launch, setup.model
    shape = shape_of(launch, model)
    types = _kv_name(launch.kv_type_k), _kv_name(launch.kv_type_v)
    layers = max((row.layers for row in attention_rows(model)), default=1)
    one_layer = kv_bytes(model, shape, *types) / layers / 2
    flash, count = launch.flash_attn, slots(launch)[0]
    buffer = compute_bytes(model, shape, *types, slots=count, flash_attn=flash, layout=layout_of(launch))
    return max(buffer, one_layer) / BYTES_PER_MIB


def _overhead_mib(setup: Setup, placement: Placement) -> float:
    backend = backend_of(setup)
    split = setup.launch.n_cpu_moe > 0 or placement.layer_share < 1
    streamed = _PARTIAL_CUDA_MIB if split and backend == "cuda" else 0.0
    return OVERHEAD_MIB.get(backend, max(OVERHEAD_MIB.values())) + streamed


def _shared_host_mib(setup: Setup, placement: Placement) -> float:
    """Weights that stay on the host, where that is the same memory and the driver counts it (Vulkan)."""
    shared = setup.gpu.unified_memory or setup.gpu.kind == "apu"
    return placement.host if shared and backend_of(setup) == "vulkan" else 0.0


def _kv_name(text: str) -> str:
    name = normalise_kv_type(text)
    if name is None or name in _FOREIGN_TYPES:
        raise UnsupportedError(
            f"llama.cpp has no KV cache type {text!r}", "use f16, q8_0, q5_1, q5_0, q4_1 or q4_0"
        )
    return name


def _draft_cache_mib(setup: Setup, shape: Cells) -> float:
    """The draft head's own cache: one attention layer, in f16 whatever the main cache is.

    552 → 648 MiB from 8K to 32K on a 27B (`data/memory/memory_cases.csv`); `--cache-type-k-draft` is f16.
    """
    row = attention_rows(setup.model)[0]
    per_cell = row_bytes("f16", row.k_elements) + row_bytes("f16", row.v_elements)
    return shape.streams * shape.cells * per_cell / BYTES_PER_MIB


def _draft_mib(setup: Setup, shape: Cells, build: Layout, count: int) -> float:
    """The draft's own graph: the head that the model brings along, or (a separate model) one much like it."""
    shape = replace(shape, ubatch=min(shape.ubatch, _DRAFT_UBATCH))
    build = replace(build, all_logits=build.draft_logits)
    return draft_compute_bytes(setup.model, shape, "f16", "f16", slots=count, layout=build) / BYTES_PER_MIB


def _streamed_floor(setup: Setup, shape: Cells, placement: Placement, whole: float) -> float:
    """Bytes that a device needs where layers lie on the host: their weights and caches are copied in.

    Within a fifth of what llama.cpp's own graph takes; it hardly depends on how many layers they are.
    """
    if placement.layer_share in {0.0, 1.0}:
        return whole
    model = setup.model
    row = max(row.k_elements for row in attention_rows(model)) if attention_rows(model) else 0
    keys = 3.0 * shape.streams * shape.cells * row_bytes(_kv_name(setup.launch.kv_type_k), row)
    inputs = shape.ubatch * (2.0 * (shape.cells + shape.sliding) + 3 * 4.0 * model.hidden_size)
    return max(whole + placement.largest_bytes, keys + inputs)
