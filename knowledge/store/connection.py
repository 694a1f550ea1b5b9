"""Opening the store: one DuckDB file of observations, read-only for everyone who asks questions.

It knows what a good store looks like and how DuckDB's complaints read in plain words. It does not know how
a store is made (`knowledge.store.build`) nor what is asked of it (`knowledge.store.queries`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb

from knowledge.errors import StoreError
from knowledge.paths import home_dir
from knowledge.store.fingerprint import data_fingerprint

Connection = duckdb.DuckDBPyConnection
"""What the rest of the house calls an open database; only this room imports duckdb."""

SCHEMA_VERSION = 1
STORE_NAME = "store.duckdb"
BUILD_WAIT_SECONDS = 20.0
"""How long a reader waits for another process that is making the store it needs (a build takes seconds)."""


class UnwritableError(StoreError):
    """The data folder cannot be made or written."""


@dataclass(slots=True)
class Store:
    """An open store. `path` is None when it lives in memory; `note` then says why, for the user.

    A process that keeps one open after another process has replaced the file goes on reading the old rows
    until it closes this and opens again.
    """

    con: duckdb.DuckDBPyConnection
    path: Path | None
    note: str = ""

    def close(self) -> None:
        """Release the file."""
        self.con.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(path: Path | None, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the house's settings; `None` is memory.

    Raises:
        StoreError: when DuckDB cannot open the file: locked by a process, corrupt, not a database, forbidden.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        # The wheel carries all that is used; a missing extension must be an error, not a download.
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "threads": 2,
        "memory_limit": "448MB",
    }
    if not duckdb.__version__.startswith("1."):
        # DuckDB 2 writes files that 1.5 cannot read unless told to.
        config["storage_compatibility_version"] = "v1.5.0"
    try:
        return duckdb.connect(str(path) if path else ":memory:", read_only=read_only, config=config)
    except (duckdb.Error, OSError) as error:
        raise plain_error(path, error) from error


def plain_error(path: Path | None, error: Exception) -> StoreError:
    """DuckDB's complaint about a file as one line and what to do about it."""
    text = str(error).splitlines()[0]
    where = path or "the store"
    if holder := re.search(r"held in (.*?) \(PID (\d+)\)", text):
        name = Path(holder[1]).name
        return StoreError(
            f"{where} is locked by process {holder[2]} ({name})", "wait for it to end, then try again"
        )
    if "not a valid DuckDB" in text or "Could not read" in text or "orrupt" in text:
        return StoreError(
            f"{where} is not a DuckDB file, or a damaged one",
            "move it away and run the command again: it is built anew",
        )
    return StoreError(f"{where} cannot be used: {text}", "see: advisor doctor")


@contextmanager
def plain_errors(path: Path | None) -> Iterator[None]:
    """Turn what disk and memory refuse in this block into a `StoreError` about `path`; our mistakes pass."""
    try:
        yield
    except (duckdb.OperationalError, OSError) as error:
        raise plain_error(path, error) from error


def read_meta(con: duckdb.DuckDBPyConnection, path: Path | None) -> dict[str, str]:
    """The store's own description: `schema_version`, `fingerprint`, `created_by`.

    Raises:
        StoreError: when the database is not ours, or of a newer schema than this program knows.
    """
    try:
        meta = dict(con.execute("select key, value from meta").fetchall())
        version = int(meta["schema_version"])
    except (duckdb.CatalogException, duckdb.BinderException, KeyError, ValueError) as error:
        raise StoreError(
            f"{path} is a database, but not an advisor store",
            "move it away, or point ADVISOR_HOME at another folder",
        ) from error
    except duckdb.Error as error:
        raise plain_error(path, error) from error
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was made by a newer advisor (schema {version}; this one knows {SCHEMA_VERSION})",
            "upgrade advisor, or point ADVISOR_HOME at another folder",
        )
    return meta


def is_current(meta: dict[str, str]) -> bool:
    """Whether a store holds today's shipped data under today's schema."""
    return meta["schema_version"] == str(SCHEMA_VERSION) and meta.get("fingerprint") == data_fingerprint()


def open_store(home: Path | None = None) -> Store:
    """The store, read-only and current: built on first use, rebuilt when the shipped data have changed.

    Where the folder cannot be written, an older store of the same schema is used as it is; without one the
    shipped rows are read into memory. `Store.note` says so.

    Raises:
        StoreError: locked, damaged, foreign or newer store.
    """
    try:
        folder = home or home_dir()
    except StoreError as error:
        return _in_memory(error.message)
    path = folder / STORE_NAME
    store, meta = _open_existing(path)
    if store and is_current(meta):
        return store
    if store:
        store.close()
    try:
        _refresh(folder)
    except UnwritableError as error:
        if meta.get("schema_version") == str(SCHEMA_VERSION):
            note = f"{error.message}; answering from the older rows in it"
            return Store(connect(path, read_only=True), path, note)
        return _in_memory(error.message)
    return Store(connect(path, read_only=True), path)


def _in_memory(note: str) -> Store:
    from knowledge.store.build import in_memory  # noqa: PLC0415 - whoever finds a current store never loads it

    return in_memory(note)


def _refresh(folder: Path) -> None:
    from knowledge.store.build import refresh  # noqa: PLC0415 - as above

    refresh(folder, wait_seconds=BUILD_WAIT_SECONDS)


def _open_existing(path: Path) -> tuple[Store | None, dict[str, str]]:
    """The store at `path` and its description, or nothing when there is none that could be seen."""
    try:
        if not path.exists():
            return None, {}
    except OSError:  # a folder that may not be looked into
        return None, {}
    con = connect(path, read_only=True)
    try:
        return Store(con, path), read_meta(con, path)
    except StoreError:
        con.close()
        raise
