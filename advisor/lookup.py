"""Looking things up: the catalog's entries, release notes, flags, and the store's runs.

It filters what is known and concludes nothing. Names are resolved as everywhere; free text is searched for in
every cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from advisor.asking import whole_number
from advisor.engines import engine_named
from advisor.listings import Flags, Gpus, Models, Notes, Observations, Quants
from knowledge.catalog import default_catalog
from knowledge.errors import UsageError
from knowledge.names.gpu import resolve_gpu
from knowledge.names.model import resolve_model
from knowledge.names.quant import resolve_quant
from knowledge.schema import Record

R = TypeVar("R", bound=Record)

_KINDS = ("runs", "quarantined", "rejected")


def gpus(text: str | None = None) -> Gpus:
    """Devices, those whose record contains every word of `text`."""
    return Gpus(gpus=_matching(default_catalog().gpus.values(), text))


def models(text: str | None = None) -> Models:
    """Models, those whose record contains every word of `text`; newest first."""
    found = _matching(default_catalog().models.values(), text)
    return Models(models=sorted(found, key=lambda model: model.released, reverse=True))


def quants(text: str | None = None) -> Quants:
    """Quantization formats, those whose record contains every word of `text`."""
    return Quants(quants=_matching(default_catalog().quants.values(), text))


def notes(text: str | None = None, *, engine: str | None = None, version: str | None = None) -> Notes:
    """Release notes that contain every word of `text`; newest first, undated ones last.

    Raises:
        UnsupportedError: an engine that is not known.
    """
    found = [
        note
        for note in _matching(default_catalog().release_notes, text)
        if engine in (None, note.engine) and version in (None, note.version)
    ]
    _refuse_unknown(engine, {note.engine for note in default_catalog().release_notes})
    return Notes(notes=sorted(found, key=lambda note: note.released_on, reverse=True))


def flags(text: str | None = None, *, engine: str | None = None) -> Flags:
    """Launch flags whose record contains every word of `text`.

    Raises:
        UnsupportedError: an engine that is not known.
    """
    known = default_catalog().flags
    _refuse_unknown(engine, {flag.engine for flag in known})
    return Flags(flags=[flag for flag in _matching(known, text) if engine in (None, flag.engine)])


def observations(
    *,
    model: str | None = None,
    gpu: str | None = None,
    quant: str | None = None,
    engine: str | None = None,
    text: str | None = None,
    origin: str | None = None,
    kind: str = "runs",
    limit: str | int = 20,
) -> Observations:
    """Runs of the store, newest first; `kind` asks for those kept apart (`quarantined`, `rejected`) instead.

    Raises:
        UsageError: a name that means nothing known, or an unknown `kind` or `origin`.
        StoreError: the store cannot be opened.
    """
    if kind not in _KINDS:
        raise UsageError(f"--kind {kind!r} is unknown", f"use one of: {', '.join(_KINDS)}")
    if origin not in (None, "shipped", "user"):
        raise UsageError(f"--origin {origin!r} is unknown", "use shipped or user")
    most = whole_number(limit, "--limit")
    catalog = default_catalog()
    match = resolve_model(model, catalog) if model else None
    filters: dict[str, Any] = {
        "model_id": match.model.hf_id if match else None,
        "gpu_id": resolve_gpu(gpu, catalog).gpu.name if gpu else None,
        "quant_id": resolve_quant(quant, catalog).name if quant else None,
        "engine": engine_named(engine) if engine else None,
    }
    from knowledge.store import queries  # noqa: PLC0415 - duckdb is loaded only when it is needed
    from knowledge.store.connection import open_store, plain_errors  # noqa: PLC0415 - as above

    with open_store() as store, plain_errors(store.path):
        counts = queries.counts(store.con)
        if kind == "runs":
            rows = queries.observations(store.con, **filters, text=text, origin=origin, limit=most)
            return Observations(total=counts["observations"], note=store.note, observations=rows)
        held = queries.quarantined if kind == "quarantined" else queries.rejects
        rows = held(store.con, limit=most)
        return Observations(total=counts[kind], note=store.note, observations=rows)


def _refuse_unknown(engine: str | None, known: set[str]) -> None:
    if engine is not None and engine not in known:
        raise UsageError(f"nothing is known of engine {engine!r}", f"known are: {', '.join(sorted(known))}")


def _matching(records: Iterable[R], text: str | None) -> list[R]:
    words = (text or "").lower().split()
    return [record for record in records if all(word in _cells(dict(record)) for word in words)]


def _cells(record: Mapping[str, object]) -> str:
    return " ".join(
        " ".join(value) if isinstance(value, tuple) else str(value) for value in record.values()
    ).lower()
