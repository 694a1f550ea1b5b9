"""The names in a row → entries of the catalog, remembered, since sources repeat themselves.

It only asks `knowledge.names`; a name that means nothing known is None here and never an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from knowledge.catalog import Catalog
from knowledge.names.gpu import match_gpu
from knowledge.names.model import match_model
from knowledge.names.quant import match_quant
from knowledge.schema import Gpu, ModelSpec, Observation, Quant

_GGUF_ENGINES = frozenset({"llama.cpp", "ik_llama.cpp", "llamafile", "ollama", "lmstudio", "koboldcpp"})


@dataclass(frozen=True, slots=True)
class Names:
    """What a row is about, as far as it is known."""

    gpu: Gpu | None
    model: ModelSpec | None
    quant: Quant | None


class Resolver:
    """Resolves rows against one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        """Start with nothing remembered; 16,384 names of each kind are kept."""
        self._gpu = lru_cache(1 << 14)(lambda text, vram_gib: match_gpu(text, catalog, vram_gib))
        self._model = lru_cache(1 << 14)(lambda text, params_b: match_model(text, catalog, params_b))
        self._quant = lru_cache(1 << 14)(lambda text: match_quant(text, catalog))

    def resolve(self, row: Observation) -> Names:
        """The row's device, model and format."""
        model = self._model(row.model, row.params_b)
        if model is None and row.model_raw:
            model = self._model(row.model_raw, row.params_b)
        quant = self._quant(_format(row)) if row.quant else None
        return Names(self._gpu(row.gpu, row.vram_gib), model, quant)


def _format(row: Observation) -> str:
    """The format's own name: what GGUF engines load as `MXFP4` is not the published checkpoint."""
    if row.quant.upper() == "MXFP4" and row.engine.lower() in _GGUF_ENGINES:
        return "MXFP4_MOE"
    return row.quant
