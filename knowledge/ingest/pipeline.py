"""The one road of a row into the store: read → validate → weigh → tell apart → insert; nothing is lost.

It works on a private copy of the store that someone else opened and will publish, or not, as a whole
(`knowledge.store.build`); so it commits chunk by chunk, which keeps memory bounded.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from knowledge.catalog import Catalog, default_catalog
from knowledge.ingest.csv_rows import Chunk, row_text
from knowledge.ingest.identity import content_id
from knowledge.ingest.opening import Reading, Source, open_source
from knowledge.ingest.plausibility import Judge
from knowledge.ingest.report import MAX_LISTED, IngestReport, Receipt, Reject
from knowledge.ingest.resolving import Resolver
from knowledge.ingest.validation import validate
from knowledge.schema import Observation
from knowledge.store.connection import Connection
from knowledge.store.writer import FIELDS, Origin, Tally, Writer, transaction


class Pipeline:
    """Takes files and rows into one store, counting into one report."""

    def __init__(self, con: Connection, catalog: Catalog | None = None, way: Reading | None = None) -> None:
        """Prepare to write on `con`; names are resolved in `catalog` (default: the shipped facts).

        `way` says how files are read; without it they are CSV.
        """
        self.report = IngestReport()
        self._con, self._way = con, way
        self._writer = Writer(con)
        self._catalog = catalog or default_catalog()
        self._resolver = Resolver(self._catalog)
        self._judge = Judge()

    def take_file(self, path: Path | str, origin: Origin, *, name: str | None = None) -> None:
        """Read one file (`-`: standard input) to its end; it is recorded as `name`.

        Raises:
            UsageError: when the file as a whole is not ours.
        """
        with open_source(path, self._way, self._catalog) as source:
            self.take_source(source, origin, name=name)

    def take_source(self, source: Source, origin: Origin, *, name: str | None = None) -> None:
        """Read an opened file to its end."""
        ingest_id = self._writer.next_ingest()
        at = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        tally = Tally()
        for chunk in source.chunks():
            tally += self.take_chunk(chunk, ingest_id, source.name, keep=source.keeps_receipts)
        self._writer.finish(ingest_id, name or source.name, source.sha256, origin, at, tally)

    def take_chunk(self, chunk: Chunk, ingest_id: int, file: str, *, keep: bool = False) -> Tally:
        """Check and insert one chunk; every record ends in exactly one of four places.

        With `keep` the good rows, whether known or new, are in the report too, the last `MAX_LISTED` of them.
        """
        good, bad = validate(record.cells for record in chunk.records)
        rejects = list(chunk.rejects)
        for index, column, reason in bad:
            record = chunk.records[index]
            rejects.append(Reject(file, record.line, column, reason, row_text(list(record.cells.values()))))
        rejects.sort(key=lambda reject: reject.line)
        rows = [self._row(observation, ingest_id, chunk.records[index].line) for index, observation in good]
        if keep:
            receipts = [Receipt(row, self._resolver.resolve(row)) for _, row in good]
            self.report.receipts = [*self.report.receipts, *receipts][-MAX_LISTED:]
        with transaction(self._con):
            tally, held = self._writer.write_rows(rows, limit=MAX_LISTED - len(self.report.held))
            self._writer.write_rejects(ingest_id, [(r.line, r.column, r.reason, r.text) for r in rejects])
        tally += Tally(rejected=len(rejects))
        self._count(tally, rejects, [Reject(file, row.line, None, row.reason, row.text) for row in held])
        return tally

    def _row(self, row: Observation, ingest_id: int, line: int) -> list[Any]:
        names = self._resolver.resolve(row)
        cells = row.__dict__
        return [
            content_id(row),
            ingest_id,
            line,
            *[cells[name] for name in FIELDS],
            names.gpu and names.gpu.name,
            names.model and names.model.hf_id,
            names.quant and names.quant.name,
            self._judge.reason(row, names),
        ]

    def _count(self, tally: Tally, rejects: list[Reject], held: list[Reject]) -> None:
        report = self.report
        report.read += tally.read
        report.added += tally.added
        report.duplicates += tally.duplicates
        report.quarantined += tally.quarantined
        report.rejected += tally.rejected
        report.rejects.extend(rejects[: MAX_LISTED - len(report.rejects)])
        report.held.extend(held)


def take_files(
    con: Connection,
    files: Iterable[Path | str],
    origin: Origin,
    catalog: Catalog | None = None,
    way: Reading | None = None,
) -> IngestReport:
    """All files, one after the other, into one report."""
    pipeline = Pipeline(con, catalog, way)
    for file in files:
        name = Path(file).name if origin == "shipped" else None
        pipeline.take_file(file, origin, name=name)
    return pipeline.report
