"""Release notes that touch a configuration: its engine, its model or card, the flags on its command line.

It owns the choice among the notes; what they claim is their source's word, and none of it is computed with.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache

from advisor.config import Note, Setup
from advisor.engines import ON_EVERY_LINE, flags_of, newest, render
from advisor.engines.rules import parse_condition
from advisor.engines.traits import Fact, model_traits, setup_facts
from advisor.engines.versions import parse
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.names.match import normalise
from knowledge.schema import ModelSpec, ReleaseNote

_BUG_DAYS = 120
"""Reports of defects older than this, seen from the version in use, are taken to be history."""


def notes_for(setup: Setup, catalog: Catalog, limit: int = 5, *, command: str | None = None) -> list[Note]:
    """The newest `limit` notes that touch the configuration, newest first; undated ones last.

    A note touches it when it speaks of the engine, all it says about model, card and use is so here, and one
    of its telling flags is in use; without such flags it must say something about model, card or use.
    `command` is the launch command where it has been rendered already.
    """
    used = flags_of(setup.launch.engine, render(setup, catalog=catalog)[0] if command is None else command)
    facts = setup_facts(setup)
    used |= _implied(facts)
    oldest_bug = _date_in_use(setup, catalog) - dt.timedelta(days=_BUG_DAYS)
    found = [
        note
        for note in _engine_notes(setup.launch.engine, catalog)
        if _touches(note, facts, used) and not (note.area == "bug" and _day(note) < oldest_bug)
    ]
    return [
        Note(
            engine=note.engine, version=note.version, released_on=note.released_on or None,
            claim=note.claim, evidence_url=note.evidence_url,
        )
        for note in found[:limit]
    ]  # fmt: skip


@lru_cache(maxsize=16)
def _engine_notes(engine: str, catalog: Catalog) -> tuple[ReleaseNote, ...]:
    notes = [note for note in catalog.release_notes if note.engine == engine]
    return tuple(sorted(notes, key=_day, reverse=True))


def _day(note: ReleaseNote) -> dt.date:
    """The note's day; a month counts as its first, an undated note as older than all."""
    parts = [int(part) for part in note.released_on.split("-")] if note.released_on else []
    return dt.date(*(*parts, 1, 1)[:3]) if parts else dt.date.min


def _date_in_use(setup: Setup, catalog: Catalog) -> dt.date:
    """When the version in use came out: the newest note's day, or that of the named version's own notes."""
    notes = _engine_notes(setup.launch.engine, catalog)
    named = setup.launch.engine_version or getattr(newest(setup.launch.engine, catalog), "text", None)
    own = [_day(note) for note in notes if note.version == named and note.released_on]
    latest = own or [_day(note) for note in notes if note.released_on]
    return max(latest, default=dt.date.max)


def _touches(note: ReleaseNote, facts: Mapping[str, Fact], used: set[str]) -> bool:
    if not all(term.holds(facts) is True for term in parse_condition(note.applies_to)):
        return False
    named = set(note.flags.split())
    telling = named - ON_EVERY_LINE
    if telling:
        return not telling.isdisjoint(used)
    return bool(note.applies_to) and (not named or not named.isdisjoint(used))


def _implied(facts: Mapping[str, Fact]) -> set[str]:
    """Flags in force without standing on the command line, by the engines' defaults."""
    implied = set()
    if facts["engine"] == "llama.cpp":
        implied |= {"--cache-ram", "--ctx-checkpoints"} if facts["hybrid"] else set()
    elif facts["prefix_caching_on"]:
        implied |= {"--enable-prefix-caching"}
    return implied


def speaks_of(note: ReleaseNote, model: ModelSpec) -> bool:
    """Whether a note says something about models like this one, and nothing that such models are not."""
    facts = model_traits(model)
    terms = [term for term in parse_condition(note.applies_to) if term.fact in facts]
    named = normalise(model.name) in normalise(f"{note.models_or_hardware} {note.claim}")
    return named or (bool(terms) and all(term.holds(facts) is True for term in terms))


def is_since(note: ReleaseNote, engine: str | None, since: str, catalog: Catalog) -> bool | None:
    """Whether a note is of the version `since` or a later one; None where its version cannot be put in order.

    Raises:
        UsageError: `since` cannot be, or no engine says whose version it is.
    """
    if engine is None:
        raise UsageError(f"--since {since} is a version of no engine", "add --engine, such as --engine vllm")
    least = parse(engine, since, catalog)
    try:
        return parse(engine, note.version, catalog).key >= least.key
    except UsageError:
        return None
