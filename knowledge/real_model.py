"""A model as its own files have it: shape, exact bytes, format, and the catalogued model it equals, if any.

It owns what makes a file's model the catalog's: the same shape. It reads no files (`knowledge.hub` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ValidationError

from knowledge.catalog import Catalog
from knowledge.errors import ModelFileError
from knowledge.gguf_metadata import Shape
from knowledge.names.model import match_model
from knowledge.names.quant import match_quant
from knowledge.schema import ModelSpec, Quant
from knowledge.tensor_parts import Parts
from knowledge.weights import WeightBytes, weight_bytes

Kind = Literal["gguf", "safetensors"]

_SAME = (
    "llama_arch", "n_layers", "layers_full", "layers_sliding", "layers_linear", "layers_mamba2", "layers_mla",
    "n_kv_heads", "head_dim_k", "hidden_size", "n_experts", "n_experts_used",
)  # fmt: skip
_VOCAB_PADDING = 512
"""Rows by which embeddings of one vocabulary differ between publishers."""
_SIZE_TOLERANCE = 0.02
"""Parameters of one shape differ by no more: norms, biases, a padded vocabulary."""
_FORMAT_TOLERANCE = 1.5
"""A file this many times off a format's own bits was named after another one."""


@dataclass(frozen=True, slots=True)
class RealModel:
    """A model read from its files. `path` is what a local launch names, `repo` what one from the Hub names.

    `name` is the files' own; `model` is the catalogued model where the shapes are equal, and described by the
    files alone elsewhere. `quant` is None where the files do not say their format. `projector` is bytes of
    the vision projector (mmproj) that is loaded along with a GGUF file of a repository.
    """

    name: str
    model: ModelSpec
    weights: WeightBytes
    quant: Quant | None
    kind: Kind
    catalogued: bool
    path: str | None = None
    repo: str | None = None
    projector: float = 0.0

    def placed(self, *, path: str | None = None, repo: str | None = None) -> RealModel:
        """The same, with where its files are."""
        return replace(self, path=path, repo=repo)

    @property
    def is_original(self) -> bool:
        """Whether these are unquantized weights, from which any format can be made."""
        return self.kind == "safetensors" and self.quant is not None and self.quant.family == "float"

    def are(self, quant: Quant, kind: Kind) -> bool:
        """Whether a launch in this format, from files of this kind, is one of these very files."""
        return self.kind == kind and (not self.is_original or quant == self.quant)

    def kind_for(self, quant_name: str | None) -> Kind | None:
        """The kind of file that a launch in a format is bound to; None where the files leave it open."""
        own = self.quant is not None and quant_name == self.quant.name
        return self.kind if own or not self.is_original else None

    def label(self, catalog: Catalog) -> str:
        """What to call the model: a fine-tune that has the shape of a catalogued one keeps its name."""
        known = match_model(self.name, catalog) if self.catalogued else None
        own = self.catalogued and (known is None or known.hf_id != self.model.hf_id)
        return self.name if own else self.model.name


def real_model(
    shape: Shape,
    parts: Parts,
    *,
    kind: Kind,
    name: str,
    texts: Sequence[str],
    formats: Sequence[str],
    catalog: Catalog,
) -> RealModel:
    """Put together what the files say.

    `name` is what to call the model where the catalog does not have it; `texts` are names under which it may
    be catalogued and `formats` names of its format, likeliest first.

    Raises:
        ModelFileError: the numbers make no model.
    """
    parameters = parts.parameters()
    used, experts = int(shape.get("n_experts_used") or 0), int(shape.get("n_experts") or 0)
    active = parts.active_parameters(used, experts)
    if bool(experts) != bool(parts.elements.get("experts")) or not parts.elements.get("token_embd"):
        raise ModelFileError(f"{name}: its tensors are not those of the model it describes")
    known = _KNOWN_DEFAULTS | {key: value for key, value in shape.items() if value is not None}
    if "architecture" not in known:
        known["architecture"] = _architecture(str(known["llama_arch"]), catalog)
    try:
        spec = ModelSpec.model_validate(
            {
                "hf_id": name,
                "family": name,
                **known,
                "total_params_b": parameters / 1e9,
                "active_params_b": active / 1e9,
                "tie_embeddings": parts.tied,
                "multimodal": bool(known.get("multimodal") or parts.bytes.get("vision")),
                "basis": "read",
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelFileError(f"{name}: {where} makes no sense: {first['msg']}") from error
    equal = _equal_in(catalog, spec, texts)
    model = spec if equal is None else _as_read(equal, spec)
    quant = _format(model, parts, formats, catalog)
    return RealModel(name, model, parts.weights(), quant, kind, equal is not None)


_KNOWN_DEFAULTS: dict[str, object] = {"source_url": ""}


def _architecture(llama_arch: str, catalog: Catalog) -> str:
    """The class that models of a llama.cpp architecture have; its own name where the catalog has none."""
    found = (model.architecture for model in catalog.models.values() if model.llama_arch == llama_arch)
    return next(found, llama_arch)


def _equal_in(catalog: Catalog, spec: ModelSpec, texts: Sequence[str]) -> ModelSpec | None:
    """The catalogued model of this shape; of several, the one the texts name, else the first."""
    equals = [model for model in catalog.models.values() if _is_equal(model, spec)]
    if len(equals) > 1:
        named = {match.hf_id for text in texts if (match := match_model(text, catalog)) is not None}
        equals.sort(key=lambda model: (model.hf_id not in named, model.max_context != spec.max_context))
    return equals[0] if equals else None


def _is_equal(model: ModelSpec, spec: ModelSpec) -> bool:
    return (
        all(getattr(model, field) == getattr(spec, field) for field in _SAME)
        # windowed layers may have more query heads than full ones; catalog and file may name either
        and (model.n_heads == spec.n_heads or bool(model.layers_sliding))
        and abs(model.vocab_size - spec.vocab_size) <= _VOCAB_PADDING
        and abs(spec.total_params_b / model.total_params_b - 1) <= _SIZE_TOLERANCE
    )


def _as_read(known: ModelSpec, spec: ModelSpec) -> ModelSpec:
    """The catalogued entry with what this very file may have otherwise: context, draft layers, head."""
    own = {"has_mtp": spec.has_mtp, "basis": "read"}
    if spec.max_context:
        own["max_context"] = spec.max_context
    return known.model_copy(update=own)


def _format(model: ModelSpec, parts: Parts, formats: Sequence[str], catalog: Catalog) -> Quant | None:
    """The first of the named formats that the bytes agree with, else the first that is known at all."""
    known = [quant for text in formats if (quant := match_quant(text, catalog)) is not None]
    real = parts.weights().total
    for quant in known:
        if 1 / _FORMAT_TOLERANCE < weight_bytes(model, quant).total / real < _FORMAT_TOLERANCE:
            return quant
    return known[0] if known else None
