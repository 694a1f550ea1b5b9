"""SGLang's memory, as its own simple budget: a static share for weights and pools, the rest for activations.

It knows the default share and token pools of exact size; paging, graphs and radix-cache strategies are not
modelled beyond what the reserve holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from advisor.config import GpuMemory, Memory, Setup
from advisor.memory.kv_cache import attention_rows
from advisor.memory.paged import kv_name, ways_of
from advisor.memory.state import draft_length, layer_states
from advisor.memory.supply import free_mib
from knowledge.kv_types import row_bytes
from knowledge.units import BYTES_PER_MIB

_STATIC = 0.88
"""`--mem-fraction-static` that SGLang picks for one 24–80 GiB card without further flags."""
_CONTEXT_MIB = 450.0
"""CUDA context and NCCL, outside the pools."""


@dataclass(frozen=True, slots=True)
class SglangBudget:
    """One device's static share, in MiB: weights, states of the running requests, and the pool left over."""

    weights_mib: float
    state_mib: float
    static_mib: float
    token_mib: float

    @property
    def kv_tokens(self) -> int:
        """Tokens that the pool holds; 0 where weights and states leave none."""
        left = self.static_mib - self.weights_mib - self.state_mib - _CONTEXT_MIB
        return max(int(left / self.token_mib), 0) if self.token_mib else 0


def budget(setup: Setup) -> SglangBudget:
    """What `--mem-fraction-static` of the free memory is spent on.

    Raises:
        UnsupportedError: a cache type that SGLang does not have.
    """
    launch, model = setup.launch, setup.model
    tensor, stages = ways_of(launch)
    name = kv_name(launch)
    token = 0.0
    for row in attention_rows(model):
        # A window saves nothing for certain: the hybrid pool keeps a share of the full size by default.
        heads = model.global_n_kv_heads or model.n_kv_heads
        share = 1.0 if row.v_elements == 0 else max(-(-heads // tensor), 1) / heads
        width = row_bytes(name, row.k_elements) + (row_bytes(name, row.v_elements) if row.v_elements else 0.0)
        token += row.layers * width * share
    running = max(launch.max_num_seqs or launch.concurrency, 1)
    copies = 1 + draft_length(launch.spec_decode)
    state = sum(s.layers * (2 * s.conv + 4 * s.recurrent) for s in layer_states(model)) / tensor
    return SglangBudget(
        weights_mib=setup.weights.total / (tensor * stages) / BYTES_PER_MIB,
        state_mib=running * copies * state / stages / BYTES_PER_MIB,
        static_mib=(launch.gpu_memory_utilization or _STATIC) * free_mib(setup),
        token_mib=token / stages / BYTES_PER_MIB,
    )


def account(setup: Setup) -> Memory:
    """Memory of `setup` on one device; `available_mib` is the static share of what is free at start."""
    launch, parts = setup.launch, budget(setup)
    kv = max(launch.concurrency, 1) * launch.ctx * parts.token_mib
    one = GpuMemory(
        weights_mib=parts.weights_mib,
        kv_cache_mib=kv,
        recurrent_state_mib=parts.state_mib,
        compute_mib=0.0,
        output_host_mib=0.0,
        overhead_mib=_CONTEXT_MIB,
        total_mib=parts.weights_mib + kv + parts.state_mib + _CONTEXT_MIB,
        available_mib=parts.static_mib,
    )
    return Memory(**dict(one), host_mib=0.0, per_gpu=[one] * launch.gpu_count if launch.gpu_count > 1 else [])
