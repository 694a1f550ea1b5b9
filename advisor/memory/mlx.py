"""MLX's memory on unified memory: weights, caches that grow in steps, and the buffers of one prompt chunk.

It knows what mlx-lm holds at a full context; the working-set limit of the machine is `supply`'s.
"""

from __future__ import annotations

from advisor.config import LaunchConfig, Memory, Setup
from advisor.memory.kv_cache import attention_rows, pad
from advisor.memory.state import layer_states
from advisor.memory.supply import free_mib
from knowledge.errors import UnsupportedError
from knowledge.kv_types import normalise_kv_type, row_bytes
from knowledge.units import BYTES_PER_GIB, BYTES_PER_MIB

_STEP = 256
"""Tokens by which mlx-lm's `KVCache` grows; the rotating cache of windowed layers stops at its window."""
_CHUNK = 2048
"""`prefill_step_size` of mlx-lm: tokens of a prompt at once, where the launch does not say."""
_FUSED_HEAD = 128
"""Widest head of MLX's fused attention; with wider ones (Qwen3.5: 256) the scores of a chunk are laid out."""
_OVERHEAD_MIB = 300.0
_TYPES = {"f16": "f16", "bf16": "bf16", "q8_0": "q8_0", "q4_0": "q4_0"}


def chunk_tokens(launch: LaunchConfig) -> int:
    """Tokens of a prompt in one pass; no more than a sequence has."""
    return min(launch.max_num_batched_tokens or _CHUNK, launch.ctx)


def account(setup: Setup) -> Memory:
    """Memory of `setup`; `growth_mib` is what a prompt takes beside weights and caches.

    Raises:
        UnsupportedError: a cache type that mlx-lm does not have.
    """
    launch, model = setup.launch, setup.model
    name = normalise_kv_type(launch.kv_type_k)
    if name not in _TYPES:
        raise UnsupportedError(f"MLX has no KV cache type {launch.kv_type_k!r}", "use f16, q8 or q4")
    users = max(launch.concurrency, 1)
    cells = pad(launch.ctx, _STEP)
    window = pad(min(model.sliding_window or cells, cells), _STEP)
    kv = sum(
        row.layers
        * (window if row.windowed else cells)
        * (row_bytes(name, row.k_elements) + row_bytes(name, row.v_elements))
        for row in attention_rows(model)
    )
    state = sum(layer.layers * (2 * layer.conv + 4 * layer.recurrent) for layer in layer_states(model))
    tokens = chunk_tokens(launch)
    head = max(model.head_dim_k, model.global_head_dim or 0)
    scores = 2.0 * model.n_heads * tokens * launch.ctx if head > _FUSED_HEAD and model.layers_full else 0.0
    width = 6 * model.hidden_size + 3 * (model.intermediate_size or 0)
    chunk = 2.0 * tokens * (model.vocab_size + width) + scores
    weights = setup.weights.total + (launch.draft_gib or 0.0) * BYTES_PER_GIB
    parts = [part / BYTES_PER_MIB for part in (weights, users * kv, users * state, chunk)]
    return Memory(
        weights_mib=parts[0],
        kv_cache_mib=parts[1],
        recurrent_state_mib=parts[2],
        compute_mib=parts[3],
        output_host_mib=0.0,
        overhead_mib=_OVERHEAD_MIB,
        total_mib=sum(parts) + _OVERHEAD_MIB,
        available_mib=free_mib(setup),
        growth_mib=parts[3],
    )
