"""Putting checked rows into a private copy of the store, thousands at a time.

It knows tables and duplicates. It does not judge rows: what comes in has been validated and weighed by
`knowledge.ingest`. Rows travel through a temporary CSV: fast on every version, and no data-frame library.
"""

from __future__ import annotations

import csv
import datetime as dt
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb

from knowledge.schema import Observation

Origin = Literal["shipped", "user"]
FIELDS = tuple(Observation.model_fields)
ROW_COLUMNS = ("id", "ingest_id", "line", *FIELDS, "gpu_id", "model_id", "quant_id")
"""Columns of `observations`, in order; `quarantine` has `reason` after them."""

_NEVER_NULL = {
    "reason",
    "offload",
    *(name for name, field in Observation.model_fields.items() if field.annotation is str),
}

COLUMN_TYPES_SQL = "select column_name, column_type from (describe quarantine)"
LOAD_SQL = """
create or replace temp table chunk as
select {select}
from read_csv($file, columns = {columns}, header = false, auto_detect = false, delim = ',', quote = '"',
    escape = '"', new_line = '\\r\\n', parallel = false, nullstr = '', max_line_size = 16000000)
"""
# The joins run from the small side, so that memory does not grow with the store.
STAGE_SQL = """
create or replace temp table staged as
with known as (
    select c.id from chunk c join observations o on o.id = c.id
    union
    select c.id from chunk c join quarantine q on q.id = c.id
)
select c.*, k.id is null and row_number() over (partition by c.id order by c.position) = 1 as fresh
from chunk c left join known k on k.id = c.id
"""
ADD_SQL = "insert into observations select {columns} from staged where fresh and reason = ''"
QUARANTINE_SQL = "insert into quarantine select {columns}, reason from staged where fresh and reason <> ''"
DUPLICATES_SQL = "insert into duplicates select id, ingest_id, line, source_url from staged where not fresh"
TALLY_SQL = """
select count(*) filter (fresh and reason = ''), count(*) filter (not fresh),
    count(*) filter (fresh and reason <> '') from staged
"""
HELD_SQL = """
select line, reason, concat_ws(' ', model, quant, 'on', gpu)
from staged where fresh and reason <> '' order by position limit $limit
"""
NEXT_INGEST_SQL = "select coalesce(max(ingest_id), 0) + 1 from ingests"
REJECTS_SQL = """
insert into rejects select $ingest_id, line, column_name, reason, coalesce(text, '')
from read_csv($file,
    columns = {'line': 'BIGINT', 'column_name': 'VARCHAR', 'reason': 'VARCHAR', 'text': 'VARCHAR'},
    header = false, auto_detect = false, delim = ',', quote = '"', escape = '"', new_line = '\\r\\n',
    parallel = false, nullstr = '', max_line_size = 16000000)
"""
FINISH_SQL = "insert into ingests values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of some rows that were read."""

    added: int = 0
    duplicates: int = 0
    quarantined: int = 0
    rejected: int = 0

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Added, duplicates, quarantined, rejected."""
        return (self.added, self.duplicates, self.quarantined, self.rejected)

    @property
    def read(self) -> int:
        """All of them."""
        return sum(self.counts)

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(a + b for a, b in zip(self.counts, other.counts, strict=True)))


@dataclass(frozen=True, slots=True)
class Held:
    """A row that went into quarantine, and why."""

    line: int
    reason: str
    text: str


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of the block or none of it."""
    con.begin()
    try:
        yield
    except BaseException:
        con.rollback()
        raise
    con.commit()


@contextmanager
def _as_csv(rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """A temporary CSV of these rows; an empty cell is NULL."""
    with tempfile.TemporaryDirectory(prefix="advisor-") as folder:
        path = Path(folder) / "rows.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            # With this terminator the writer quotes both of its characters wherever they stand in a text.
            csv.writer(file, lineterminator="\r\n").writerows(rows)
        yield str(path)


class Writer:
    """One writing session on one connection; whoever makes it also owns the transactions."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        """Learn the column types from the store itself, so that they are written down once."""
        self.con = con
        types = dict(con.execute(COLUMN_TYPES_SQL).fetchall())
        columns = ("position", *ROW_COLUMNS, "reason")
        # Enumerations pass as text: the insert casts them, and the store's own types stay the judge.
        kinds = {name: types.get(name, "BIGINT") for name in columns}
        spelled = [
            f"'{name}': '{'VARCHAR' if kind.startswith('ENUM') else kind}'" for name, kind in kinds.items()
        ]
        # Text fields have no NULL, only the empty text.
        select = [f"coalesce({name}, '') as {name}" if name in _NEVER_NULL else name for name in columns]
        self._load_sql = LOAD_SQL.format(select=", ".join(select), columns="{" + ", ".join(spelled) + "}")

    def next_ingest(self) -> int:
        """A number for the file that is about to be read."""
        return int(_only(self.con.execute(NEXT_INGEST_SQL))[0])

    def write_rows(self, rows: Sequence[Sequence[Any]], *, limit: int) -> tuple[Tally, list[Held]]:
        """Insert rows of `ROW_COLUMNS` + reason ('' for plausible ones); a known `id` becomes a duplicate.

        Returns the counts and the first `limit` rows that went into quarantine.
        """
        if not rows:
            return Tally(), []
        with _as_csv((position, *row) for position, row in enumerate(rows)) as path:
            self.con.execute(self._load_sql, {"file": path})
        for sql in (STAGE_SQL, ADD_SQL, QUARANTINE_SQL, DUPLICATES_SQL):
            self.con.execute(sql.format(columns=", ".join(ROW_COLUMNS)))
        added, duplicates, quarantined = _only(self.con.execute(TALLY_SQL))
        held = self.con.execute(HELD_SQL, {"limit": limit}).fetchall() if quarantined and limit else []
        return Tally(added, duplicates, quarantined), [Held(*row) for row in held]

    def write_rejects(self, ingest_id: int, rows: Sequence[tuple[int, str | None, str, str]]) -> None:
        """Keep records that were no observations: line, column, reason, text."""
        if rows:
            with _as_csv(rows) as path:
                self.con.execute(REJECTS_SQL, {"ingest_id": ingest_id, "file": path})

    def finish(
        self, ingest_id: int, file: str, sha256: str, origin: Origin, at: dt.datetime, tally: Tally
    ) -> None:
        """Close the books of one file; the store refuses counts that do not balance."""
        self.con.execute(
            FINISH_SQL,
            [ingest_id, file, sha256, origin, at, tally.read, *tally.counts],
        )


def _only(result: duckdb.DuckDBPyConnection) -> tuple[Any, ...]:
    row: tuple[Any, ...] = result.fetchall()[0]
    return row
