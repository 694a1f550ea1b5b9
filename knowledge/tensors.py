"""Parameters of a model by the class of tensor they belong to, from its shape.

The classes are those that quantizers and decoders treat differently. It knows no formats and no bytes
(`knowledge.weights`), and nothing of the cache. Vision towers and draft (MTP) layers are not counted:
`ModelSpec.total_params_b` leaves them out as well.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache

from knowledge.schema import ModelSpec

_UNGATED_FFN = ("nemotron_h", "nemotron_h_moe")
"""Squared-ReLU feed-forward: two matrices instead of three."""
_GATED_QUERY = ("qwen35", "qwen35moe", "qwen3next", "qwen4exp")
"""Full attention carries an output gate as wide as its queries (Qwen3-Next and later)."""
_PLE_WIDTH = 256
"""Gemma E2B/E4B: per-layer embedding of 256 per layer and token (google/gemma-3n technical notes)."""


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """Parameters by class; `total` equals the model's stated parameters.

    `output` is 0 where the head is tied to `token_embd` (`tied`). `routed_experts` counts all experts of all
    layers; `norms` holds what stays in 32-bit floats (norms, biases, convolutions, decay rates).
    """

    token_embd: float
    output: float
    attention: float
    mixers: float
    dense_ffn: float
    shared_experts: float
    routed_experts: float
    routers: float
    norms: float
    per_layer_embedding: float
    other: float
    tied: bool

    @property
    def total(self) -> float:
        """Sum over the classes, in parameters."""
        return float(sum(getattr(self, field.name) for field in fields(self) if field.name != "tied"))

    def active(self, experts_used: int, n_experts: int) -> float:
        """Parameters that one decoded token multiplies: no lookups, the head once, `experts_used` experts."""
        head = self.token_embd if self.tied else self.output
        looked_up = self.token_embd + self.output + self.per_layer_embedding
        idle = self.routed_experts * (1 - experts_used / n_experts) if n_experts else 0.0
        return self.total - looked_up + head - idle


def _attention(model: ModelSpec) -> float:
    """Softmax attention of all layers: q, k, v and output projections, or the MLA factors."""
    hidden, heads = model.hidden_size, model.n_heads
    gate = 2 if model.llama_arch in _GATED_QUERY else 1

    def layer(n_kv: int, head_k: int, head_v: int, *, own_kv: bool = True) -> float:
        queries = gate * heads * head_k + heads * head_v
        return hidden * (queries + (n_kv * (head_k + head_v) if own_kv else 0))

    local_kv = model.swa_n_kv_heads or model.n_kv_heads
    wide = model.global_head_dim
    full = layer(
        model.global_n_kv_heads or model.n_kv_heads, wide or model.head_dim_k, wide or model.head_dim_v
    )
    if model.global_n_kv_heads and wide:
        # Gemma 4 above E4B: global layers use the keys as values, so there is no v projection.
        full -= hidden * model.global_n_kv_heads * wide
    sliding = layer(local_kv, model.head_dim_k, model.head_dim_v)
    count = model.layers_full * full + model.layers_sliding * sliding
    if model.layers_full + model.layers_sliding > model.n_layers:  # both kinds of cache in one layer
        count *= model.n_layers / (model.layers_full + model.layers_sliding)

    rope, nope = model.qk_rope_head_dim or 0, model.qk_nope_head_dim or 0
    latent, q_rank = model.kv_lora_rank or 0, model.q_lora_rank or 0
    q_width = heads * (nope + rope)
    queries = hidden * q_rank + q_rank * q_width if q_rank else hidden * q_width
    mla = queries + hidden * (latent + rope) + latent * heads * (nope + model.head_dim_v)
    mla += heads * model.head_dim_v * hidden
    return count + model.layers_mla * mla


def _mixers(model: ModelSpec) -> tuple[float, float]:
    """Recurrent and convolutional token mixers of all layers: (matrices, small 32-bit tensors)."""
    hidden = model.hidden_size
    matrices = small = 0.0
    if model.layers_linear:
        n_value = model.linear_num_value_heads or 0
        key = (model.linear_num_key_heads or 0) * (model.linear_key_head_dim or 0)
        value = n_value * (model.linear_value_head_dim or 0)
        if model.architecture.startswith("Kimi"):  # Kimi Delta Attention: low-rank gates
            rank = model.linear_value_head_dim or 0
            gates = 2 * rank * (hidden + value) + hidden * n_value
        else:
            gates = hidden * (value + 2 * n_value)
        matrices += model.layers_linear * (hidden * (2 * key + value) + gates + value * hidden)
        small += model.layers_linear * (2 * key + value) * (model.linear_conv_kernel_dim or 0)
    # Falcon-H1 runs Mamba beside the attention of every layer, so its stack lists no Mamba layers.
    mamba_layers = model.layers_mamba2 or (model.n_layers if model.ssm_num_heads else 0)
    if mamba_layers:
        heads = model.ssm_num_heads or 0
        inner = heads * (model.ssm_head_dim or 0)
        states = 2 * (model.ssm_groups or 1) * (model.ssm_state_size or 0)
        matrices += mamba_layers * hidden * (2 * inner + states + heads + inner)
        small += mamba_layers * ((inner + states) * ((model.ssm_conv_kernel or 0) + 1) + inner + 3 * heads)
    if model.layers_conv:
        matrices += model.layers_conv * 4 * hidden * hidden
        small += model.layers_conv * 3 * hidden
    return matrices, small


def _routed_by_activity(model: ModelSpec) -> float:
    """Routed experts of all layers from what one token leaves idle: (total − active − lookup) ÷ its share."""
    lookup = 0 if model.tie_embeddings else model.vocab_size * model.hidden_size
    idle = (model.total_params_b - model.active_params_b) * 1e9 - lookup
    return max(0.0, idle / (1 - model.n_experts_used / model.n_experts))


def ffn_matrices(model: ModelSpec) -> int:
    """Matrices of one feed-forward block or expert: gate, up and down, or up and down alone."""
    return 2 if model.llama_arch in _UNGATED_FFN else 3


@lru_cache(maxsize=512)
def parameter_counts(model: ModelSpec) -> ParameterCounts:
    """Parameters by class; the sum is `total_params_b` exactly.

    What the shape does not explain goes to `other`. Where the shape says more than there is, or where a
    mixture of experts is more than 2 % away from its stated active parameters (latent experts, projections
    the catalog cannot express), the stated total and active parameters settle how much is routed, and the
    remaining matrices share what is left.
    """
    counts = _by_shape(model)
    total = model.total_params_b * 1e9
    if model.is_moe and model.n_experts_used < model.n_experts:
        active = replace(counts, other=max(0.0, total - counts.total)).active(
            model.n_experts_used, model.n_experts
        )
        if counts.total > 1.005 * total or abs(active / (model.active_params_b * 1e9) - 1) > 0.02:
            counts = replace(counts, routed_experts=_routed_by_activity(model))
            return _shrink(counts, total, ("attention", "mixers", "dense_ffn", "shared_experts"))
    return _shrink(counts, total, (*_MATRICES, "routed_experts", "per_layer_embedding"))


_MATRICES = ("attention", "mixers", "dense_ffn", "shared_experts")


def _by_shape(model: ModelSpec) -> ParameterCounts:
    """What the shape alone says; `other` is 0 and the total may be off."""
    hidden = model.hidden_size
    matrices = ffn_matrices(model)
    ffn_layers = model.layers_mlp_only or model.n_layers
    moe_layers = max(0, ffn_layers - model.n_dense_layers) if model.is_moe else 0
    shared_width = model.shared_expert_intermediate_size if model.n_shared_experts else 0
    if model.llama_arch == "gemma4" and model.is_moe:
        shared_width = model.intermediate_size  # every layer has a dense feed-forward beside its experts
    mixers, small = _mixers(model)
    has_ple = model.n_kv_shared_layers > 0
    return ParameterCounts(
        token_embd=model.vocab_size * hidden,
        output=0 if model.tie_embeddings else model.vocab_size * hidden,
        attention=_attention(model),
        mixers=mixers,
        dense_ffn=(ffn_layers - moe_layers) * matrices * hidden * (model.intermediate_size or 0),
        shared_experts=moe_layers * matrices * hidden * (shared_width or 0),
        routed_experts=moe_layers * model.n_experts * matrices * hidden * (model.moe_intermediate_size or 0),
        routers=moe_layers * hidden * model.n_experts,
        norms=(2 * model.n_layers + 1) * hidden + small,
        per_layer_embedding=model.vocab_size * model.n_layers * _PLE_WIDTH if has_ple else 0,
        other=0,
        tied=model.tie_embeddings,
    )


def _shrink(counts: ParameterCounts, total: float, names: tuple[str, ...]) -> ParameterCounts:
    """`counts` brought to `total`: a shortage becomes `other`, an excess comes off the named classes."""
    excess = counts.total - total
    if excess <= 0:
        return replace(counts, other=-excess)
    body = sum(getattr(counts, name) for name in names)
    if body < excess:  # not even what lies outside the named classes fits: only the total can be trusted
        names = tuple(field.name for field in fields(counts) if field.name != "tied")
        body = counts.total
    return replace(counts, **{name: getattr(counts, name) * (1 - excess / body) for name in names})
