"""The recurrent state of linear-attention, Mamba and convolution layers, in elements and bytes.

It knows one sequence's state of one layer and llama.cpp's copies of it; vLLM's paging of the same state is
in `vllm`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from knowledge.errors import UnsupportedError
from knowledge.schema import ModelSpec

DEFAULT_DRAFT_LENGTH = 3
"""Tokens drafted per step when the launch does not say (llama.cpp since May 2026)."""

_LFM2_KERNEL = 3
"""`conv_L_cache` of every LFM2 model; the catalog has no column for it."""


@dataclass(frozen=True, slots=True)
class LayerState:
    """Elements of one sequence's state in one layer: rolling convolution inputs and the recurrent matrix."""

    layers: int
    conv: int
    recurrent: int


def layer_states(model: ModelSpec) -> tuple[LayerState, ...]:
    """The state of every kind of recurrent layer of `model`.

    Linear attention (gated delta net) and Mamba 2 keep `(d_conv−1)·(d_inner + 2·groups·d_state)` convolution
    inputs and a matrix of `d_state·d_inner`; a short convolution keeps `(d_conv−1)·hidden`.

    Raises:
        UnsupportedError: the catalog lacks the dimensions of a recurrent kind the model has.
    """
    states = []
    if model.layers_linear:
        key_heads, key_dim = model.linear_num_key_heads, model.linear_key_head_dim
        value_heads, value_dim = model.linear_num_value_heads, model.linear_value_head_dim
        kernel = model.linear_conv_kernel_dim
        if not (key_heads and key_dim and value_heads and value_dim and kernel):
            raise UnsupportedError(
                f"{model.name}: the catalog lacks the state size of its linear-attention layers",
                "see: advisor models",
            )
        inner = value_heads * value_dim
        conv = (kernel - 1) * (inner + 2 * key_heads * key_dim)
        states.append(LayerState(model.layers_linear, conv, key_dim * inner))
    # Falcon-H1 runs a Mamba head beside attention in every layer.
    mamba = model.layers_mamba2 or (model.layers_full if model.ssm_num_heads else 0)
    if mamba:
        heads, dim, size = model.ssm_num_heads, model.ssm_head_dim, model.ssm_state_size
        if not (heads and dim and size and model.ssm_conv_kernel):
            raise UnsupportedError(
                f"{model.name}: the catalog lacks the state size of its Mamba layers", "see: advisor models"
            )
        inner = heads * dim
        conv = (model.ssm_conv_kernel - 1) * (inner + 2 * (model.ssm_groups or 1) * size)
        states.append(LayerState(mamba, conv, size * inner))
    if model.layers_conv:
        states.append(LayerState(model.layers_conv, (_LFM2_KERNEL - 1) * model.hidden_size, 0))
    return tuple(states)


def draft_length(spec_decode: str) -> int:
    """Tokens drafted by heads that share the model's state: `mtp`, `mtp:2`, `eagle3` …; 0 without them."""
    text = spec_decode.strip().lower()
    if not text.startswith(("mtp", "eagle")):
        return 0
    match = re.search(r"[:=\-](\d+)$", text)
    return int(match[1]) if match else DEFAULT_DRAFT_LENGTH


def state_bytes(model: ModelSpec, slots: int, rollback: int) -> float:
    """Bytes of llama.cpp's recurrent state: f32, per slot, and once more per token of `rollback` (drafts)."""
    per_slot = sum(state.layers * (state.conv + state.recurrent) for state in layer_states(model))
    return 4.0 * slots * (1 + rollback) * per_slot
