"""Taking the user's own rows over into a new store, by the road they came on first.

Rows, quarantined rows and duplicates of old user files are read back and validated, resolved, weighed and
told apart anew: a better catalog may recognise more of them, and a mended check may set some free.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb

from knowledge.ingest.csv_rows import CHUNK_ROWS, Chunk, Record
from knowledge.ingest.pipeline import Pipeline
from knowledge.store.writer import FIELDS, Tally, Writer

USER_INGESTS_SQL = """
select ingest_id, file, sha256, ingested_at from old.ingests where origin = 'user' order by ingest_id
"""
OLD_COLUMNS_SQL = "select column_name from (describe old.quarantine)"
# A user's duplicate only points at the row it repeats, which the new shipped data may no longer have.
OLD_ROWS_SQL = """
with kept as (
    select id, ingest_id, line, {fields} from old.observations
    union all select id, ingest_id, line, {fields} from old.quarantine
)
select line, {fields} from kept where ingest_id = $ingest_id
union all
select d.line, {fields_of_duplicate} from old.duplicates d join kept k using (id)
where d.ingest_id = $ingest_id
order by line
"""
COPY_REJECTS_SQL = """
insert into rejects select $new_id, line, column_name, reason, text from old.rejects where ingest_id = $old_id
"""
COUNT_REJECTS_SQL = "select count(*) from old.rejects where ingest_id = $old_id"


def replay_user_rows(con: duckdb.DuckDBPyConnection, live: Path) -> None:
    """Copy all user ingests of the store at `live` into the new store that `con` writes."""
    escaped = str(live).replace("'", "''")
    con.execute(f"attach '{escaped}' as old (read_only)")
    pipeline, writer = Pipeline(con), Writer(con)
    for old_id, file, sha256, at in con.execute(USER_INGESTS_SQL).fetchall():
        new_id = writer.next_ingest()
        con.execute(COPY_REJECTS_SQL, {"new_id": new_id, "old_id": old_id})
        rejected = con.execute(COUNT_REJECTS_SQL, {"old_id": old_id}).fetchall()[0][0]
        tally = Tally(rejected=rejected)
        for chunk in _old_chunks(con, old_id):
            tally += pipeline.take_chunk(chunk, new_id, file)
        writer.finish(new_id, file, sha256, "user", at, tally)
    con.execute("detach old")


def _old_chunks(con: duckdb.DuckDBPyConnection, ingest_id: int) -> Iterator[Chunk]:
    known = {name for (name,) in con.execute(OLD_COLUMNS_SQL).fetchall()}
    fields = [name for name in FIELDS if name in known]
    sql = OLD_ROWS_SQL.format(
        fields=", ".join(fields),
        # The repeated row's own words, but the address where the repetition stood.
        fields_of_duplicate=", ".join(f"{'d' if name == 'source_url' else 'k'}.{name}" for name in fields),
    )
    with con.cursor() as cursor:  # its own result set: the main connection inserts meanwhile
        cursor.execute(sql, {"ingest_id": ingest_id})
        while rows := cursor.fetchmany(CHUNK_ROWS):
            yield Chunk(
                [
                    Record(
                        line,
                        {
                            name: cell
                            for name, cell in zip(fields, cells, strict=True)
                            if cell not in (None, "")
                        },
                    )
                    for line, *cells in rows
                ]
            )
