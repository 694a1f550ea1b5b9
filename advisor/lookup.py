"""Looking things up: the catalog's entries, release notes, flags, and the store's runs.

It filters what is known and concludes nothing. Names are resolved as everywhere; free text is searched for in
every cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from advisor.asking import whole_number
from advisor.effects import Pair, published, stored, summaries
from advisor.engines import engine_named
from advisor.listings import Flags, Gpus, Measured, Models, Notes, Observations, Quants
from advisor.notes import is_since, speaks_of
from knowledge.catalog import default_catalog
from knowledge.errors import StoreError, UsageError
from knowledge.names.gpu import resolve_gpu
from knowledge.names.match import normalise
from knowledge.names.model import resolve_model
from knowledge.names.quant import resolve_quant
from knowledge.schema import Claim, ModelSpec, Record

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


def notes(
    text: str | None = None,
    *,
    engine: str | None = None,
    version: str | None = None,
    since: str | None = None,
    area: str | None = None,
    model: str | None = None,
    flag: str | None = None,
) -> Notes:
    """Release notes that answer to all that is asked for, newest first; beside them what was measured.

    `text`: every word of it; `since`: of this version of `engine` and later ones; `model`: what speaks of
    such models; `flag`: what names the flag. Claims and measured pairs are looked for by text, model, flag.

    Raises:
        UnsupportedError: an engine that is not known.
        UsageError: an unknown area or model; a version that cannot be put in order, or is of no engine.
    """
    catalog = default_catalog()
    known = catalog.release_notes
    _refuse_unknown(engine, {note.engine for note in known})
    areas = sorted({note.area for note in known})
    if area is not None and area not in areas:
        raise UsageError(f"no release note is about {area!r}", f"use one of: {', '.join(areas)}")
    spec = resolve_model(model, catalog).model if model else None
    found = [
        note
        for note in _matching(known, text)
        if engine in (None, note.engine)
        and version in (None, note.version)
        and area in (None, note.area)
        and (flag is None or _flag_words(flag) in _bare(note.flags))
        and (spec is None or speaks_of(note, spec))
    ]
    undated = 0
    if since is not None:
        placed = [(note, is_since(note, engine, since, catalog)) for note in found]
        found, undated = [note for note, later in placed if later], sum(later is None for _, later in placed)
    said = [f"{undated} notes of versions that cannot be put in order are left out"] if undated else []
    asked = [words for words in (text, flag and " ".join(_flag_words(flag).split("-"))) if words]
    claims: list[Claim] = []
    measured: list[Measured] = []
    if asked or spec:
        measured, unread = _measured(asked, engine, spec)
        claims = [
            claim
            for claim in catalog.claims
            if engine in (None, claim.engine) and version in (None, claim.version)
            and all(_has_words(_cells(dict(claim)), words) for words in asked)
            and (spec is None or _names(spec, claim.claim_short))
        ]  # fmt: skip
        said += [unread] if unread else []
    return Notes(
        notes=sorted(found, key=lambda note: note.released_on, reverse=True),
        claims=claims,
        measured=measured,
        note="; ".join(said),
    )


def _measured(asked: Sequence[str], engine: str | None, spec: ModelSpec | None) -> tuple[list[Measured], str]:
    """Pairs by what they are found by, published ones first, and why the store's could not be read."""
    from knowledge.store.connection import open_store, plain_errors  # noqa: PLC0415 - duckdb only when needed
    from knowledge.store.queries import PAIRED, pairs  # noqa: PLC0415 - as above

    def wanted(found: Iterable[Pair]) -> list[Pair]:
        return [
            pair
            for pair in found
            if (engine is None or engine in pair.engine)
            and all(_has_words(pair.found_by, words) for words in asked)
            and (spec is None or _names(spec, pair.model))
        ]

    measured = summaries(wanted(published(default_catalog().effects)), "published")
    try:
        with open_store() as store, plain_errors(store.path):
            own = [pair for column in PAIRED for pair in stored(column, pairs(store.con, column))]
    except StoreError as error:
        return measured, f"the store's own pairs are not shown: {error}"
    both = [*measured, *summaries(wanted(own), "store")]
    return sorted(both, key=lambda item: -item.pairs), ""


def _has_words(record: str, text: str) -> bool:
    return all(word in record for word in text.lower().split())


def _names(spec: ModelSpec, text: str) -> bool:
    return normalise(spec.name) in normalise(text)


def _flag_words(flag: str) -> str:
    """A flag without its dashes, and without what turns it on or off."""
    bare = flag.strip().lstrip("-").lower().replace("_", "-")
    return bare.removeprefix("no-").removeprefix("enable-").removeprefix("disable-")


def _bare(flags: str) -> set[str]:
    return {_flag_words(flag) for flag in flags.split()}


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
