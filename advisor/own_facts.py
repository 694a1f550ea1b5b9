"""Release notes and flags of the user's own: taken in whole rows, checked as the shipped ones are.

It owns the two files in the user's folder. What notes and flags do, the rooms that read them say.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from advisor.engines.rules import parse_condition
from knowledge.catalog import Catalog, Misfit, checked_facts, default_catalog
from knowledge.errors import AdvisorError, StoreError, UsageError
from knowledge.ingest.report import Reject
from knowledge.paths import own_facts_dir
from knowledge.schema import Flag, Record, ReleaseNote
from knowledge.swapped import write_whole

_ADDRESS = ("http://", "https://", "file:")


class Kind(NamedTuple):
    """One file of facts: its name, its records, and the columns that tell it from others."""

    name: str
    record: type[Record]
    told_by: frozenset[str]
    key: tuple[str, ...]


KINDS = (
    Kind(
        "release_notes.csv", ReleaseNote, frozenset({"engine", "version", "claim", "evidence_url"}),
        ("engine", "version", "claim"),
    ),
    Kind("flags.csv", Flag, frozenset({"engine", "flag", "source_url"}), ("engine", "flag")),
)  # fmt: skip


@dataclass(slots=True)
class Taken:
    """What became of the rows of a file; read = added + duplicates + rejected."""

    read: int = 0
    added: int = 0
    duplicates: int = 0
    rejects: list[Reject] = field(default_factory=list)


def kind_of(path: Path | str) -> Kind | None:
    """Which facts a file holds, by its header; None for anything else."""
    if not Path(path).is_file():
        return None  # a pipe can be read only once
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            columns = set(next(csv.reader(file), ()))
    except (OSError, UnicodeDecodeError, csv.Error):
        return None  # whoever reads measurements says what is wrong with it
    return next((kind for kind in KINDS if kind.told_by <= columns), None)


def take(path: Path | str, kind: Kind, *, keep: bool) -> Taken:
    """The rows of a file into the user's own facts; `keep`: False only looks.

    A flag that the user has stated before is stated anew. Rows that do not fit are left out, others are in.

    Raises:
        UsageError: a column that such facts do not have.
        StoreError: the user's folder cannot be written.
        AdvisorError: the user's own facts of before are damaged.
    """
    file, catalog = Path(path), default_catalog()
    _check_columns(file, kind)
    taken = Taken()
    engines = {note.engine for note in catalog.release_notes} | {flag.engine for flag in catalog.flags}
    known = {_key(kind, row): row for row in _own(kind)}
    shipped = {_key(kind, row): row for row in _shipped(kind, catalog)}
    for line, read in checked_facts(file, kind.record):
        taken.read += 1
        row = read if isinstance(read, Misfit) else _misfit(read, engines) or read
        if isinstance(row, Misfit):
            taken.rejects.append(Reject(file.name, line, row.column or None, row.reason, ""))
        elif row in (known.get(_key(kind, row)), shipped.get(_key(kind, row))):
            taken.duplicates += 1
        else:
            known[_key(kind, row)] = row
            taken.added += 1
    if keep and taken.added:
        _write(kind, known.values())
    return taken


def _misfit(row: Record, engines: Collection[str]) -> Misfit | None:
    """What the schema cannot see: an engine, condition or address that nobody could use."""
    address = getattr(row, "evidence_url", "") or getattr(row, "source_url", "")
    if not str(address).startswith(_ADDRESS):
        return Misfit("evidence_url" if isinstance(row, ReleaseNote) else "source_url", "no address")
    engine = getattr(row, "engine", "")
    if engine not in engines:
        return Misfit("engine", f"{engine!r} is not one of: {', '.join(sorted(engines))}")
    if isinstance(row, ReleaseNote):
        try:
            parse_condition(row.applies_to)
        except AdvisorError:
            return Misfit("applies_to", f"{row.applies_to!r} is no condition of the rules' language")
    return None


def _check_columns(file: Path, kind: Kind) -> None:
    with file.open(newline="", encoding="utf-8-sig") as opened:
        columns = next(csv.reader(opened), [])
    unknown = [name for name in columns if name not in kind.record.model_fields]
    if unknown:
        raise UsageError(
            f"{file.name}: such facts have no column {unknown[0]!r}",
            f"they have: {', '.join(kind.record.model_fields)}",
        )


def _own(kind: Kind) -> Sequence[Record]:
    path = own_facts_dir() / kind.name
    if not path.exists():
        return ()
    rows = []
    for line, row in checked_facts(path, kind.record):
        if isinstance(row, Misfit):
            raise AdvisorError(
                f"{path}:{line}: {row.column}: {row.reason}", "mend the row or remove the file"
            )
        rows.append(row)
    return rows


def _shipped(kind: Kind, catalog: Catalog) -> Sequence[Record]:
    return catalog.release_notes if kind.record is ReleaseNote else catalog.flags


def _key(kind: Kind, row: Record) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in kind.key)


def _write(kind: Kind, rows: Iterable[Record]) -> None:
    """All rows into a new file that is swapped in; the folder's date changes with it."""
    folder = own_facts_dir()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(kind.record.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(dict(row) for row in rows)
    try:
        write_whole(folder / kind.name, text.getvalue())
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error.strerror})", "point ADVISOR_HOME at a folder that can"
        ) from error
