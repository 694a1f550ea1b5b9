"""Sizes of real model files, as their publishers and loaders print them (`facts/files.csv`).

It knows no shapes and computes nothing: `knowledge.weights` prefers these sizes where there is one.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from statistics import median_low

from knowledge.catalog import Catalog
from knowledge.schema import ModelSpec

WHOLE = ("", "vision", "vision+mtp")
"""What a usable row's `includes` may say: the weights as published, with what a loader reads beside them."""


@lru_cache(maxsize=4)
def _sizes(catalog: Catalog) -> dict[tuple[str, str], list[tuple[float, str]]]:
    """(GiB, address) of every whole file by model and format."""
    sizes: dict[tuple[str, str], list[tuple[float, str]]] = {}
    with (catalog.folder / "files.csv").open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)  # half the time of a DictReader, on the path of every answer
        column = {name: at for at, name in enumerate(next(rows))}
        model, quant, gib, includes, url = (
            column[name] for name in ("hf_id", "quant", "gib", "includes", "source_url")
        )
        for row in rows:
            if row[model] and row[quant] and row[gib] and row[includes] in WHOLE:
                sizes.setdefault((row[model], row[quant]), []).append((float(row[gib]), row[url]))
    return sizes


def listed_size_gib(model: ModelSpec, quant_name: str, catalog: Catalog) -> tuple[float, str] | None:
    """Median size in GiB of the listed files of exactly this model and format, and its address."""
    sizes = _sizes(catalog).get((model.hf_id, quant_name))
    return median_low(sizes) if sizes else None
