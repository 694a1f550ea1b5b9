"""The compute buffer of llama.cpp: what one micro-batch needs on the device beside weights and caches.

The buffer's size is the peak of the graph allocator: the attention mask, plus the widest moment of a layer
(feed-forward, attention, or logits), each linear in the tokens of the micro-batch. Which tensors are alive at
that moment differs by architecture: `_GRAPHS` says how, in multiples of the model's own widths, read off
llama.cpp's accounting (`data/memory/llamacpp_accounting.csv`). It knows nothing of CUDA contexts or pools.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from advisor.memory.builds import Layout
from advisor.memory.kv_cache import Cells, layer_f16_copy_bytes
from advisor.memory.state import layer_states
from knowledge.errors import UnsupportedError
from knowledge.schema import ModelSpec

_FLOAT = 4
_WIDE = frozenset({"f16", "bf16", "f32"})
_INDEX_FLOATS = 8
"""Token ids, positions, cache indices: a few words per token (5 to 10 seen)."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Live activations at a layer's peaks, as multiples of hidden size, attention width and expert width.

    `embd` copies of the hidden state; `heads_ffn` of the attention output alive during the feed-forward;
    `heads_attn`, `heads_quant_kv` of Q-sized tensors during attention; `expert_ff` of the experts' inner
    width; `kv_no_flash` K/V-sized tensors without flash attention; `embd_logits` beside the logits.
    """

    embd: int = 2
    heads_ffn: int = 1
    heads_attn: int = 2
    heads_quant_kv: int = 2
    embd_quant_kv: int = 2
    ff: int = 3
    expert_ff: int = 3
    kv_no_flash: int = 2
    embd_logits: int = 1
    measured: bool = True


_DENSE = Graph()
_GATED_DELTA = Graph(heads_ffn=0, heads_attn=3, heads_quant_kv=5, embd_logits=2)
_GATED_DELTA_MOE = replace(_GATED_DELTA, embd=3, embd_quant_kv=3)
_WINDOWED = Graph(kv_no_flash=4)
_SHARED_EXPERT = Graph(expert_ff=2, embd_logits=3)
_UNGATED = Graph(heads_quant_kv=3, ff=1, expert_ff=1, embd_logits=3)
_MLA = Graph(expert_ff=2, embd_logits=2)

_GRAPHS: dict[str, Graph] = {
    "llama": _DENSE,
    "qwen3": _DENSE,
    "qwen3moe": _DENSE,
    "qwen35": _GATED_DELTA,
    "qwen35moe": _GATED_DELTA_MOE,
    "qwen3next": _GATED_DELTA_MOE,
    "gemma3": _WINDOWED,
    "gpt-oss": replace(_WINDOWED, expert_ff=2, embd_logits=2),
    "glm4moe": replace(_SHARED_EXPERT, embd_quant_kv=3),
    "deepseek2": _MLA,
    "nemotron_h_moe": _UNGATED,
}
"""Architectures whose accounting was read from llama.cpp itself."""

_LIKE: dict[Graph, tuple[str, ...]] = {
    _DENSE: (
        "qwen2", "qwen2moe", "qwen2vl", "qwen3vl", "qwen3vlmoe", "mistral3", "mistral", "phi2", "phi3",
        "phimoe", "olmo", "olmo2", "olmoe", "granite", "granitemoe", "granitehybrid", "seed_oss", "smollm3",
        "ernie4_5", "ernie4_5-moe", "hunyuan-moe", "hunyuan-dense", "llama4", "lfm2", "lfm2moe", "falcon-h1",
        "falcon", "minimax-m2", "bailingmoe", "bailingmoe2", "dots1", "stablelm", "starcoder2", "internlm2",
        "exaone", "exaone4", "command-r", "cohere2", "chatglm", "glm4", "baichuan", "mixtral", "dbrx", "grok",
        "minicpm", "minicpm3", "solar", "apertus", "arcee", "afmoe", "plamo2", "jamba", "deepseek", "gptneox",
        "codeshell", "orion", "xverse", "rwkv7", "mamba", "mamba2", "jais", "nemotron",
    ),
    _WINDOWED: ("gemma", "gemma2", "gemma3n", "gemma4", "mimo2", "step35"),
    _MLA: ("deepseek32", "glm-dsa", "mistral4", "kimi-linear", "glm4-moe-lite", "kimi-k2"),
    _UNGATED: ("nemotron_h",),
    _GATED_DELTA: (),
}  # fmt: skip
"""Architectures taken to allocate like one that was read: the analogous form, a wider error."""

_GRAPHS |= {name: replace(graph, measured=False) for graph, names in _LIKE.items() for name in names}


def graph_of(model: ModelSpec) -> Graph:
    """The graph shape of `model` in llama.cpp.

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


@dataclass(frozen=True, slots=True)
class _Widths:
    """Floats per token of the moments at which a layer's buffer may peak."""

    ffn: int
    attention: int
    attention_quant_kv: int
    attention_no_flash: int
    heads: int


