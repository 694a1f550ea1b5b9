"""ExLlama's memory (exllamav2, exllamav3, TabbyAPI): weights on the cards, a cache in pages, one chunk.

The embedding table stays on the host, and the experts of layers that are told to. Cards share what lies on
them evenly, unless the launch says how much each of them takes. It spells no flags.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from advisor.config import GpuMemory, LaunchConfig, Memory, Setup
from advisor.memory.kv_cache import attention_rows, pad
from advisor.memory.state import layer_states
from advisor.memory.supply import free_mib
from knowledge.errors import UnsupportedError
from knowledge.kv_types import normalise_kv_type, row_bytes
from knowledge.schema import ModelSpec
from knowledge.units import BYTES_PER_GIB, BYTES_PER_MIB, MIB_PER_GIB

EXLLAMA = ("exllamav3", "exllamav2", "tabbyapi")
"""The names under which these engines are known."""
PAGE = 256
"""Tokens of a cache page; chunks are whole pages too."""
_CHUNK = 2048
"""`max_chunk_size`: tokens of a prompt at once."""
_OVERHEAD_MIB = 450.0
"""CUDA context and kernels' workspaces."""
_TYPES = ("f16", "q8_0", "q7", "q6", "q5_0", "q4_0", "q3", "q2", "fp8")
_DRAFT_LENGTH = 4
"""Tokens guessed per step where the launch does not say: five states per sequence, with the one in use
(https://github.com/theroyallab/tabbyAPI/issues/477)."""
_RECURRENT_JOBS, _JOBS = 4, 128
"""Jobs at once where the launch does not say: every one of them holds its recurrent states
(https://github.com/theroyallab/tabbyAPI/blob/004e837/backends/exllamav3/model.py)."""


def cache_cells(launch: LaunchConfig) -> int:
    """Tokens of cache in whole pages: as stated, else the context of every user."""
    return pad(launch.cache_tokens or max(launch.concurrency, 1) * launch.ctx, PAGE)


def jobs(setup: Setup) -> int:
    """Sequences at once: as stated, else the engine's default for the kind of model."""
    return setup.launch.max_num_seqs or (_RECURRENT_JOBS if layer_states(setup.model) else _JOBS)


def chunk_tokens(launch: LaunchConfig) -> int:
    """Tokens of a prompt in one pass, in whole pages; no more than a sequence has."""
    return min(pad(launch.max_num_batched_tokens or _CHUNK, PAGE), pad(launch.ctx, PAGE))


def account(setup: Setup) -> Memory:
    """Memory of `setup` on its fullest card.

    Raises:
        UnsupportedError: a cache type that ExLlama does not have, or cards that differ.
    """
    if setup.gpu.memory_each_gib:
        raise UnsupportedError("cards that differ are not counted for ExLlama", "use --engine llama.cpp")
    parts = _parts(setup)
    free = free_mib(setup)
    cards = [_card(parts, share, limit, free) for share, limit in _shares(setup.launch, parts)]
    fullest = max(cards, key=lambda card: card.total_mib - card.available_mib)
    return Memory(**dict(fullest), host_mib=parts.host_mib, per_gpu=cards if len(cards) > 1 else [])


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is spread over the cards (weights, cache, states), what each needs, and the host's; MiB."""

    weights_mib: float
    kv_mib: float
    state_mib: float
    compute_mib: float
    host_mib: float

    @property
    def spread_mib(self) -> float:
        return self.weights_mib + self.kv_mib + self.state_mib


