"""Bytes of a model's weights by the class of tensor they belong to, under a quantization.

It knows shapes and formats, not devices: where the bytes are placed is the engine accounting's business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.listed import listed_size_gib
from knowledge.schema import ModelSpec, Quant
from knowledge.tensors import ffn_matrices, parameter_counts
from knowledge.units import BYTES_PER_GIB

_PLAUSIBLE_SCALE = 4.0
"""A stated size this many times off the format's own bits is a mistake, not a recipe."""
_MXFP4, _Q8_0 = 4.25, 8.5
"""Bits per weight of two block types (gguf GGML_QUANT_SIZES: 17 bytes for 32, 34 bytes for 32)."""
NATIVE_MXFP4 = ("GptOssForCausalLM", "DeepseekV4ForCausalLM")
"""Published with MXFP4 experts, which every re-quantization leaves as they are, whatever its name."""
_CHECKPOINT, _FILE = "MXFP4", "MXFP4_MOE"
_WIDE_BPW = 16.0
_WIDE_MIXERS = {"NVFP4": ("Gemma4ForConditionalGeneration",)}
"""Formats whose published checkpoints of an architecture keep attention in 16 bits, and in mixtures all but
the routed experts: with the vision tower's 1.15 GB that gives the 32.7 GB of nvidia/Gemma-4-31B-IT-NVFP4
(https://huggingface.co/nvidia/Gemma-4-31B-IT-NVFP4/discussions/3) and the 18.8 GB of
nvidia/Gemma-4-26B-A4B-NVFP4 (https://huggingface.co/nvidia/Gemma-4-26B-A4B-NVFP4/tree/main)."""


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """Bytes of the weights by how a decoding step touches them.

    `token_embd` is read one row per token; `output` (the LM head; for tied models the same matrix again) and
    `dense` (attention, mixers, norms, dense and shared feed-forward, routers) once per step; of `experts`
    (all routed experts together) a step reads the distinct experts its tokens choose.
    `per_layer_embedding` (gemma E2B/E4B) is a lookup table that is never read whole. `vision` is loaded with
    the rest and touched by images only; `draft` (MTP layers) is loaded only by a launch that speculates, and
    is no part of `total`.
    """

    token_embd: float
    output: float
    dense: float
    experts: float
    per_layer_embedding: float
    basis: str
    """`read` (from the files themselves), `given` (a real size was stated), `listed`
    (knowledge/facts/files.csv) or `computed`."""
    tied: bool = False
    vision: float = 0.0
    draft: float = 0.0

    def with_drafts(self) -> WeightBytes:
        """The same for a launch that speculates: the draft layers lie and are read with the dense ones."""
        return replace(self, dense=self.dense + self.draft, draft=0.0)

    def per_token(self, model: ModelSpec) -> float:
        """Bytes that one token of one sequence makes a step read: of the routed experts, those it uses."""
        used = model.n_experts_used / model.n_experts if model.n_experts else 0.0
        return self.dense + self.output + self.experts * used

    @property
    def is_real(self) -> bool:
        """Whether the bytes are those of the very files that will be launched."""
        return self.basis in {"read", "given"}

    @property
    def total(self) -> float:
        """Bytes of the file without draft layers: a tied head is stored once."""
        head = 0.0 if self.tied else self.output
        return self.token_embd + head + self.dense + self.experts + self.per_layer_embedding + self.vision

    @property
    def total_gib(self) -> float:
        """Size of the file in GiB."""
        return self.total / BYTES_PER_GIB


def stored_format(quant: Quant, model: ModelSpec, catalog: Catalog, *, gguf: bool) -> Quant:
    """The format that files of such a model really have.

    A GGUF of natively 4-bit experts goes by the checkpoint's name, which keeps the rest in 16 bits, and keeps
    it in 8: 59.0 and 60.8 GiB of gpt-oss-120b (https://github.com/AlexsJones/llmfit/pull/1059).
    """
    renamed = gguf and quant.name == _CHECKPOINT and model.architecture in NATIVE_MXFP4
    return catalog.quants[_FILE] if renamed else quant


def file_tag(quant: Quant) -> str:
    """The format as it stands in names of files."""
    return _CHECKPOINT if quant.name == _FILE else quant.name


