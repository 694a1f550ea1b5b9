"""SGLang's memory, as its own simple budget: a static share for weights and pools, the rest for activations.

It knows the default share and token pools of exact size; paging, graphs and radix-cache strategies are not
modelled beyond what the reserve holds.
"""

from __future__ import annotations

from advisor.config import GpuMemory, Memory, Setup
from advisor.memory.kv_cache import attention_rows
from advisor.memory.state import draft_length, layer_states
from advisor.memory.supply import free_mib
from advisor.memory.vllm import kv_name, ways_of
from knowledge.kv_types import row_bytes
from knowledge.units import BYTES_PER_MIB

_STATIC = 0.88
"""`--mem-fraction-static` that SGLang picks for one 24–80 GiB card without further flags."""
_CONTEXT_MIB = 450.0
"""CUDA context and NCCL, outside the pools."""


def account(setup: Setup) -> Memory:
    """Memory of `setup` on one device; `available_mib` is the static share of what is free at start."""
    launch, model = setup.launch, setup.model
    tensor, stages = ways_of(launch)
    name = kv_name(launch)
    tokens = max(launch.concurrency, 1) * launch.ctx
    kv = 0.0
    for row in attention_rows(model):
        # A window saves nothing for certain: the hybrid pool keeps a share of the full size by default.
        heads = model.global_n_kv_heads or model.n_kv_heads
        share = 1.0 if row.v_elements == 0 else max(-(-heads // tensor), 1) / heads
        width = row_bytes(name, row.k_elements) + (row_bytes(name, row.v_elements) if row.v_elements else 0.0)
        kv += row.layers * tokens * width * share
    running = max(launch.max_num_seqs or launch.concurrency, 1)
    copies = 1 + draft_length(launch.spec_decode)
    state = sum(s.layers * (2 * s.conv + 4 * s.recurrent) for s in layer_states(model)) / tensor
    parts = (
        setup.weights.total / (tensor * stages) / BYTES_PER_MIB,
        kv / stages / BYTES_PER_MIB,
        running * copies * state / stages / BYTES_PER_MIB,
    )
    fraction = launch.gpu_memory_utilization or _STATIC
    one = GpuMemory(
        weights_mib=parts[0],
        kv_cache_mib=parts[1],
        recurrent_state_mib=parts[2],
        compute_mib=0.0,
        output_host_mib=0.0,
        overhead_mib=_CONTEXT_MIB,
        total_mib=sum(parts) + _CONTEXT_MIB,
        available_mib=fraction * free_mib(setup),
    )
    return Memory(**dict(one), host_mib=0.0, per_gpu=[one] * launch.gpu_count if launch.gpu_count > 1 else [])