def _parts(setup: Setup) -> _Parts:
    launch, model, weights = setup.launch, setup.model, setup.weights
    drafts = _draft_length(launch.spec_decode)
    cells = cache_cells(launch)
    kv = cells * _token_bytes(model, _type(launch.kv_type_k), _type(launch.kv_type_v))
    if drafts:  # the head's own layer, whose cache keeps its full width unless told otherwise
        row = attention_rows(model)[0]
        kv += cells * (row_bytes("f16", row.k_elements) + row_bytes("f16", row.v_elements))
    state = sum(layer.layers * 4.0 * (layer.conv + layer.recurrent) for layer in layer_states(model))
    inner = max(model.intermediate_size or 0, model.n_experts_used * (model.moe_intermediate_size or 0))
    chunk = 2.0 * chunk_tokens(launch) * (6 * model.hidden_size + 3 * inner) + 4.0 * model.vocab_size * PAGE
    lookup = weights.token_embd + weights.per_layer_embedding
    on_host = weights.experts * _host_share(launch, model)
    body = weights.total - weights.vision - (0.0 if weights.tied else lookup) - on_host
    beside = ((launch.mmproj_gib or 0.0) + (launch.draft_gib or 0.0)) * BYTES_PER_GIB
    return _Parts(
        weights_mib=(body + beside) / BYTES_PER_MIB,
        kv_mib=kv / BYTES_PER_MIB,
        state_mib=jobs(setup) * (1 + drafts) * state / BYTES_PER_MIB,
        compute_mib=chunk / BYTES_PER_MIB,
        host_mib=(lookup + on_host) / BYTES_PER_MIB,
    )


def _card(parts: _Parts, share: float, limit_mib: float | None, free: float) -> GpuMemory:
    spread = parts.spread_mib * share
    total = spread + parts.compute_mib + _OVERHEAD_MIB
    return GpuMemory(
        weights_mib=parts.weights_mib * share,
        kv_cache_mib=parts.kv_mib * share,
        recurrent_state_mib=parts.state_mib * share,
        compute_mib=parts.compute_mib,
        output_host_mib=0.0,
        overhead_mib=_OVERHEAD_MIB,
        total_mib=total,
        available_mib=free if limit_mib is None else min(free, limit_mib + _OVERHEAD_MIB),
    )


def _shares(launch: LaunchConfig, parts: _Parts) -> list[tuple[float, float | None]]:
    """Each card's share of what is spread, and the most that it was told to take, MiB.

    With limits the cards are filled in order, the last one with what is left; split tensors follow them.
    """
    count = max(launch.gpu_count, 1)
    if launch.tensor_split is None:
        return [(1 / count, None)] * count
    limits = [gib * MIB_PER_GIB for gib in launch.tensor_split if gib > 0]
    if launch.tensor_parallel > 1:  # what does not fit into the limits is taken all the same
        return [(limit / sum(limits), None) for limit in limits]
    shares, left = [], 1.0
    for limit in limits[:-1]:
        room = max(limit - parts.compute_mib, 0.0) / parts.spread_mib
        shares.append(min(room, left))
        left -= shares[-1]
    return list(zip((*shares, left), limits, strict=True))


def _draft_length(spec_decode: str) -> int:
    match = re.fullmatch(r"mtp(?::(\d+))?", spec_decode.strip().lower())
    return int(match[1] or _DRAFT_LENGTH) if match else 0


def _type(text: str) -> str:
    name = normalise_kv_type(text)
    name = "f16" if name == "bf16" else name
    if name not in _TYPES:
        raise UnsupportedError(f"ExLlama has no KV cache type {text!r}", "use f16, q8, q6 or q4")
    return name


def _token_bytes(model: ModelSpec, type_k: str, type_v: str) -> float:
    return sum(
        row.layers
        * (row_bytes(type_k, row.k_elements) + (row_bytes(type_v, row.v_elements) if row.v_elements else 0.0))
        for row in attention_rows(model)
    )


def _host_share(launch: LaunchConfig, model: ModelSpec) -> float:
    """Share of the routed experts in host memory: those of the first `n_cpu_moe` layers that have any."""
    if not model.is_moe:
        return 0.0
    return min(launch.n_cpu_moe / max(model.n_layers - model.n_dense_layers, 1), 1.0)
