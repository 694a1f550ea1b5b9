"""Making and replacing the store: a new file is prepared beside the old one and swapped in whole.

Whatever happens to a writer, the live file is either the one from before or the finished new one; readers
never wait. What is shipped is read anew from its CSVs whenever it or the schema has changed, and the user's
rows are taken over by the road they came on first. It does not judge rows (`knowledge.ingest`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb

from knowledge.ingest.pipeline import take_files
from knowledge.store.connection import (
    SCHEMA_VERSION,
    STORE_NAME,
    Store,
    UnwritableError,
    connect,
    is_current,
    plain_error,
    plain_errors,
    read_meta,
)
from knowledge.store.fingerprint import data_fingerprint, shipped_files
from knowledge.store.lock import writer_lock
from knowledge.store.replay import replay_user_rows

SCHEMA_FILE = Path(__file__).with_name("schema.sql")
META_SQL = "insert into meta values ('schema_version', ?), ('fingerprint', ?), ('created_by', ?)"


def in_memory(note: str) -> Store:
    """The shipped rows alone, in memory, where no file can be kept; `note` says why (about two seconds)."""
    con = connect(None)
    with plain_errors(None):
        _fill(con)
    return Store(con, None, f"{note}; answering from the shipped rows alone")


def refresh(folder: Path, *, wait_seconds: float = 0.0) -> None:
    """Make sure that `folder` holds a current store.

    Raises:
        UnwritableError: when the folder cannot be written.
        StoreError: locked, damaged, foreign or newer store.
    """
    with rewriting(folder, wait_seconds=wait_seconds):
        pass


@contextmanager
def rewriting(
    folder: Path, *, wait_seconds: float = 0.0, publish: bool = True
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A private, current, writable copy of the store; it becomes the store when the block ends well.

    With `publish=False` it is thrown away instead, and `folder` is only read.

    Raises:
        UnwritableError: when the folder cannot be written.
        StoreError: naming the process that writes now; damaged, foreign or newer store.
    """
    live = folder / STORE_NAME
    with ExitStack() as stack:
        if publish:
            _lock(stack, folder, wait_seconds)
            _clean(folder, f"{STORE_NAME}.*.tmp*")  # left by a writer that was killed
            work = folder / f"{STORE_NAME}.{os.getpid()}.tmp"
        else:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="advisor-"))) / STORE_NAME
        stack.callback(_clean, folder=work.parent, pattern=f"{work.name}*")
        con, changed = _prepare(live, work)
        stack.callback(con.close)
        before = _ingest_count(con)
        try:
            yield con
        except duckdb.OperationalError as error:  # disk or memory gave out
            raise plain_error(work, error) from error
        if publish and (changed or _ingest_count(con) != before):
            with plain_errors(work):
                con.execute("checkpoint")
                con.close()
                _swap(work, live)


def _lock(stack: ExitStack, folder: Path, wait_seconds: float) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(writer_lock(folder, wait_seconds=wait_seconds))
    except OSError as error:
        raise UnwritableError(
            f"the data folder {folder} cannot be written ({error.strerror})",
            "point ADVISOR_HOME at a folder that can",
        ) from error


def _prepare(live: Path, work: Path) -> tuple[duckdb.DuckDBPyConnection, bool]:
    """A writable current store at `work`, and whether it differs from the live one."""
    existed = live.exists()
    if existed:
        # Held open while copying: nobody can write what is being copied.
        old = connect(live, read_only=True)
        try:
            if is_current(read_meta(old, live)):
                with plain_errors(work):
                    shutil.copyfile(live, work)
                return connect(work), False
        finally:
            old.close()
    con = connect(work)
    try:
        with plain_errors(work):
            _fill(con)
            if existed:
                replay_user_rows(con, live)
    except BaseException:
        con.close()
        raise
    return con, True


def _fill(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(SCHEMA_FILE.read_text(encoding="utf-8"))
    con.execute(META_SQL, [str(SCHEMA_VERSION), data_fingerprint(), f"duckdb {duckdb.__version__}"])
    take_files(con, shipped_files(), "shipped")


def _ingest_count(con: duckdb.DuckDBPyConnection) -> int:
    return int(con.execute("select count(*) from ingests").fetchall()[0][0])


def _swap(work: Path, live: Path) -> None:
    """Put the finished file in place, on the disk before the name changes hands."""
    with work.open("rb") as file:
        os.fsync(file.fileno())
    work.replace(live)
    if os.name == "posix":
        folder = os.open(live.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _clean(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
