"""The attention layers of a GGUF model: how many look back how far, and how wide they are.

It owns what llama.cpp's loaders know and files leave out (which layers are windowed). It refuses what cannot
be told, and knows nothing of feed-forwards or recurrent layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from knowledge.gguf_metadata import Shape, Stated

PERIODS = {
    "gemma2": (2, False), "gemma3": (6, False), "gemma3n": (5, False), "gpt-oss": (2, False),
    "cohere2": (4, False), "cohere2moe": (4, False), "llama4": (4, False), "olmo2": (4, False),
    "exaone4": (4, False), "afmoe": (4, False), "muse-glimmer": (4, False), "laguna": (4, True),
    "smallthinker": (4, True),
}  # fmt: skip
"""Where the file does not say which layers are windowed: one layer in so many is not, the first of them or
the last (llama.cpp's loaders state the same)."""
WINDOW_UNUSED = frozenset({
    "llama", "mistral3", "mistral4", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "phi3", "phimoe", "starcoder2",
    "minimax-m2",
})  # fmt: skip
"""Architectures whose files may state a window that llama.cpp does not apply."""
_LLAMA4_WINDOW = 8192


def _windowed(stated: Stated, n_layers: int, window: int) -> list[bool]:
    """Which layers look back a window only."""
    key = f"{stated.arch}.attention.sliding_window_pattern"
    pattern = stated.header.metadata.get(key)
    if not window or stated.arch in WINDOW_UNUSED:
        return [False] * n_layers
    if isinstance(pattern, tuple):
        return [bool(flag) for flag in stated.by_layer("attention.sliding_window_pattern", n_layers) or ()]
    period, dense_first = PERIODS.get(stated.arch, (0, False))
    period = stated.maybe("attention.sliding_window_pattern") or period
    if not period:
        raise stated.missing(f"{key} is missing: which layers have the window of {window} is not known")
    return windowed_by_period(n_layers, period, dense_first=dense_first)


def windowed_by_period(n_layers: int, period: int, *, dense_first: bool) -> list[bool]:
    """Which layers are windowed, where one in `period` is not: the first of them, or the last."""
    full = 0 if dense_first else period - 1
    return [index % period != full for index in range(n_layers)]


def gguf_attention(stated: Stated, kinds: Sequence[str]) -> Shape:
    """Layers and dimensions of attention; `kinds` says what mixes tokens in each layer of the stack.

    Raises:
        UnsupportedError: something the file does not say, or layers of one kind that differ.
    """
    n_layers = len(kinds)
    heads = stated.by_layer("attention.head_count", n_layers)
    kv_heads = stated.by_layer("attention.head_count_kv", n_layers) or heads
    attending = [index for index, kind in enumerate(kinds) if kind in {"full", "both"}]
    if "mla" in kinds:
        return _latent(stated) | {"layers_full": len(attending)}
    if not attending:
        return {"n_heads": max(heads or [0])}
    if heads is None or kv_heads is None or not max(heads[index] for index in attending):
        raise stated.missing(f"{stated.arch}.attention.head_count is missing")
    n_heads = max(heads[index] for index in attending)  # where they differ, only keys and values are cached
    window = stated.maybe("attention.sliding_window") or 0
    if stated.arch == "llama4" and stated.maybe("attention.sliding_window") is None:
        window = _LLAMA4_WINDOW
    windowed = _windowed(stated, n_layers, window)
    full = [index for index in attending if not windowed[index]]
    sliding = [index for index in attending if windowed[index]]
    own = stated.count("embedding_length") // n_heads
    key, value = (stated.maybe(f"attention.{side}_length") or own for side in ("key", "value"))
    swa_key, swa_value = (
        stated.maybe(f"attention.{side}_length_swa") or wide
        for side, wide in (("key", key), ("value", value))
    )
    shape: Shape = {
        "layers_full": len(full),
        "layers_sliding": len(sliding),
        "sliding_window": window if sliding else None,
        "n_heads": n_heads,
        "head_dim_k": swa_key if sliding else key,
        "head_dim_v": swa_value if sliding else value,
        "n_kv_shared_layers": stated.maybe("attention.shared_kv_layers") or 0,
    }
    wide = bool(full and sliding and (key, value) != (swa_key, swa_value))
    if wide and key != value:
        raise stated.missing(
            "its full layers have keys and values of different widths than its windowed ones"
        )
    full_kv, sliding_kv = _one(stated, kv_heads, full), _one(stated, kv_heads, sliding)
    shape["global_head_dim"] = key if wide else None
    if full_kv and sliding_kv and full_kv != sliding_kv:
        if wide:
            return shape | {"n_kv_heads": sliding_kv, "global_n_kv_heads": full_kv}
        return shape | {"n_kv_heads": full_kv, "swa_n_kv_heads": sliding_kv}
    return shape | {"n_kv_heads": full_kv or sliding_kv}


def _one(stated: Stated, values: Sequence[int], indices: Sequence[int]) -> int:
    """The one number that all these layers have; 0 where there are no layers."""
    found = {values[index] for index in indices}
    if len(found) > 1 or 0 in found:
        text = ", ".join(map(str, sorted(found)[:5]))
        raise stated.missing(f"layers of one kind have different numbers of KV heads ({text})")
    return found.pop() if found else 0


def _latent(stated: Stated) -> Shape:
    """Dimensions of multi-head latent attention; old and new files word them differently."""
    heads, rope = stated.count("attention.head_count"), stated.count("rope.dimension_count")
    key = stated.maybe("attention.key_length_mla") or stated.count("attention.key_length")
    value = stated.maybe("attention.value_length_mla") or stated.count("attention.value_length")
    if key <= rope:
        raise stated.missing(f"{stated.arch}.attention.key_length is {key}, no more than the rotated part")
    return {
        "n_heads": heads,
        "n_kv_heads": heads,
        "head_dim_k": key,
        "head_dim_v": value,
        "kv_lora_rank": stated.count("attention.kv_lora_rank"),
        "q_lora_rank": stated.maybe("attention.q_lora_rank") or None,
        "qk_nope_head_dim": key - rope,
        "qk_rope_head_dim": rope,
    }
