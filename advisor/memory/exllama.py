"""ExLlama's memory (exllamav2, exllamav3, TabbyAPI): weights on the cards, a cache in pages, one chunk.

The embedding table stays on the host; layers are split over cards in proportion to their memory.
"""

from __future__ import annotations

from advisor.config import GpuMemory, Memory, Setup
from advisor.memory.kv_cache import attention_rows, pad
from advisor.memory.state import layer_states
from advisor.memory.supply import free_mib
from knowledge.errors import UnsupportedError
from knowledge.kv_types import normalise_kv_type, row_bytes
from knowledge.units import BYTES_PER_MIB

_PAGE = 256
"""Tokens of a cache page."""
_CHUNK = 2048
"""`max_chunk_size`: tokens of a prompt at once."""
_OVERHEAD_MIB = 450.0
"""CUDA context and kernels' workspaces."""
_TYPES = ("f16", "q8_0", "q5_0", "q4_0", "fp8")


def account(setup: Setup) -> Memory:
    """Memory of `setup` on one of its equal cards.

    Raises:
        UnsupportedError: a cache type that ExLlama does not have.
    """
    launch, model = setup.launch, setup.model
    name = normalise_kv_type(launch.kv_type_k)
    if name == "bf16":
        name = "f16"
    if name not in _TYPES:
        raise UnsupportedError(f"ExLlama has no KV cache type {launch.kv_type_k!r}", "use f16, q8 or q4")
    cells = pad(max(launch.concurrency, 1) * launch.ctx, _PAGE)
    kv = sum(
        row.layers * cells * (row_bytes(name, row.k_elements) + row_bytes(name, row.v_elements))
        for row in attention_rows(model)
    )
    users = max(launch.max_num_seqs or launch.concurrency, 1)
    state = users * sum(layer.layers * 4.0 * (layer.conv + layer.recurrent) for layer in layer_states(model))
    tokens = min(_CHUNK, launch.ctx)
    inner = max(model.intermediate_size or 0, model.n_experts_used * (model.moe_intermediate_size or 0))
    chunk = 2.0 * tokens * (6 * model.hidden_size + 3 * inner) + 4.0 * model.vocab_size * _PAGE
    lookup = setup.weights.token_embd + setup.weights.per_layer_embedding
    devices = max(launch.gpu_count, 1)
    body = setup.weights.total - (0.0 if setup.weights.tied else lookup)
    parts = [part / devices / BYTES_PER_MIB for part in (body, kv, state)] + [chunk / BYTES_PER_MIB]
    one = GpuMemory(
        weights_mib=parts[0],
        kv_cache_mib=parts[1],
        recurrent_state_mib=parts[2],
        compute_mib=parts[3],
        output_host_mib=0.0,
        overhead_mib=_OVERHEAD_MIB,
        total_mib=sum(parts) + _OVERHEAD_MIB,
        available_mib=free_mib(setup),
    )
    host = lookup / BYTES_PER_MIB
    return Memory(**dict(one), host_mib=host, per_gpu=[one] * devices if devices > 1 else [])
