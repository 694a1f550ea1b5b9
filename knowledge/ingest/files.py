"""Taking a user's files into the store: all of them or none, published at once.

It owns the order of things (look at every file, lock, copy, read, swap) and nothing of how each is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from knowledge.errors import UsageError
from knowledge.ingest.opening import Reading, open_source
from knowledge.ingest.pipeline import take_files
from knowledge.ingest.report import IngestReport
from knowledge.paths import home_dir
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
    if not paths:
        raise UsageError("no file to ingest", "write for example: advisor ingest runs.csv")
    for path in paths:
        if not _flows(path):  # look at every header before anything is done
            with open_source(path, way):
                pass
    with rewriting(home or home_dir(), publish=not dry_run) as con:
        return take_files(con, paths, origin, way=way)


def _flows(path: Path | str) -> bool:
    """Whether a path is standard input, a pipe or the like, which can be read only once."""
    return str(path) == "-" or (Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir())
