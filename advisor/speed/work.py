"""What a model has to do per step: bytes read and FLOP, by part. Pure arithmetic on shapes.

It knows no device and no efficiency: `advisor.speed.roofline` turns work into seconds. Bytes of a KV cache
row and of a recurrent state are those of `advisor.memory`; here they are traffic, there they are capacity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from advisor.config import Setup
from advisor.memory.kv_cache import attention_rows
from advisor.memory.state import layer_states, state_bytes
from knowledge.kv_types import row_bytes
from knowledge.schema import ModelSpec
from knowledge.tensors import parameter_counts
from knowledge.weights import WeightBytes

FLOP_PER_MAC = 2.0
SELECTED_TOKENS = {
    "DeepseekV32ForCausalLM": 2048,
    "GlmMoeDsaForCausalLM": 2048,
    "DeepseekV4ForCausalLM": 1024,
}
"""`index_topk` of sparse attention (their configurations): a query attends to that many earlier tokens."""
SPARSE_ENGINES = frozenset({"vllm", "sglang", "tensorrt-llm", "ds4"})
"""Engines that do so; others attend to every token of these models."""
INDEX_SHARE = 0.08
"""What the indexer spends on a token that is not picked, relative to attending to it: 64 heads of 128 in 8
bits against 128 heads over a latent row of 576."""


@dataclass(frozen=True, slots=True)
class Work:
    """Work of one sequence and one token, and of the weights that a step shares among its tokens.

    Bytes unless named otherwise. `attention_flop_per_position` multiplies every earlier token that a full
    layer looks back at; `window_…` the same for sliding layers, which look back at most `window` tokens.
    """

    dense: float
    output: float
    experts: float
    n_experts: int
    n_experts_used: int
    kv_per_token: float
    kv_window_per_token: float
    window: int
    state: float
    """Recurrent state of one sequence; read and written once per step."""
    scan_flop: float
    """Per token of a prompt, the update and the reading of recurrent states."""
    body_flop: float
    """Per token, everything but routed experts, the LM head and attention over earlier tokens."""
    expert_flop: float
    output_flop: float
    attention_flop_per_position: float
    window_flop_per_position: float
    blocks: float
    """Pairs of a token mixer and a feed-forward, chains of small kernels; a layer may be half of one."""
    recurrent_layers: int
    """Linear-attention and Mamba mixers, which need more kernels than attention does."""
    moe_layers: int
    hidden_size: int
    heads: int
    """Attention heads that look at all earlier tokens, over all layers."""
    selected: int = 0
    """Earlier tokens that sparse attention picks; 0 where it attends to all."""

    def weight_bytes(self, tokens: float) -> float:
        """Weights a step over `tokens` tokens reads: expected distinct experts E·(1−(1−k/E)^tokens)."""
        return self.dense + self.output + self.experts * self.expert_share(tokens)

    def expert_share(self, tokens: float) -> float:
        """Expected share of the routed experts that `tokens` tokens touch, assuming even routing."""
        if not self.n_experts:
            return 0.0
        missed = 1.0 - min(1.0, self.n_experts_used / self.n_experts)
        return 1.0 - math.pow(missed, tokens)

    def kv_bytes(self, depth: float) -> float:
        """KV cache that one decoding token reads with `depth` tokens before it."""
        return self.kv_per_token * self._looked_at(depth) + self.kv_window_per_token * min(depth, self.window)

    def attention_flop(self, depth: float) -> float:
        """FLOP of attention for one token with `depth` tokens before it."""
        reach = min(depth, self.window)
        looked_at = self._looked_at(depth)
        return self.attention_flop_per_position * looked_at + self.window_flop_per_position * reach

    def _looked_at(self, depth: float) -> float:
        """Earlier tokens that a full layer attends to, in whole tokens' worth of work."""
        if not self.selected or depth <= self.selected:
            return depth
        return self.selected + INDEX_SHARE * (depth - self.selected)

    def prefill_attention_flop(self, prompt: float, depth: float = 0.0) -> float:
        """FLOP of causal attention for `prompt` new tokens behind `depth` cached ones."""
        mean_depth = self._looked_at(depth + prompt / 2)
        # A window fills after `window` tokens; before that it grows like full attention.
        full_from = max(0.0, min(prompt, self.window - depth))
        window_reach = full_from * (depth + full_from / 2) + (prompt - full_from) * self.window
        return prompt * self.attention_flop_per_position * mean_depth + (
            self.window_flop_per_position * window_reach
        )


