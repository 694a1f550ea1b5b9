"""What an ingestion answers: counts that balance, and the first rows that were not taken in, with reasons."""

from __future__ import annotations

from dataclasses import dataclass, field

from knowledge.ingest.resolving import Names
from knowledge.schema import Observation

MAX_LISTED = 1000
"""Rows listed in a report; all are counted, and all are in the store's tables."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A record of a file and what is wrong with it. `line` is where it starts in the file, from 1."""

    file: str
    line: int
    column: str | None
    """None when the whole record is wrong."""
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A start of an engine on the user's own machine, and what its names mean."""

    row: Observation
    names: Names


@dataclass(slots=True)
class IngestReport:
    """`read == added + duplicates + quarantined + rejected`, always."""

    read: int = 0
    added: int = 0
    duplicates: int = 0
    rejected: int = 0
    quarantined: int = 0
    rejects: list[Reject] = field(default_factory=list)
    """The first records that are no observations."""
    held: list[Reject] = field(default_factory=list)
    """The first rows that say the impossible (`column` is None)."""
    receipts: list[Receipt] = field(default_factory=list)
    """The starts that logs told of, in their order; those that the store already had among them."""
