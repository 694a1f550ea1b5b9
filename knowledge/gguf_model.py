"""A model's shape from a GGUF header: what its metadata states, and what its tensors show.

The tensors are the truth for what each layer is; the metadata gives the numbers that no tensor shows. What
neither says is refused, never assumed. It reads no files and knows no catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from knowledge.errors import ModelFileError
from knowledge.gguf_attention import gguf_attention
from knowledge.gguf_header import GgufHeader, GgufTensor
from knowledge.gguf_metadata import Shape, Stated
from knowledge.tensor_parts import Parts, gguf_layer, gguf_part, sum_parts

_NOT_CHAT = frozenset({
    "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "t5",
    "t5encoder", "gemma-embedding", "wavtokenizer-dec", "llama-embed", "eagle3", "dflash",
    "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7", "mamba", "jamba", "dream", "llada", "llada-moe",
})  # fmt: skip
"""Encoders, drafts, diffusion models and recurrent kinds whose state is not accounted for here."""


FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip
"""llama.cpp's formats by the number that `general.file_type` has (llama_ftype)."""


def is_projector(header: GgufHeader) -> bool:
    """Whether the file is a vision projector (mmproj), which no engine launches alone."""
    return header.metadata.get("general.architecture") in {"clip", "mmproj"}


def gguf_shape(header: GgufHeader) -> tuple[Shape, Parts]:
    """The shape, and the exact bytes and elements of each part. `header` has the tensors of all splits.

    Raises:
        ModelFileError: the file contradicts itself or lacks a part.
        UnsupportedError: an architecture, or a kind of layer, that cannot be computed.
    """
    if is_projector(header):
        raise ModelFileError(f"{header.name} is a vision projector, no model", "name the model's own file")
    stated = Stated(header)
    if stated.arch in _NOT_CHAT:
        raise stated.missing(f"the architecture {stated.arch!r} is not supported")
    layers = _by_layer(header.tensors)
    n_layers, drafts = _depth(stated, layers)
    kinds = [_kind(stated, index, set(layers.get(index, ()))) for index in range(n_layers)]
    tensors = {tensor.name: tensor for tensor in header.tensors}
    if "token_embd.weight" not in tensors or len(tensors["token_embd.weight"].dims) != 2:
        raise ModelFileError(f"{header.name} has no token embeddings: it is no complete model")
    parts = sum_parts((gguf_part(t.name, n_layers), t.size, t.elements) for t in header.tensors)
    shape: Shape = {
        "llama_arch": stated.arch,
        "n_layers": n_layers,
        "layers_linear": kinds.count("linear"),
        "layers_mamba2": kinds.count("mamba"),
        "layers_mla": kinds.count("mla"),
        "layers_conv": kinds.count("conv"),
        "layers_mlp_only": kinds.count("mlp"),
        "hidden_size": stated.count("embedding_length"),
        "vocab_size": tensors["token_embd.weight"].dims[1],
        "max_context": stated.maybe("context_length") or 0,
        "has_mtp": drafts,
    }
    shape |= gguf_attention(stated, kinds)
    shape |= _recurrent(stated, kinds)
    shape |= _feed_forward(stated, layers, n_layers)
    return shape, parts


def _by_layer(tensors: Iterable[GgufTensor]) -> dict[int, dict[str, GgufTensor]]:
    """The tensors of every layer by what follows `blk.N.`."""
    layers: dict[int, dict[str, GgufTensor]] = {}
    for tensor in tensors:
        index = gguf_layer(tensor.name)
        if index is not None:
            layers.setdefault(index, {})[tensor.name.split(".", 2)[2]] = tensor
    return layers


def _depth(stated: Stated, layers: dict[int, dict[str, GgufTensor]]) -> tuple[int, bool]:
    """Layers of the stack without draft layers, and whether the draft layers are there."""
    stack, drafts = stated.count("block_count"), stated.maybe("nextn_predict_layers") or 0
    if stack > len(layers) + drafts:
        raise ModelFileError(
            f"{stated.header.name} has {len(layers)} of {stack} layers", "is a part of the file missing?"
        )
    names = {index: tuple(found) for index, found in layers.items()}
    has_drafts = any(name.startswith("nextn.") for found in names.values() for name in found)
    for index in range(stack - 1, max(stack - 1 - drafts, 0), -1):
        # the count includes draft layers where their place is empty or holds one
        if index in names and not any(name.startswith("nextn.") for name in names[index]):
            break
        stack = index
    return stack, has_drafts


