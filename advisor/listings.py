"""What the commands that look things up answer: the JSON of `gpus`, `models`, `notes`, `ingest`, `doctor` ….

Shapes only: every one carries `schema_version` and names its entries. What they hold is `advisor.service`'s.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from advisor.config import SCHEMA_VERSION, Answer
from knowledge.schema import Flag, Gpu, ModelSpec, Quant, ReleaseNote


class Listing(Answer):
    """Base of every look-up."""

    # only one of these is ever used by a command: none is compiled before it is
    model_config = ConfigDict(defer_build=True)

    schema_version: int = SCHEMA_VERSION


class Gpus(Listing):
    """Devices of the catalog."""

    gpus: list[Gpu]


class Models(Listing):
    """Models of the catalog."""

    models: list[ModelSpec]


class Quants(Listing):
    """Quantization formats of the catalog."""

    quants: list[Quant]


class Flags(Listing):
    """Launch flags of the engines."""

    flags: list[Flag]


class Notes(Listing):
    """What engine versions claim to have changed."""

    notes: list[ReleaseNote]


class Observations(Listing):
    """Measured runs of the store; `total` is how many it holds, `observations` those asked for.

    `note` says why the store is not the user's own, where it is not.
    """

    total: int
    note: str
    observations: list[dict[str, Any]]


class Reject(Answer):
    """A record that was not taken in, and why; `column` is null when the whole record is wrong."""

    file: str
    line: int
    column: str | None
    reason: str
    text: str


class Ingested(Listing):
    """The balance of an ingestion: read = added + duplicates + rejected + quarantined."""

    read: int
    added: int
    duplicates: int
    rejected: int
    quarantined: int
    rejects: list[Reject]
    quarantine: list[Reject]
    """Rows that say the impossible, with the reason."""
    effect: dict[str, Any]
    """What it changes: `dry_run`, and the command that learns from the rows."""


class Check(Answer):
    """One thing that `advisor doctor` looked at."""

    name: str
    ok: bool
    detail: str


class Health(Listing):
    """All checks of `advisor doctor`; `exit_code` is 0 or that of the first failure."""

    exit_code: int
    checks: list[Check]
