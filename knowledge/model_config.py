"""A model's shape from its config.json, for the architectures whose files are understood.

It owns the many names of one dimension. It reads no files and no tensors: parameters and bytes come from the
safetensors headers, kinds of layers from `knowledge.config_layers`.
"""

from __future__ import annotations

from collections.abc import Sequence

from knowledge.config_json import MOST_LAYERS, Config
from knowledge.config_layers import layer_kinds
from knowledge.gguf_metadata import Shape

_EXPERTS = (
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "moe_num_experts",
    "num_moe_experts",
)
_USED = (
    "num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_k", "moe_topk", "moe_top_k",
    "num_selected_experts", "top_k_experts",
)  # fmt: skip
_WIDTH_OF_ALL = ("GptOss", "Mixtral", "Phimoe", "Llama4", "GraniteMoe", "MiniMaxM2", "HunYuanMoE")
"""Architectures whose experts have the width that elsewhere is the dense feed-forward's."""


def config_shape(config: Config, llama_arch: str) -> Shape:
    """The fields of `ModelSpec` that the file states.

    Raises:
        ModelFileError: a value of the wrong type or size.
        UnsupportedError: a value that is missing, or a kind of layer that is not known.
    """
    n_layers = config.count("num_hidden_layers", "n_layer", "num_layers", "n_layers")
    if n_layers > MOST_LAYERS:
        raise config.damaged("num_hidden_layers", n_layers)
    kinds = layer_kinds(config, llama_arch, n_layers)
    drafts = config.maybe("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules")
    shape: Shape = {
        "architecture": config.architecture,
        "llama_arch": llama_arch,
        "n_layers": n_layers,
        "layers_full": kinds.count("full") + kinds.count("both"),
        "layers_sliding": kinds.count("sliding"),
        "layers_linear": kinds.count("linear"),
        "layers_mamba2": kinds.count("mamba"),
        "layers_mla": kinds.count("mla"),
        "layers_conv": kinds.count("conv"),
        "layers_mlp_only": kinds.count("mlp"),
        "hidden_size": config.count("hidden_size", "n_embd", "d_model"),
        "vocab_size": config.count("vocab_size"),
        "max_context": config.maybe("max_position_embeddings", "n_positions", "seq_length") or 0,
        "multimodal": config.multimodal,
        "has_mtp": bool(drafts),
    }
    return shape | _attention(config, kinds) | _recurrent(config, kinds) | _feed_forward(config, n_layers)


def _attention(config: Config, kinds: Sequence[str]) -> Shape:
    """Heads and widths; of latent attention what is cached, too."""
    heads = config.maybe("num_attention_heads", "n_head", "num_heads")
    if not {"full", "sliding", "both", "mla"} & set(kinds):
        return {"n_heads": heads or 0}
    if not heads:
        raise config.missing("num_attention_heads is missing")
    if "mla" in kinds:
        nope, rope = config.count("qk_nope_head_dim"), config.count("qk_rope_head_dim")
        return {
            "n_heads": heads,
            "n_kv_heads": heads,
            "head_dim_k": nope + rope,
            "head_dim_v": config.count("v_head_dim"),
            "kv_lora_rank": config.count("kv_lora_rank"),
            "q_lora_rank": config.maybe("q_lora_rank"),
            "qk_nope_head_dim": nope,
            "qk_rope_head_dim": rope,
        }
    width = config.maybe("head_dim", "attention_head_dim")
    if not width:
        hidden = config.count("hidden_size", "n_embd", "d_model")
        if hidden % heads:
            raise config.missing("head_dim is missing, and its heads do not divide the hidden size")
        width = hidden // heads
    kv_heads = config.maybe("num_key_value_heads", "num_kv_heads", "multi_query_group_num", "n_head_kv")
    both = "full" in kinds and "sliding" in kinds
    # gemma 4 keeps fewer, wider heads in full layers; MiMo more heads in windowed ones
    wide, wide_heads = config.maybe("global_head_dim"), config.maybe("num_global_key_value_heads")
    swa_heads = config.maybe("swa_num_key_value_heads")
    return {
        "n_heads": heads,
        "n_kv_heads": kv_heads or heads,
        "head_dim_k": width,
        "head_dim_v": config.maybe("v_head_dim") or width,
        "global_head_dim": wide if both and wide != width else None,
        "global_n_kv_heads": wide_heads if both and wide_heads != kv_heads else None,
        "swa_n_kv_heads": swa_heads if both and swa_heads != kv_heads else None,
        "n_kv_shared_layers": config.maybe("num_kv_shared_layers") or 0,
        "sliding_window": config.count("sliding_window", "attention_chunk_size")
        if "sliding" in kinds
        else None,
    }