def _kind(stated: Stated, index: int, names: set[str]) -> str:
    """What mixes tokens in a layer: full, linear, mamba, both, mla, conv, or nothing (mlp)."""
    if not names:
        raise ModelFileError(
            f"{stated.header.name}: layer {index} has no tensors", "is a part of the file missing?"
        )
    if any(name.startswith(("time_mix", "ssm_x.")) for name in names):
        raise stated.missing(f"layer {index} is of a recurrent kind that is not supported")
    if any(
        name.startswith(("ssm_ba.", "ssm_beta", "ssm_alpha", "ssm_f_a", "ssm_conv1d_q")) for name in names
    ):
        return "linear"
    if any(name.startswith("attn_kv_a_mqa.") for name in names):
        return "mla"
    attends = any(name.startswith(("attn_k.", "attn_qkv.", "attn_q.")) for name in names)
    if any(name.startswith("ssm_in.") for name in names):
        return "both" if attends else "mamba"
    if any(name.startswith("shortconv.") for name in names):
        return "conv"
    if attends:
        return "full"
    if any(name.startswith("ffn_") for name in names):
        return "mlp"
    raise stated.missing(f"layer {index} is of an unknown kind")


def _recurrent(stated: Stated, kinds: Sequence[str]) -> Shape:
    """Dimensions of linear-attention and Mamba layers."""
    shape: Shape = {}
    if "linear" in kinds and (head := stated.maybe("kda.head_dim")):
        n_heads = stated.count("attention.head_count")
        shape |= {
            "linear_num_value_heads": n_heads,
            "linear_num_key_heads": n_heads,
            "linear_key_head_dim": head,
            "linear_value_head_dim": head,
            "linear_conv_kernel_dim": stated.count("ssm.conv_kernel"),
        }
    elif "linear" in kinds:
        n_heads = stated.count("ssm.time_step_rank")
        shape |= {
            "linear_num_value_heads": n_heads,
            "linear_num_key_heads": stated.count("ssm.group_count"),
            "linear_key_head_dim": stated.count("ssm.state_size"),
            "linear_value_head_dim": stated.count("ssm.inner_size") // n_heads,
            "linear_conv_kernel_dim": stated.count("ssm.conv_kernel"),
        }
    if "mamba" in kinds or "both" in kinds:
        n_heads = stated.count("ssm.time_step_rank")
        shape |= {
            "ssm_num_heads": n_heads,
            "ssm_head_dim": stated.count("ssm.inner_size") // n_heads,
            "ssm_state_size": stated.count("ssm.state_size"),
            "ssm_groups": stated.maybe("ssm.group_count") or 1,
            "ssm_conv_kernel": stated.count("ssm.conv_kernel"),
        }
    return shape


def _feed_forward(stated: Stated, layers: dict[int, dict[str, GgufTensor]], n_layers: int) -> Shape:
    """Widths of dense, routed and shared feed-forwards, as their tensors show them."""

    def rows(names: Sequence[str], of: Callable[[int], bool] = lambda _: True) -> int:
        """The widest row of these down projections: rows run over the block's inner width."""
        found = (layers[index].get(name) for index in range(n_layers) for name in names if of(index))
        return max((tensor.dims[0] for tensor in found if tensor is not None), default=0)

    routed = [index for index in range(n_layers) if "ffn_down_exps.weight" in layers[index]]
    experts = stated.maybe("expert_count") or 0
    dense = rows(("ffn_down.weight",)) or stated.maybe("feed_forward_length")
    if not routed:
        if experts and "ffn_down.0.weight" in layers[0]:
            raise stated.missing("it has one tensor per expert, as files of early 2024 had")
        return {"intermediate_size": dense, "n_dense_layers": n_layers}
    used = stated.count("expert_used_count")
    if not 0 < used <= experts:
        raise stated.missing(f"{used} of {experts} experts are used")
    shared = rows(("ffn_down_shexp.weight",))
    return {
        "intermediate_size": dense or None,
        "moe_intermediate_size": rows(("ffn_down_exps.weight",)),
        "shared_expert_intermediate_size": shared or None,
        "n_experts": experts,
        "n_experts_used": used,
        "n_shared_experts": (stated.maybe("expert_shared_count") or 1) if shared else 0,
        "n_dense_layers": sum(
            "ffn_down.weight" in layers[index] and index not in set(routed) for index in range(n_layers)
        ),
    }
