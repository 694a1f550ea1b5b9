"""Which part of a model a tensor belongs to, by its name, and the exact bytes of each part.

It owns the naming habits of GGUF files and of Hugging Face checkpoints. It reads no files and knows no
shapes: `knowledge.gguf_header` and `knowledge.safetensors_header` bring names and sizes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from knowledge.weights import WeightBytes

Part = Literal["token_embd", "output", "dense", "experts", "per_layer_embedding", "draft", "vision"]

_GGUF_LAYER = re.compile(r"^blk\.(\d{1,9})\.")
_GGUF_VISION = ("v.", "mm.", "a.", "resampler.")
_HF_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d{1,9})\.")
_HF_DRAFT = re.compile(r"(?:^|\.)(?:mtp|mtp_\w+|nextn\w*|eagle\w*)\.")
_HF_VISION = re.compile(
    r"(?:^|\.)(?:visual|vision\w*|vit|vit_\w+|image_\w+|img_\w+|multi_modal_projector|mm_projector|audio\w*"
    r"|patch_merger|pre_mm_projector_norm|embed_vision|embed_audio|aligner|sam_model|speech\w*|mlp1)\."
)
_HF_PER_LAYER = re.compile(r"(?:^|\.)embed_tokens_per_layer\.")
_HF_TOKEN_EMBD = re.compile(
    r"(?:^|\.)(?:embed_tokens|word_embeddings|tok_embeddings|wte|embed_in|embeddings|embedding)\.\w+$"
)
_HF_OUTPUT = re.compile(r"(?:^|\.)(?:lm_head|embed_out)\.|^output\.")
_HF_EXPERTS = re.compile(
    r"\.(?:experts|local_experts|switch_mlp)\.|\.block_sparse_moe\.(?:input|output)_linear\."
)
"""GraniteMoE keeps all experts of a layer in two matrices named after the layer, not after the experts."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Bytes and elements of a model by part; a part that is not there has none."""

    bytes: dict[Part, int]
    elements: dict[Part, int]

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding matrix again: there is none of its own."""
        return not self.bytes.get("output")

    def weights(self) -> WeightBytes:
        """The exact bytes, as every accounting takes them."""
        size = self.bytes
        embedding = float(size.get("token_embd", 0))
        return WeightBytes(
            token_embd=embedding,
            output=embedding if self.tied else float(size["output"]),
            dense=float(size.get("dense", 0)),
            experts=float(size.get("experts", 0)),
            per_layer_embedding=float(size.get("per_layer_embedding", 0)),
            basis="read",
            tied=self.tied,
            vision=float(size.get("vision", 0)),
            draft=float(size.get("draft", 0)),
        )

    def parameters(self) -> int:
        """Parameters of the language model: no vision tower, no draft layers."""
        return sum(count for part, count in self.elements.items() if part not in {"vision", "draft"})

    def active_parameters(self, used: int, n_experts: int) -> float:
        """Parameters that one decoded token multiplies: no lookups, the head once, `used` of the experts."""
        count = self.elements
        head = count.get("token_embd", 0) if self.tied else count["output"]
        experts = count.get("experts", 0) * used / n_experts if n_experts else 0
        return head + count.get("dense", 0) + experts


def sum_parts(tensors: Iterable[tuple[Part, int, int]]) -> Parts:
    """Add up (part, bytes, elements)."""
    size: dict[Part, int] = {}
    elements: dict[Part, int] = {}
    for part, n_bytes, count in tensors:
        size[part] = size.get(part, 0) + n_bytes
        elements[part] = elements.get(part, 0) + count
    return Parts(size, elements)


def gguf_layer(name: str) -> int | None:
    """The layer that a GGUF tensor belongs to; None outside the stack."""
    match = _GGUF_LAYER.match(name)
    return int(match[1]) if match else None


def gguf_part(name: str, n_layers: int) -> Part:
    """The part of a GGUF tensor; layers from `n_layers` on are draft layers."""
    layer = gguf_layer(name)
    if (layer is not None and layer >= n_layers) or ".nextn." in name:
        return "draft"
    if name.startswith(_GGUF_VISION):
        return "vision"
    if name.startswith("per_layer_token_embd."):
        return "per_layer_embedding"
    if name.startswith("token_embd."):
        return "token_embd"
    if name.startswith("output."):
        return "output"
    return "experts" if "_exps." in name else "dense"


def hf_layer(name: str) -> int | None:
    """The layer of the language model that a checkpoint's tensor belongs to; None outside the stack."""
    match = _HF_LAYER.search(name)
    return int(match[1]) if match and not _HF_VISION.search(name) else None


def hf_part(name: str, n_layers: int) -> Part:
    """The part of a checkpoint's tensor; layers from `n_layers` on are draft layers."""
    if _HF_VISION.search(name):
        return "vision"
    layer = hf_layer(name)
    if (layer is not None and layer >= n_layers) or _HF_DRAFT.search(name):
        return "draft"
    if _HF_PER_LAYER.search(name):
        return "per_layer_embedding"
    if layer is None and _HF_OUTPUT.search(name):
        return "output"
    if layer is None and _HF_TOKEN_EMBD.search(name):
        return "token_embd"
    return "experts" if _HF_EXPERTS.search(name) else "dense"