def weight_bytes(model: ModelSpec, quant: Quant, weights_gib: float | None = None) -> WeightBytes:
    """Bytes of `model` in `quant`, by class; with `weights_gib` the total is that real size exactly.

    Computed from parameters (`knowledge.tensors`) × bits per weight of each class. A real size rescales the
    body (everything but embeddings and head, whose types are fixed by the format). Draft (MTP) layers and
    vision towers are counted only where the stated size has them.

    Raises:
        UsageError: the stated size cannot be this model in this format (four times off, either way).
    """
    counts = parameter_counts(model)
    whole_rows = model.hidden_size % quant.block == 0
    attn_bpw = quant.attn_bpw if whole_rows else quant.fallback_bpw or quant.attn_bpw
    mixer_bpw = quant.mixer_bpw if whole_rows and quant.mixer_bpw else attn_bpw
    shared_bpw = _ffn_bpw(model, quant, model.shared_expert_intermediate_size)
    if model.architecture in _WIDE_MIXERS.get(quant.name, ()):
        attn_bpw = mixer_bpw = shared_bpw = _WIDE_BPW
    dense_bits = (
        counts.attention * attn_bpw
        + counts.mixers * mixer_bpw
        + (counts.dense_ffn + counts.other) * _ffn_bpw(model, quant, model.intermediate_size)
        + counts.shared_experts * shared_bpw
        + (counts.norms + counts.routers) * quant.norm_bpw
    )
    if quant.expert_bpw == quant.bpw:
        expert_bpw = _ffn_bpw(model, quant, model.moe_intermediate_size)
    else:
        expert_bpw = quant.expert_bpw
    if model.architecture in NATIVE_MXFP4:
        expert_bpw = min(expert_bpw, _MXFP4)
    # GGUF gives a tied matrix the type of the head; elsewhere the two widths are equal.
    output_bpw = quant.output_bpw
    if not whole_rows and quant.fallback_bpw:
        output_bpw = max(output_bpw, _Q8_0)
    embed_bpw = quant.embed_bpw if whole_rows else quant.fallback_bpw or quant.embed_bpw
    if counts.tied:
        embed_bpw = output_bpw
    head = counts.token_embd if counts.tied else counts.output
    computed = WeightBytes(
        token_embd=counts.token_embd * embed_bpw / 8,
        output=head * output_bpw / 8,
        dense=dense_bits / 8,
        experts=counts.routed_experts * expert_bpw / 8,
        per_layer_embedding=counts.per_layer_embedding * embed_bpw / 8,
        basis="computed",
        tied=counts.tied,
    )
    return computed if weights_gib is None else _rescaled(computed, model, quant, weights_gib, "given")


def best_weight_bytes(
    model: ModelSpec, quant: Quant, catalog: Catalog, weights_gib: float | None = None
) -> WeightBytes:
    """`weight_bytes` from the best size known: the stated one, else a listed file's, else the format's bits.

    Raises:
        UsageError: the stated size cannot be this model in this format.
    """
    listed = listed_size_gib(model, quant.name, catalog) if weights_gib is None else None
    if listed is None:
        return weight_bytes(model, quant, weights_gib)
    return _rescaled(weight_bytes(model, quant), model, quant, listed[0], "listed")


def _ffn_bpw(model: ModelSpec, quant: Quant, width: int | None) -> float:
    """Mean bits of a feed-forward block whose down projection has rows of `width` elements.

    `bpw` is the mean of a gated block; a block without a gate has a larger share of down projections. Rows
    that are not whole blocks take the fallback type (`tensor_type_fallback` in llama.cpp's llama-quant.cpp).
    """
    down = quant.down_bpw or quant.bpw
    up = (3 * quant.bpw - down) / 2
    if quant.fallback_bpw and model.hidden_size % quant.block:
        up = quant.fallback_bpw
    if quant.fallback_bpw and (width or 0) % quant.block:
        down = quant.fallback_down_bpw or quant.fallback_bpw
    share_down = 1 / ffn_matrices(model)
    return up * (1 - share_down) + down * share_down


def _rescaled(computed: WeightBytes, model: ModelSpec, quant: Quant, gib: float, basis: str) -> WeightBytes:
    target = gib * BYTES_PER_GIB
    if not 1 / _PLAUSIBLE_SCALE < target / computed.total < _PLAUSIBLE_SCALE:
        raise UsageError(
            f"{gib:g} GiB cannot be {model.name} in {quant.name} (about {computed.total_gib:.3g} GiB)",
            "leave --weights-gib out, or name another --quant",
        )
    if model.architecture in NATIVE_MXFP4 and target > computed.experts:
        # The experts are what they are: a larger file keeps the rest in wider types.
        factor = (target - computed.experts) / (computed.total - computed.experts)
        return replace(
            computed,
            token_embd=computed.token_embd * factor,
            output=computed.output * factor,
            dense=computed.dense * factor,
            basis=basis,
        )
    scalable = computed.dense + computed.experts
    factor = 1 + (target - computed.total) / scalable
    if factor <= 1 / _PLAUSIBLE_SCALE:  # small models: the embeddings must have shrunk as well
        factor = target / computed.total
        computed = replace(
            computed,
            token_embd=computed.token_embd * factor,
            output=computed.output * factor,
            per_layer_embedding=computed.per_layer_embedding * factor,
        )
    return replace(computed, dense=computed.dense * factor, experts=computed.experts * factor, basis=basis)
