"""Memory of llama.cpp and its family (ik_llama.cpp, llamafile, Ollama, LM Studio) on one or more devices.

It adds up what `placement`, `kv_cache`, `state` and `compute` know; whether that fits is `risk`'s judgement.
"""

from __future__ import annotations

from advisor.config import GpuMemory, LaunchConfig, Memory, Setup
from advisor.memory.builds import NEWEST, Layout, layout
from advisor.memory.compute import compute_bytes, graph_of, output_bytes, pool_scratch_bytes
from advisor.memory.kv_cache import Cells, attention_rows, cells, kv_bytes
from advisor.memory.placement import place
from advisor.memory.state import draft_length, state_bytes
from advisor.memory.supply import free_mib
from knowledge.errors import UnsupportedError
from knowledge.kv_types import normalise_kv_type, row_bytes
from knowledge.units import BYTES_PER_MIB

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
    count, unified = slots(launch)
    shape = cells(
        model, total_context(launch), count, unified=unified, ubatch=min(launch.ubatch, launch.batch)
    )
    placement = place(setup)
    rollback = draft_length(launch.spec_decode)

    kv = kv_bytes(model, shape, type_k, type_v) / BYTES_PER_MIB
    state = state_bytes(model, count, rollback) / BYTES_PER_MIB
    flash = launch.flash_attn
    buffer = (
        compute_bytes(model, shape, type_k, type_v, slots=count, flash_attn=flash, layout=build)
        / BYTES_PER_MIB
    )
    scratch = pool_scratch_bytes(model, shape, type_k, type_v, flash_attn=flash, layout=build) / BYTES_PER_MIB
    output = output_bytes(model, count) / BYTES_PER_MIB
    overhead = OVERHEAD_MIB.get(backend_of(setup), max(OVERHEAD_MIB.values())) + scratch
    if rollback:
        kv += _draft_cache_mib(setup, shape, type_k, type_v)
        buffer += _draft_compute_mib(setup, shape, build)

    devices = _devices(launch)
    pipelined = devices > 1 and placement.layer_share == 1.0 and not launch.n_cpu_moe
    if pipelined:
        buffer += (_PIPELINE_COPIES - 1) * _input_mib(setup, shape)
    available = free_mib(setup)

    # A layer split shares layers out evenly between equal cards; the last one also holds the output.
    shared = (placement.device - placement.output) / devices
    parts = [
        GpuMemory(
            weights_mib=shared + (placement.output if index == devices - 1 else 0.0),
            kv_cache_mib=kv * placement.layer_share / devices,
            recurrent_state_mib=state * placement.layer_share / devices,
            compute_mib=buffer + placement.expert_copy,
            output_host_mib=output,
            overhead_mib=overhead,
            total_mib=shared
            + (placement.output if index == devices - 1 else 0.0)
            + (kv + state) * placement.layer_share / devices
            + buffer
            + placement.expert_copy
            + overhead,
            available_mib=available,
        )
        for index in range(devices)
    ]
    host = placement.host + (kv + state) * (1.0 - placement.layer_share) + output
    return Memory(**dict(parts[-1]), host_mib=host, per_gpu=parts if devices > 1 else [])


def _kv_name(text: str) -> str:
    name = normalise_kv_type(text)
    if name is None or name in {"fp8", "int8", "nvfp4"}:
        raise UnsupportedError(
            f"llama.cpp has no KV cache type {text!r}", "use f16, q8_0, q5_1, q5_0, q4_1 or q4_0"
        )
    return name


def _devices(launch: LaunchConfig) -> int:
    return max(launch.gpu_count, 1)


def _draft_cache_mib(setup: Setup, shape: Cells, type_k: str, type_v: str) -> float:
    """The draft head's own cache: one attention layer (552 → 648 MiB from 8K to 32K on a 27B, f16)."""
    row = attention_rows(setup.model)[0]
    per_cell = row_bytes(type_k, row.k_elements) + row_bytes(type_v, row.v_elements)
    return shape.streams * shape.cells * per_cell / BYTES_PER_MIB


def _draft_compute_mib(setup: Setup, shape: Cells, build: Layout) -> float:
    """The draft head's own graph: its mask, and the logits of the whole micro-batch."""
    model = setup.model
    mask = shape.cells * build.mask_bytes
    return shape.ubatch * (mask + 4 * (model.vocab_size + 2 * model.hidden_size)) / BYTES_PER_MIB


def _input_mib(setup: Setup, shape: Cells) -> float:
    """One copy of a micro-batch's inputs: the mask and the embedded tokens."""
    mask = (shape.cells + shape.sliding) * 2 * shape.streams
    return shape.ubatch * (mask + 4 * setup.model.hidden_size) / BYTES_PER_MIB
