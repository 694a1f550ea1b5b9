"""How llama.cpp builds the graph of each architecture, as far as it decides which tensors live together.

It knows which operations the layers of an architecture have, read off llama.cpp's own graphs; how wide their
tensors are is `layers`' business, and what they add up to is `compute`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from knowledge.errors import UnsupportedError
from knowledge.schema import ModelSpec


@dataclass(frozen=True, slots=True)
class Graph:
    """What distinguishes an architecture's layers from those of a plain transformer."""

    gate: Literal["", "heads", "full", "joint"] = ""
    """What multiplies the attention output: one number per head, a vector as wide as the queries, or one that
    is computed together with the queries."""
    ffn: Literal["gated", "fused", "plain"] = "gated"
    """`fused`: gate and up are one matrix; `plain`: there is no gate."""
    outputs: Literal["attention", "mixed", "end", "norm"] = "attention"
    """Where the rows whose logits are wanted are picked: beside the last attention, after it, after the last
    layer, or after the last norm."""
    bare: Literal["", "all", "full", "fourth"] = ""
    """Layers whose queries and keys are neither normed nor turned by position."""
    residual_first: Literal["", "ffn", "both"] = ""
    """Sums that take the place of the residual stream instead of what is added to it."""
    fused_qkv: bool = False
    pre_norm: bool = True
    layer_norm: bool = False
    """Norms with a mean, which llama.cpp cannot compute in place."""
    v_norm: bool = False
    scaled_q: bool = False
    parallel: bool = False
    """Attention and feed-forward share their input and are added together."""
    router_bias: bool = False
    softmax_chosen: bool = False
    """The weights of the chosen experts come from a softmax over these alone."""
    biased_experts: bool = False
    weight_before: bool = False
    """Experts see inputs that are already weighted (Llama 4)."""
    beside_dense: bool = False
    """Every layer has a dense feed-forward beside its experts (Gemma 4)."""
    indexer: bool = False
    per_layer_input: int = 0
    altup: bool = False
    """Layers predict and correct several streams (Gemma 3n)."""
    scaled_input: bool = False
    """The embedding is scaled before anything else; otherwise a first layer's states are gathered first."""
    deepstack: int = 0
    positions: int = 1
    """Numbers that place a token."""
    keeps_hidden: bool = False
    """The last hidden state outlives the graph: a draft head may ask for it."""
    measured: bool = True


_PLAIN = Graph()
_BIASED = Graph(router_bias=True)
_DELTA = Graph(gate="joint", outputs="norm", positions=4, keeps_hidden=True)
_VISION = Graph(deepstack=3, positions=4)
_PARALLEL = Graph(parallel=True, layer_norm=True)
_NEMOTRON = Graph(ffn="plain", router_bias=True, bare="all", outputs="norm", keeps_hidden=True)
_GEMMA4 = Graph(outputs="norm", per_layer_input=256, beside_dense=True, v_norm=True, keeps_hidden=True)
_LFM2 = Graph(residual_first="both")

