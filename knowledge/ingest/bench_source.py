"""The output of llama-bench as a source of rows, like a CSV of ours: one record per test, or a reject.

It goes through the file once, in bounded memory, whichever of its forms it has.
"""

from __future__ import annotations

from collections.abc import Iterator

from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.ingest import csv_rows
from knowledge.ingest.bench_forms import form_of, tests_of
from knowledge.ingest.bench_rows import cells_of, summary_of
from knowledge.ingest.csv_rows import Chunk, Record, is_text, printable
from knowledge.ingest.log_lines import is_binary
from knowledge.ingest.printed_names import NoRowError, Said
from knowledge.ingest.report import Reject
from knowledge.ingest.streams import Digesting

_HINT = "give what llama-bench printed: its table, or -o json, jsonl or csv"


class BenchSource:
    """An open output of llama-bench. Its rows are runs like others, no starts (`keeps_receipts`)."""

    keeps_receipts = False

    def __init__(self, name: str, stream: Digesting, catalog: Catalog, said: Said) -> None:
        """Look at the first bytes.

        Raises:
            UsageError: empty, binary, SQL, or nothing that llama-bench prints.
        """
        self.name = name
        self._stream, self._catalog, self._said = stream, catalog, said
        head = stream.head()
        if not head:
            raise UsageError(f"{name} is empty", _HINT)
        if is_binary(head[:1024]):
            raise UsageError(f"{name} is a binary file", _HINT)
        form = form_of(head)
        if form == "sql":
            raise UsageError(f"{name} is SQL, which is not read", "run llama-bench with -o jsonl")
        if form is None:
            raise UsageError(f"{name} begins with no output of llama-bench", _HINT)
        self._form = form

    @property
    def sha256(self) -> str:
        """Digest of the bytes read so far; of the file once `chunks` is exhausted."""
        return self._stream.digest.hexdigest()

    def chunks(self) -> Iterator[Chunk]:
        """All tests in file order, at most `csv_rows.CHUNK_ROWS` at a time."""
        chunk, found = Chunk(), False
        for item in self._items():
            found = True
            if isinstance(item, Record):
                chunk.records.append(item)
            else:
                chunk.rejects.append(item)
            if len(chunk) >= csv_rows.CHUNK_ROWS:
                yield chunk
                chunk = Chunk()
        if not found:
            chunk.rejects.append(
                Reject(self.name, 1, None, "holds no test: the run ended before its first", "")
            )
        if len(chunk):
            yield chunk

    def _items(self) -> Iterator[Record | Reject]:
        for test in tests_of(self._stream, self._form):
            reason, line = test.problem, test.line
            if not reason:
                try:
                    cells = cells_of(test, self.name, self._catalog, self._said)
                except NoRowError as error:
                    reason = error.reason
                else:
                    if is_text("".join(cells.values())):
                        yield Record(line, cells)
                        continue
                    reason = "is not UTF-8 text"
            yield Reject(self.name, line, None, reason, printable(summary_of(test)))
