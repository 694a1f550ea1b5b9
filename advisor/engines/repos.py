"""Where the weights of a model in a format can be had: the repositories that the facts name.

It owns the choice among them; it downloads nothing and invents no address.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from knowledge.catalog import Catalog, default_catalog
from knowledge.schema import ModelSpec, Quant


def published_format(model: ModelSpec, catalog: Catalog | None = None) -> str | None:
    """The quantized form that the model's own repository holds (DeepSeek's `FP8`); None where it is plain."""
    for row in (catalog or default_catalog()).repos:
        if row.repo == row.hf_id == model.hf_id and row.format == "safetensors":
            return row.quants[0].rstrip("*")
    return None


def repo_of(
    model: ModelSpec,
    quant: Quant,
    kind: Literal["gguf", "safetensors"],
    *,
    draft_head: bool = False,
    catalog: Catalog | None = None,
) -> str | None:
    """The first known repository of the model in that format; None when the facts name none.

    GGUF files with a draft (MTP) head live in repositories of their own: `draft_head` asks for those.
    """
    for row in (catalog or default_catalog()).repos:
        if row.hf_id != model.hf_id or row.format != kind:
            continue
        if kind == "gguf" and ("-MTP-" in row.repo) != draft_head:
            continue
        if any(fnmatchcase(quant.name, pattern) for pattern in row.quants):
            return row.repo
    return None