_GRAPHS: dict[str, Graph] = {
    "qwen35": _DELTA,
    "qwen35moe": _DELTA,
    "qwen3next": replace(_DELTA, positions=1),
    "qwen3vl": _VISION,
    "qwen3vlmoe": _VISION,
    "gpt-oss": replace(_PLAIN, outputs="end", softmax_chosen=True, biased_experts=True, keeps_hidden=True),
    "gemma4": _GEMMA4,
    "gemma3n": Graph(outputs="end", per_layer_input=256, v_norm=True, pre_norm=False, altup=True),
    "glm4": replace(_PLAIN, ffn="fused"),
    "phi3": replace(_PLAIN, ffn="fused", fused_qkv=True, residual_first="ffn"),
    "phimoe": replace(_PLAIN, layer_norm=True, residual_first="ffn"),
    "smollm3": replace(_PLAIN, bare="fourth"),
    "bailingmoe2": replace(_BIASED, fused_qkv=True),
    "chatglm": replace(_PLAIN, ffn="fused", fused_qkv=True),
    "codeshell": replace(_PLAIN, layer_norm=True, fused_qkv=True, ffn="plain"),
    **dict.fromkeys(("arcee", "apertus"), replace(_PLAIN, ffn="plain")),
    **dict.fromkeys(("nemotron", "starcoder2"), replace(_PLAIN, layer_norm=True, ffn="plain")),
    **dict.fromkeys(("orion", "stablelm"), replace(_PLAIN, layer_norm=True)),
    "command-r": _PARALLEL,
    "cohere2": replace(_PARALLEL, bare="full"),
    "cohere2moe": replace(
        _PARALLEL, bare="full", layer_norm=False, outputs="norm", keeps_hidden=True
    ),
    **dict.fromkeys(("exaone4", "olmo2"), replace(_PLAIN, pre_norm=False)),
    "llama4": replace(_PLAIN, weight_before=True, bare="full", scaled_q=True),
    "afmoe": replace(_BIASED, gate="full"),
    "muse-glimmer": replace(_PLAIN, gate="full"),
    "laguna": replace(_BIASED, gate="heads"),
    "step35": replace(_BIASED, gate="heads", outputs="end", keeps_hidden=True),
    "nemotron_h": _NEMOTRON,
    "nemotron_h_moe": _NEMOTRON,
    "falcon-h1": replace(_PLAIN, outputs="mixed"),
    "lfm2": _LFM2,
    "lfm2moe": replace(_LFM2, router_bias=True),
    "granitehybrid": replace(_PLAIN, scaled_input=True),
    "kimi-linear": replace(_BIASED, bare="all"),
    **dict.fromkeys(("deepseek32", "glm-dsa"), replace(_BIASED, indexer=True)),
    **dict.fromkeys(
        (
            "baichuan", "deepseek", "ernie4_5", "exaone", "gemma", "gemma2", "gemma3", "granite",
            "granitemoe", "hunyuan-dense", "hunyuan-moe", "internlm2", "llama", "maincoder", "minicpm",
            "mistral3", "mistral4", "olmo", "olmoe", "pangu-embedded", "qwen2", "qwen2moe", "qwen2vl",
            "qwen3", "qwen3moe", "seed_oss", "xverse",
        ),
        _PLAIN,
    ),
    **dict.fromkeys(
        (
            "deepseek2", "dots1", "ernie4_5-moe", "exaone-moe", "glm4moe", "hy_v3", "mimo2", "minimax-m2",
        ),
        _BIASED,
    ),
}  # fmt: skip
"""Architectures whose accounting was read from llama.cpp itself."""

_LIKE: dict[Graph, tuple[str, ...]] = {
    _PLAIN: (
        "mistral", "bailingmoe", "mixtral", "dbrx", "grok", "minicpm3",
        "solar", "internlm", "jamba", "plamo2", "mamba", "mamba2", "rwkv7",
    ),
    _BIASED: ("glm4-moe-lite", "kimi-k2"),
    replace(_PLAIN, layer_norm=True, fused_qkv=True): ("jais",),
    replace(_PARALLEL, fused_qkv=True, ffn="plain"): ("phi2", "falcon", "gptneox"),
}  # fmt: skip
"""Architectures taken to be built like one that was read: a wider error."""

_GRAPHS |= {name: replace(graph, measured=False) for graph, names in _LIKE.items() for name in names}


def graph_of(model: ModelSpec) -> Graph:
    """How llama.cpp builds `model`.

    Raises:
        UnsupportedError: llama.cpp does not run the architecture, or its accounting is not known here.
    """
    graph = _GRAPHS.get(model.llama_arch)
    if graph is not None:
        return graph
    if not model.llama_arch:
        raise UnsupportedError(
            f"no llama.cpp architecture is known for {model.name} ({model.architecture})",
            "try another engine: --engine vllm",
        )
    raise UnsupportedError(
        f"the memory of llama.cpp architecture {model.llama_arch!r} ({model.name}) is not known",
        "try another engine: --engine vllm",
    )
