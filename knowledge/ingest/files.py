"""Taking a user's files into the store: all of them or none, published at once.

It owns the order of things (look at every file, lock, copy, read, swap) and nothing of how each is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from knowledge.errors import UsageError
from knowledge.ingest.opening import Reading, open_source
from knowledge.ingest.pipeline import take_files
from knowledge.ingest.report import IngestReport
from knowledge.ingest.streams import placed
from knowledge.paths import home_dir
from knowledge.store import queries
from knowledge.store.build import rewriting
from knowledge.store.writer import Origin


def ingest_files(
    paths: Sequence[Path | str],
    *,
    dry_run: bool = False,
    home: Path | None = None,
    origin: Origin = "user",
    way: Reading | None = None,
) -> IngestReport:
    """Add the rows of files (`-`: standard input) to the store in `home` (default: the user's folder).

    They are CSV of ours, or what `way` says.

    Reading a file again adds nothing: its rows are counted as duplicates. With `dry_run` the same report is
    made and nothing is kept.

    Raises:
        UsageError: a path that cannot be read so; nothing is added then.
        StoreError: the store is being written, cannot be written, is damaged or newer; nothing is added then.
    """
    _look_at(paths, way)
    with rewriting(home or home_dir(), publish=not dry_run) as con:
        return take_files(con, paths, origin, way=way)


@dataclass(frozen=True, slots=True)
class Trial:
    """What an ingestion would come to: its report, the user's rows as they would be, the new ones of them."""

    report: IngestReport
    own: list[queries.Row]
    new: list[queries.Row]


def try_files(
    paths: Sequence[Path | str], *, most: int, home: Path | None = None, way: Reading | None = None
) -> Trial:
    """As `ingest_files`, but nothing is kept; of the rows, at most so many of each kind.

    Raises:
        UsageError: as `ingest_files`.
        StoreError: as `ingest_files`.
    """
    _look_at(paths, way)
    with rewriting(home or home_dir(), publish=False) as con:
        last = queries.last_ingest(con)
        report = take_files(con, paths, "user", way=way)
        own = queries.own_rows(con, most=most)
        return Trial(report, own, queries.own_rows(con, after=last, most=most))


def _look_at(paths: Sequence[Path | str], way: Reading | None) -> None:
    """Every header before anything is done."""
    if not paths:
        raise UsageError("no file to ingest", "write for example: advisor ingest runs.csv")
    for path in paths:
        if not _flows(path, way.folder if way else None):
            with open_source(path, way):
                pass


def _flows(path: Path | str, folder: Path | None) -> bool:
    """Whether a path is standard input, a pipe or the like, which can be read only once."""
    place = Path(placed(path, folder))
    return str(place) == "-" or (place.exists() and not place.is_file() and not place.is_dir())