def _kv_per_token(model: ModelSpec, type_k: str, type_v: str) -> tuple[float, float]:
    """Bytes that one earlier token adds to a step, in full and in sliding layers."""
    if model.n_kv_shared_layers:  # a layer without a cache of its own reads another's
        model = model.model_copy(update={"n_kv_shared_layers": 0})
    full = sliding = 0.0
    for row in attention_rows(model):
        size = row.layers * (row_bytes(type_k, row.k_elements) + row_bytes(type_v, row.v_elements))
        full, sliding = (full, sliding + size) if row.windowed else (full + size, sliding)
    return full, sliding


def _scan_flop(model: ModelSpec) -> float:
    """FLOP per token of all recurrent layers.

    Each element of a state decays, is added to and is read; the delta rule also reads it before it writes.
    """
    return sum(
        FLOP_PER_MAC * (3 if model.layers_linear else 2) * state.layers * state.recurrent
        for state in layer_states(model)
    )


def work_of(setup: Setup) -> Work:
    """The work of one step of `setup.model` in `setup.weights` with the launch's KV cache types."""
    launch = setup.launch
    sparse = launch.engine in SPARSE_ENGINES
    return _work(setup.model, setup.weights, launch.kv_type_k, launch.kv_type_v, sparse=sparse)


@lru_cache(maxsize=1024)
def _work(model: ModelSpec, weights: WeightBytes, type_k: str, type_v: str, *, sparse: bool) -> Work:
    """What a grid of contexts, users and cards asks over and over."""
    kv, kv_window = _kv_per_token(model, type_k, type_v)
    full_dim = model.global_head_dim
    attention = model.layers_full * 2 * FLOP_PER_MAC * model.n_heads * (full_dim or model.head_dim_k)
    if model.layers_mla:
        latent = (model.kv_lora_rank or 0) + (model.qk_rope_head_dim or 0)
        # Absorbed MLA attends in the latent space: scores over latent, values over kv_lora_rank.
        attention += model.layers_mla * FLOP_PER_MAC * model.n_heads * (latent + (model.kv_lora_rank or 0))
    ffn_layers = model.layers_mlp_only or model.n_layers
    counts = parameter_counts(model)
    head = counts.token_embd if counts.tied else counts.output
    used = model.n_experts_used / model.n_experts if model.n_experts else 0.0
    active = counts.active(model.n_experts_used, model.n_experts)
    return Work(
        dense=weights.dense,
        output=weights.output,
        experts=weights.experts,
        n_experts=model.n_experts,
        n_experts_used=model.n_experts_used,
        kv_per_token=kv,
        kv_window_per_token=kv_window,
        window=model.sliding_window or 0,
        state=state_bytes(model, 1, 0),
        scan_flop=_scan_flop(model),
        body_flop=FLOP_PER_MAC * (active - head - counts.routed_experts * used),
        expert_flop=FLOP_PER_MAC * counts.routed_experts * used,
        output_flop=FLOP_PER_MAC * head,
        attention_flop_per_position=attention,
        window_flop_per_position=model.layers_sliding * 2 * FLOP_PER_MAC * model.n_heads * model.head_dim_k,
        blocks=(model.n_layers - model.layers_mlp_only + ffn_layers) / 2,
        recurrent_layers=model.layers_linear + model.layers_mamba2,
        moe_layers=max(ffn_layers - model.n_dense_layers, 0) if model.is_moe else 0,
        hidden_size=model.hidden_size,
        heads=model.n_heads * (model.layers_full + model.layers_mla),
        selected=SELECTED_TOKENS.get(model.architecture, 0) if sparse else 0,
    )
