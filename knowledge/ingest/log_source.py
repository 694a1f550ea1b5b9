"""A start log as a source of rows, like a CSV of ours: one record per start, or a reject that says why not.

It goes through the file once, in bounded memory, and changes reader where the engine changes.
"""

from __future__ import annotations

from collections.abc import Iterator

from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.ingest import csv_rows, llamacpp_patterns, vllm_patterns
from knowledge.ingest.csv_rows import Chunk, Record
from knowledge.ingest.llamacpp_log import LlamaCppLog
from knowledge.ingest.log_lines import date_of, is_binary, lines_of
from knowledge.ingest.log_rows import cells_of
from knowledge.ingest.log_start import Start
from knowledge.ingest.printed_names import NoRowError, Said
from knowledge.ingest.report import Reject
from knowledge.ingest.streams import Digesting
from knowledge.ingest.vllm_log import VllmLog

Reader = LlamaCppLog | VllmLog


class LogSource:
    """An open log. Its rows are receipts of the user's own machine (`keeps_receipts`)."""

    keeps_receipts = True

    def __init__(self, name: str, stream: Digesting, catalog: Catalog, said: Said) -> None:
        """Look at the first bytes.

        Raises:
            UsageError: empty or binary.
        """
        self.name = name
        self._stream, self._catalog, self._said = stream, catalog, said
        head = stream.head(b"\n")
        if not head:
            raise UsageError(f"{name} is empty", "give the log of a start of llama.cpp or vLLM")
        if is_binary(head):
            raise UsageError(
                f"{name} is a binary file, not a log", "give the text that the engine printed as it started"
            )

    @property
    def sha256(self) -> str:
        """Digest of the bytes read so far; of the file once `chunks` is exhausted."""
        return self._stream.digest.hexdigest()

    def chunks(self) -> Iterator[Chunk]:
        """All starts in file order, at most `csv_rows.CHUNK_ROWS` at a time; a reject where there is none."""
        chunk, found = Chunk(), False
        for start in self._starts():
            found = True
            try:
                chunk.records.append(
                    Record(start.line, cells_of(start, self.name, self._catalog, self._said))
                )
            except NoRowError as error:
                chunk.rejects.append(Reject(self.name, error.line, None, error.reason, _summary(start)))
            if len(chunk) >= csv_rows.CHUNK_ROWS:
                yield chunk
                chunk = Chunk()
        if not found:
            chunk.rejects.append(Reject(self.name, 1, None, "holds no start of llama.cpp or vLLM", ""))
        if len(chunk):
            yield chunk

    def _starts(self) -> Iterator[Start]:
        reader: Reader | None = None
        date: str | None = None
        for line, text in lines_of(self._stream):
            wanted = _reader_for(text)
            if wanted is not None and not isinstance(reader, wanted):
                if reader is not None:
                    yield from _dated(reader.end(), date)
                reader = wanted()
            if reader is None:
                continue
            yield from _dated(reader.feed(line, text), date)
            date = date_of(text) or date
        if reader is not None:
            yield from _dated(reader.end(), date)


def _reader_for(text: str) -> type[LlamaCppLog | VllmLog] | None:
    """Whose line this is beyond doubt."""
    if vllm_patterns.SIGNS.search(text):
        return VllmLog
    return LlamaCppLog if llamacpp_patterns.SIGNS.search(text) else None


def _dated(starts: Iterator[Start], date: str | None) -> Iterator[Start]:
    """The starts with the day of their last line, where lines are stamped with full dates."""
    for start in starts:
        if date is not None:
            start.cells.setdefault("observed_on", date)
        yield start


def _summary(start: Start) -> str:
    """A start in a few words, for the list of rejects."""
    words = [start.engine, start.cells.get("engine_version", ""), *start.names[:1], start.complaint]
    return ", ".join(word for word in words if word)[:300]
