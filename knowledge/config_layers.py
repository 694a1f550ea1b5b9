"""What mixes tokens in each layer of a model, as its config.json words it.

It owns the many ways to write a pattern of layers; their dimensions are `knowledge.model_config`'s business.
A word or a pattern that is not known is refused.
"""

from __future__ import annotations

from knowledge.config_json import Config
from knowledge.gguf_attention import PERIODS, WINDOW_UNUSED, windowed_by_period

_WORDS = {
    "full_attention": "full", "attention": "full", "global_attention": "full",
    "sliding_attention": "sliding", "chunked_attention": "sliding", "local_attention": "sliding",
    "linear_attention": "linear", "mamba": "mamba", "mamba2": "mamba",
    "conv": "conv", "short_conv": "conv", "moe": "mlp", "mlp": "mlp", "hybrid": "both",
    "M": "mamba", "*": "full", "-": "mlp", "E": "mlp",  # Nemotron-H
}  # fmt: skip
_UNLIKE_ANY = frozenset({"DeepseekV4ForCausalLM", "KimiK3ForConditionalGeneration", "MiniMaxM3ForCausalLM"})
"""Attention over compressed or selected tokens, whose cache the fields read here do not give."""


def layer_kinds(config: Config, llama_arch: str, n_layers: int) -> list[str]:
    """The kind of every layer: full, sliding, linear, mamba, both, mla, conv or mlp.

    Raises:
        UnsupportedError: a word, a pattern or an architecture that is not known.
        ModelFileError: a pattern of the wrong length or type.
    """
    if config.architecture in _UNLIKE_ANY:
        raise config.missing(f"the attention of {config.architecture} cannot be read from it")
    attention = "mla" if config.maybe("kv_lora_rank") else "full"
    kinds = _spelled_out(config, n_layers) or _by_number(config, n_layers) or _by_window(config, llama_arch)
    if kinds is None:
        both = config.maybe("mamba_n_heads") and config.architecture.startswith("FalconH1")
        kinds = ["both" if both else "full"] * n_layers
    if kinds == ["windowed"]:
        kinds = _windowed(config, llama_arch, n_layers)
    if attention == "mla" and {"sliding", "both"} & set(kinds):
        raise config.missing("latent attention beside windowed layers is not supported")
    return [attention if kind == "full" else kind for kind in kinds]


def _spelled_out(config: Config, n_layers: int) -> list[str] | None:
    """One word or letter per layer."""
    for key in ("layer_types", "layers_block_type", "hybrid_override_pattern"):
        words = config.per_layer(key, n_layers)
        if words is not None:
            unknown = [word for word in words if not isinstance(word, str) or word not in _WORDS]
            if unknown:
                raise config.missing(f"{key} has layers of the unknown kind {str(unknown[0])[:40]!r}")
            return [_WORDS[word] for word in words]
    return None


def _by_number(config: Config, n_layers: int) -> list[str] | None:
    """Lists of layer numbers, a 0 or 1 per layer, or one layer in so many."""
    if (kda := config.nested("linear_attn_config")) is not None:
        numbers = kda.items("kda_layers") or ()  # counted from 1
        return ["linear" if index + 1 in numbers else "full" for index in range(n_layers)]
    if (full := config.items("full_attn_idxs")) is not None:
        return ["full" if index in full else "conv" for index in range(n_layers)]
    if (flags := config.per_layer("hybrid_layer_pattern", n_layers)) is not None:
        return ["sliding" if flag else "full" for flag in flags]
    if config.maybe("linear_num_value_heads"):
        interval = config.count("full_attention_interval")
        return ["linear" if (index + 1) % interval else "full" for index in range(n_layers)]
    return None


def _by_window(config: Config, llama_arch: str) -> list[str] | None:
    """That some layers are windowed, to be told by a period; None where no window is applied."""
    window = config.maybe("sliding_window", "attention_chunk_size")
    off = config.values.get("use_sliding_window") is False or llama_arch in WINDOW_UNUSED
    return None if not window or off else ["windowed"]


def _windowed(config: Config, llama_arch: str, n_layers: int) -> list[str]:
    pattern = config.values.get("sliding_window_pattern")
    if isinstance(pattern, str) and pattern and set(pattern) <= {"L", "G"}:
        return ["sliding" if pattern[i % len(pattern)] == "L" else "full" for i in range(n_layers)]
    period, dense_first = PERIODS.get(llama_arch, (0, False))
    period = config.maybe("sliding_window_pattern", "_sliding_window_pattern") or period
    if not period:
        raise config.missing("layer_types is missing: which layers are windowed is not known")
    flags = windowed_by_period(n_layers, period, dense_first=dense_first)
    return ["sliding" if flag else "full" for flag in flags]