def _widths(model: ModelSpec, graph: Graph) -> _Widths:
    hidden = model.hidden_size
    if model.layers_mla:
        rank = model.kv_lora_rank or 0
        q = model.n_heads * (rank + (model.qk_rope_head_dim or 0))  # absorbed: queries live in latent space
        v = model.n_heads * rank
        heads = model.n_heads * model.head_dim_v
        attention = no_flash = q + 2 * v
        quant_kv = 2 * q + 2 * v + 2 * rank
    else:
        dim = max(model.head_dim_k, model.global_head_dim or 0)
        heads = model.n_heads * dim
        kv = max(
            model.n_kv_heads * model.head_dim_k, (model.global_n_kv_heads or 0) * (model.global_head_dim or 0)
        )
        attention = graph.embd * hidden + graph.heads_attn * heads
        quant_kv = graph.embd_quant_kv * hidden + graph.heads_quant_kv * heads
        no_flash = max(attention, graph.embd_quant_kv * hidden + graph.heads_attn * heads)
        no_flash += graph.kv_no_flash * kv
    dense = graph.ff * (model.intermediate_size or 0) if model.n_dense_layers or not model.is_moe else 0
    routed = model.n_experts_used * (graph.expert_ff * (model.moe_intermediate_size or 0) + hidden)
    residual = graph.embd * hidden + graph.heads_ffn * heads
    ffn = max(dense + residual, (routed + residual) if model.is_moe else 0)
    return _Widths(ffn, attention, quant_kv, no_flash, heads)


def _recurrent_bytes(model: ModelSpec, widths: _Widths, tokens: int, slots: int) -> float:
    """A recurrent layer's moment: every slot's state read and written, and the projections of the batch.

    Shows where slots are many and the micro-batch small. Mamba holds about seven inner widths per token,
    the gated delta net about as much as attention over a quantized cache.
    """
    largest = 0.0
    for state in layer_states(model):
        held = slots * (2 * state.recurrent + state.conv) * _FLOAT
        inner = (model.ssm_num_heads or 0) * (model.ssm_head_dim or 0)
        groups = 2 * (model.ssm_groups or 0) * (model.ssm_state_size or 0) + (model.ssm_num_heads or 0)
        per_token = 7 * inner + groups if inner else widths.attention_quant_kv
        largest = max(largest, float(held + per_token * tokens * _FLOAT))
    return largest


def compute_bytes(
    model: ModelSpec,
    shape: Cells,
    type_k: str,
    type_v: str,
    *,
    slots: int,
    flash_attn: bool,
    layout: Layout,
) -> float:
    """Bytes of the device's compute buffer for one micro-batch of `shape.ubatch` tokens.

    Raises:
        UnsupportedError: see `graph_of`; and a quantized V cache without flash attention, which llama.cpp
            refuses.
    """
    graph = graph_of(model)
    widths = _widths(model, graph)
    tokens = shape.ubatch
    per_token = tokens * _FLOAT
    mask_cells = (shape.cells + shape.sliding) * tokens
    index = _INDEX_FLOATS * per_token
    scratch = layer_f16_copy_bytes(model, shape, type_k, type_v)
    logits = (
        per_token * (model.vocab_size + graph.embd_logits * model.hidden_size) if layout.all_logits else 0.0
    )

    if not flash_attn:
        if type_v not in _WIDE:
            raise UnsupportedError(
                f"llama.cpp cannot quantize the V cache ({type_v}) without flash attention",
                "leave flash attention on, or use --kv-type-v f16",
            )
        scores = (shape.cells * (model.n_heads + 1) + shape.sliding) * per_token
        if model.layers_mla:  # V^T of the latent cache is laid out anew
            scores += 2 * (model.kv_lora_rank or 0) * shape.cells * shape.streams
        wide = mask_cells * _FLOAT + widths.ffn * per_token
        return index + max(scores + widths.attention_no_flash * per_token, wide, logits)

    feed_forward = mask_cells * 2 + max(
        widths.ffn * per_token, _recurrent_bytes(model, widths, tokens, slots)
    )
    attention: float = mask_cells * layout.mask_bytes + widths.attention * per_token
    if scratch and not layout.pool_scratch:
        queries = widths.attention_quant_kv - (widths.heads if type_k in _WIDE else 0)
        attention = mask_cells * layout.mask_bytes + queries * per_token + scratch
    return index + max(feed_forward, attention, logits)


def pool_scratch_bytes(
    model: ModelSpec, shape: Cells, type_k: str, type_v: str, *, flash_attn: bool, layout: Layout
) -> float:
    """Bytes that older builds take from the device pool at run time for a full quantized cache."""
    if not (flash_attn and layout.pool_scratch):
        return 0.0
    return layer_f16_copy_bytes(model, shape, type_k, type_v)


def output_bytes(model: ModelSpec, slots: int) -> float:
    """Bytes of the output buffer on the host: one row of logits per slot."""
    return float(slots * model.vocab_size * _FLOAT)
