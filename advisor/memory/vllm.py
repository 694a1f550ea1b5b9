"""vLLM's memory budget: what a start-up leaves for the cache, and what the asked requests need of it.

Budget = utilization × device memory − weights − peak activation of the profile run − CUDA graphs − what lies
outside torch. The page arithmetic is `pages`'; whether the estimate holds is `risk`'s judgement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from advisor.config import GpuMemory, Memory, Setup
from advisor.memory.kv_cache import pad
from advisor.memory.paged import (
    batched_tokens,
    budget_mib,
    kv_name,
    prefix_caching,
    sequences,
    version_of,
    ways_of,
)
from advisor.memory.pages import Pool, pool_of
from advisor.memory.state import draft_length
from advisor.memory.supply import free_mib, usable_fraction
from knowledge.units import BYTES_PER_GIB, BYTES_PER_MIB, MIB_PER_GIB

_DRAFT_LAYERS = 5
"""Layers of a separate drafter of unstated shape (DFlash)."""
_GRAPHS_COUNTED_SINCE = (0, 21)
_NON_TORCH_MIB = 90.0
_ROCM_MIB = 450.0
"""What ROCm start-ups held beyond the same models on CUDA (R9700 against 3090, 4090, A100)."""
_NON_TORCH_PER_PEER_MIB = 350.0
"""NCCL channels and all-reduce workspaces once devices work together."""
_PAGE_CACHE_MIB = 5_500.0
"""What vLLM takes for its own of a GB10's unified memory beside the parts: 5.3 to 16 GiB less cache than on
discrete cards (`data/memory/vllm_startup.csv`), since file pages count as used."""
_GRAPH_BASE_MIB = 250.0
_GRAPH_PER_LAYER_MIB = 6.0
_DRAFT_GRAPHS_MIB = 600.0
"""The draft head's own captures and buffers (a 27B on a 3090 at a share of 0.97: 177K tokens with MTP, 206K
without, `data/memory/memory_cases.csv`)."""
_ACTIVATION_FLOOR_MIB = 150.0
"""Kernel workspaces and allocator slack of the profile run."""
_ROUTING_MIB = 150.0
"""Sorted token ids and workspaces of fused experts."""
_SAMPLER_BYTES = 20
"""Per logit of every sequence in the profile run's sampler: f32 logits, probabilities, and a sort with 64-bit
indices. Servers with the default of 1,024 sequences hold 5 to 7 GiB beside their weights
(`data/memory/vllm_startup.csv`, H100 and RTX PRO 6000)."""
_ENCODER_MIB = 700.0
"""The vision encoder's part of the profile run: a 27B's cache of 260K tokens at 0.98 shrinks to 206K at 0.985
(`data/memory/memory_cases.csv`)."""


@dataclass(frozen=True, slots=True)
class VllmBudget:
    """What one device's budget is spent on, in MiB, and what the cache then holds.

    `kv_tokens` is the figure that vLLM logs; `requests` how many of `ctx` tokens run at once; `max_len` the
    longest single request; `needed_mib` the cache that the asked concurrency takes.
    """

    device_mib: float
    budget_mib: float
    weights_mib: float
    activation_mib: float
    graphs_mib: float
    non_torch_mib: float
    kv_budget_mib: float
    kv_tokens: int
    requests: float
    max_len: int
    needed_attention_mib: float
    needed_state_mib: float

    @property
    def needed_mib(self) -> float:
        """Cache that the asked requests pin: attention pages and recurrent-state pages."""
        return self.needed_attention_mib + self.needed_state_mib

    @property
    def starts(self) -> bool:
        """Whether vLLM starts: there is a cache, and one request of the asked length fits."""
        return self.kv_budget_mib > 0 and self.requests >= 1


def activation_mib(setup: Setup, tokens: int, ways: int) -> float:
    """Peak of the profile run: `tokens` in the widest layer, 16 bit, or every sequence in the sampler."""
    model = setup.model
    hidden = model.hidden_size
    dense = 3 * (model.intermediate_size or 0) if model.n_dense_layers or not model.is_moe else 0
    inner = model.moe_intermediate_size or 0
    routed = model.n_experts_used * (max(2 * inner, hidden * ways) + inner) if model.is_moe else 0
    forward = 2.0 * tokens * (4 * hidden + max(dense, routed) / ways)
    sampler = sequences(setup) * model.vocab_size * _SAMPLER_BYTES
    floor = _ACTIVATION_FLOOR_MIB + (_ROUTING_MIB if model.is_moe else 0.0)
    return floor + max(forward, sampler) / BYTES_PER_MIB


def _expert_padding(setup: Setup, ways: int) -> float:
    """Share that MXFP4 experts grow by when their sides are padded to what the kernels tile (gpt-oss)."""
    hidden, inner = setup.model.hidden_size, (setup.model.moe_intermediate_size or 0) / ways
    if not setup.quant.name.upper().startswith("MXFP4") or not inner:
        return 0.0
    return pad(hidden, 256) / hidden * pad(math.ceil(inner), 128) / inner - 1


def graphs_mib(setup: Setup, stages: int) -> float:
    """Captured CUDA graphs; none with `--enforce-eager`."""
    if setup.launch.enforce_eager:
        return 0.0
    drafts = setup.launch.spec_decode != "none" or bool(setup.launch.draft_gib)
    own = _GRAPH_BASE_MIB + _GRAPH_PER_LAYER_MIB * setup.model.n_layers / stages
    return own + (_DRAFT_GRAPHS_MIB if drafts else 0.0)


def budget(setup: Setup) -> VllmBudget:
    """The budget of one device of `setup`.

    Raises:
        UnsupportedError: a KV type that vLLM does not have, or a cache that is not understood.
    """
    launch, model = setup.launch, setup.model
    tensor, stages = ways_of(launch)
    drafts = draft_length(launch.spec_decode)
    drafter = _DRAFT_LAYERS if launch.draft_gib else 0
    pool = pool_of(model, kv_name(launch), tensor, draft_layers=drafter, mtp=drafts > 0)

    device = launch.vram_gib * MIB_PER_GIB * usable_fraction(setup)
    graphs = graphs_mib(setup, stages)
    weights = setup.weights.total + setup.weights.experts * _expert_padding(setup, tensor)
    if launch.spec_decode.lower().startswith("mtp") and model.has_mtp and not setup.weights.is_real:
        weights += (setup.weights.dense + setup.weights.experts) / max(model.n_layers, 1)
    weights += (launch.draft_gib or 0.0) * BYTES_PER_GIB
    weights_mib = weights / (tensor * stages) / BYTES_PER_MIB - launch.cpu_offload_gib * MIB_PER_GIB
    activation = activation_mib(setup, batched_tokens(setup), tensor)
    activation += _ENCODER_MIB if launch.mmproj_gib else 0.0
    devices = tensor * stages
    non_torch = _NON_TORCH_MIB + (_NON_TORCH_PER_PEER_MIB if devices > 1 else 0.0)
    if "amd" in setup.gpu.vendor.lower():
        non_torch += _ROCM_MIB
    elif setup.gpu.unified_memory:
        non_torch += _PAGE_CACHE_MIB

    allowed = budget_mib(setup)
    version = version_of(launch.engine_version)
    counted_graphs = graphs if version is None or version >= _GRAPHS_COUNTED_SINCE else 0.0
    left = allowed - weights_mib - activation - counted_graphs - non_torch
    # Each pipeline stage holds its share of the layers, so its blocks are smaller by as much.
    block_mib = pool.block_bytes / stages / BYTES_PER_MIB
    blocks = max(int(left / block_mib), 0)

    batched = batched_tokens(setup)
    per_request = pool.attention_blocks(launch.ctx, batched)
    pinned = pool.state_blocks(drafts, prefix_caching=prefix_caching(launch))
    asked = max(launch.concurrency, 1)
    requests = blocks / (per_request + pinned)
    # Since about 0.20 the log gives what full-length requests make of a pool of several groups.
    by_requests = pool.groups > 1 and (version is None or version >= (0, 20))
    # Every sequence that may run has its state somewhere: more of them than blocks, and vLLM does not start.
    attention = asked * per_request
    needed_state = max(asked * pinned, sequences(setup) - attention if pool.state_groups else 0)
    return VllmBudget(
        device_mib=device,
        budget_mib=allowed,
        weights_mib=weights_mib,
        activation_mib=activation,
        graphs_mib=graphs,
        non_torch_mib=non_torch,
        kv_budget_mib=left,
        kv_tokens=int(requests * launch.ctx) if by_requests else pool.token_capacity(blocks),
        requests=requests,
        max_len=_longest(pool, blocks - pinned, batched),
        needed_attention_mib=attention * block_mib,
        needed_state_mib=needed_state * block_mib,
    )


def graphs_on_top_mib(setup: Setup) -> float:
    """Captured graphs that the budget does not count: all of them before 0.21."""
    version = version_of(setup.launch.engine_version)
    uncounted = setup.launch.engine == "vllm" and version is not None and version < _GRAPHS_COUNTED_SINCE
    return graphs_mib(setup, ways_of(setup.launch)[1]) if uncounted else 0.0


def _longest(pool: Pool, blocks: int, batched: int) -> int:
    """The longest request whose attention blocks number at most `blocks`."""
    if blocks <= 0 or not pool.full_groups:
        return 0
    low, high = 0, blocks * pool.full_tokens
    while low < high:
        middle = (low + high + 1) // 2
        if pool.attention_blocks(middle, batched) <= blocks:
            low = middle
        else:
            high = middle - 1
    return low


def account(setup: Setup) -> Memory:
    """Memory of `setup`: what the asked requests need, against what vLLM is allowed to take.

    `kv_cache_mib` and `recurrent_state_mib` are the pages of `concurrency` requests of `ctx` tokens, not the
    pool (which takes all that is left). `available_mib` is the budget; 0 where the card's free memory is
    below it, since vLLM then refuses to start.
    """
    parts = budget(setup)
    launch = setup.launch
    free = free_mib(setup)
    # Before 0.21 the graphs came on top of the budget instead of out of it.
    on_top = graphs_on_top_mib(setup)
    refused = free < parts.budget_mib
    available = 0.0 if refused else min(parts.budget_mib + on_top, free)
    compute = parts.activation_mib + parts.graphs_mib
    one = GpuMemory(
        weights_mib=parts.weights_mib,
        kv_cache_mib=parts.needed_attention_mib,
        recurrent_state_mib=parts.needed_state_mib,
        compute_mib=compute,
        output_host_mib=0.0,
        overhead_mib=parts.non_torch_mib,
        total_mib=parts.weights_mib + parts.needed_mib + compute + parts.non_torch_mib,
        available_mib=available,
    )
    devices = launch.gpu_count
    return Memory(**dict(one), host_mib=0.0, per_gpu=[one] * devices if devices > 1 else [])