def _recurrent(config: Config, kinds: Sequence[str]) -> Shape:
    """Dimensions of linear-attention and Mamba layers."""
    shape: Shape = {}
    kda = config.nested("linear_attn_config")
    if "linear" in kinds and kda is not None:
        heads, width = kda.count("num_heads"), kda.count("head_dim")
        shape |= {
            "linear_num_value_heads": heads,
            "linear_num_key_heads": heads,
            "linear_key_head_dim": width,
            "linear_value_head_dim": width,
            "linear_conv_kernel_dim": kda.count("short_conv_kernel_size"),
        }
    elif "linear" in kinds:
        names = (
            "linear_num_value_heads",
            "linear_num_key_heads",
            "linear_key_head_dim",
            "linear_value_head_dim",
            "linear_conv_kernel_dim",
        )
        shape |= {name: config.count(name) for name in names}
    if "mamba" in kinds or "both" in kinds:
        heads = config.count("mamba_num_heads", "mamba_n_heads")
        if config.values.get("mamba_d_head") == "auto":
            width = config.count("mamba_expand") * config.count("hidden_size") // heads
        else:
            width = config.count("mamba_head_dim", "mamba_d_head")
        shape |= {
            "ssm_num_heads": heads,
            "ssm_head_dim": width,
            "ssm_state_size": config.count("ssm_state_size", "mamba_d_state"),
            "ssm_groups": config.maybe("n_groups", "mamba_n_groups") or 1,
            "ssm_conv_kernel": config.count("conv_kernel", "mamba_d_conv"),
        }
    return shape


def _feed_forward(config: Config, n_layers: int) -> Shape:
    """Widths of dense, routed and shared feed-forwards."""
    dense = config.maybe("intermediate_size", "ffn_hidden_size", "n_inner")
    experts = config.maybe(*_EXPERTS)
    if not experts or config.values.get("enable_moe_block") is False:
        return {"intermediate_size": dense, "n_dense_layers": n_layers}
    used = config.count(*_USED)
    if used > experts:
        raise config.damaged(_USED[0], used)
    width = config.maybe("moe_intermediate_size", "expert_ffn_hidden_size", "moe_ffn_hidden_size")
    if not width:
        if not config.architecture.startswith(_WIDTH_OF_ALL):
            raise config.missing("moe_intermediate_size is missing")
        width = config.count("intermediate_size")
    shared, shared_width = _shared(config, width)
    return {
        "intermediate_size": dense,
        "moe_intermediate_size": width,
        "shared_expert_intermediate_size": shared_width if shared else None,
        "n_experts": experts,
        "n_experts_used": used,
        "n_shared_experts": shared,
        "n_dense_layers": _dense_layers(config, n_layers),
    }


def _shared(config: Config, width: int) -> tuple[int, int]:
    """How many experts every token passes through, and how wide they are together."""
    if config.architecture.startswith("Llama4"):
        return 1, config.count("intermediate_size")
    own = config.maybe(
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "share_expert_dim",
    )
    count = config.maybe(
        "n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert"
    )
    if own:
        return count or 1, own
    return count or 0, (count or 0) * width


def _dense_layers(config: Config, n_layers: int) -> int:
    """Layers of a mixture whose feed-forward is dense; layers that have none are not among them."""
    if (kinds := config.per_layer("mlp_layer_types", n_layers)) is not None:
        return sum(kind == "dense" for kind in kinds)
    if isinstance(config.values.get("moe_layer_freq"), list):
        return sum(not routed for routed in config.per_layer("moe_layer_freq", n_layers) or ())
    if isinstance(routed := config.values.get("moe_layers_enum"), str):  # "3,4,5": Step
        return max(n_layers - len(routed.split(",")), 0)
    if (step := config.maybe("interleave_moe_layer_step")) is not None and step > 1:
        return n_layers - n_layers // step
    listed = config.items("mlp_only_layers") or ()
    first = config.maybe(
        "first_k_dense_replace", "num_dense_layers", "moe_layer_start_index", "moe_first_k_dense"
    )
    return max(len(set(map(str, listed))), first or 0)
