"""Reading our own CSV: a header of `Observation` columns, one run per record, in any order of columns.

It yields chunks of raw cells with the line each record starts at, and the records that are not even rows.
What the cells mean is `knowledge.ingest.validation`'s business. A file is read once, from start to end, in
bounded memory, so that a pipe will do.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from knowledge.errors import UsageError
from knowledge.ingest.report import Reject
from knowledge.ingest.streams import WIDE_BOMS, Digesting, open_stream
from knowledge.schema import Observation

CHUNK_ROWS = 10_000
_TEXT_LIMIT = 300
_REQUIRED = tuple(name for name, field in Observation.model_fields.items() if field.is_required())


@dataclass(frozen=True, slots=True)
class Record:
    """One record: where it starts, and its cells without the empty ones."""

    line: int
    cells: dict[str, str]


@dataclass(slots=True)
class Chunk:
    """Some records in file order, and the records beside them that could not be split into cells."""

    records: list[Record] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records) + len(self.rejects)


class CsvSource:
    """An open CSV whose header has been understood. Make it with `open_csv`."""

    keeps_receipts = False

    def __init__(self, name: str, stream: Digesting) -> None:
        """Look at the first bytes and the header.

        Raises:
            UsageError: binary, UTF-16, empty, no rows, or a header that is not ours.
        """
        self.name = name
        self._stream = stream
        buffered = io.BufferedReader(stream, buffer_size=1 << 16)
        _check_bytes(name, buffered.peek(1))
        # Bytes that are no UTF-8 pass as surrogates, so that one bad cell costs one row and not the file.
        text = io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")
        self._reader = csv.reader(text, strict=True)
        self._header = self._read_header()

    @property
    def sha256(self) -> str:
        """Digest of the bytes read so far; of the file once `chunks` is exhausted."""
        return self._stream.digest.hexdigest()

    def chunks(self) -> Iterator[Chunk]:
        """All records in file order, at most `CHUNK_ROWS` at a time."""
        chunk = Chunk()
        for record in self._records():
            if isinstance(record, Reject):
                chunk.rejects.append(record)
            else:
                chunk.records.append(record)
            if len(chunk) >= CHUNK_ROWS:
                yield chunk
                chunk = Chunk()
        if len(chunk):
            yield chunk

    def _read_header(self) -> list[str]:
        try:
            header = [cell.strip() for cell in next(filter(None, self._reader))]
        except StopIteration:
            raise UsageError(f"{self.name} is empty", _hint_header()) from None
        except csv.Error as error:
            raise UsageError(
                f"{self.name}: the first line is no CSV header ({error})", _hint_header()
            ) from error
        check_header(self.name, header)
        return header

    def _records(self) -> Iterator[Record | Reject]:
        header, reader = self._header, self._reader
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield self._torn(line, reader.line_num, error)
                continue
            if not row:
                continue  # an empty line is no record
            if len(row) != len(header):
                reason = f"has {len(row)} cells where the header has {len(header)}"
                yield Reject(self.name, line, None, reason, row_text(row))
                continue
            cells = {name: text for name, cell in zip(header, row, strict=True) if (text := cell.strip())}
            if not is_text("".join(row)):
                bad = next(name for name, cell in zip(header, row, strict=True) if not is_text(cell))
                yield Reject(self.name, line, bad, "is not UTF-8 text", row_text(row))
            else:
                yield Record(line, cells)

    def _torn(self, first: int, last: int, error: csv.Error) -> Reject:
        through = f" (lines {first} to {last} were read as one)" if last > first else ""
        return Reject(self.name, first, None, f"is not CSV: {error}{through}", "")


def _check_bytes(name: str, head: bytes) -> None:
    if not head:
        raise UsageError(f"{name} is empty", _hint_header())
    if head.startswith(WIDE_BOMS):
        raise UsageError(f"{name} is UTF-16 or UTF-32 text", "save it as UTF-8")
    if b"\0" in head:
        raise UsageError(f"{name} is a binary file, not CSV", _hint_header())


def check_header(name: str, header: list[str]) -> None:
    """Raise `UsageError` unless every column is a known one, once, and none that is needed is missing."""
    known = list(Observation.model_fields)
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise UsageError(f"{name}: the columns are not separated by commas", "export it as comma-separated")
    if len(header) == 1 and header[0] not in known:
        raise UsageError(
            f"{name} is no CSV of runs, no output of llama-bench and no start log", _hint_header()
        )
    for column in header:
        if column not in known:
            near = difflib.get_close_matches(column.lower(), known, 1)
            meant = f"did you mean {near[0]}?" if near else f"known columns: {', '.join(known)}"
            raise UsageError(f"{name}: unknown column {printable(column)!r}", meant)
        if header.count(column) > 1:
            raise UsageError(f"{name}: column {column!r} appears twice", "keep one of them")
    if missing := [column for column in _REQUIRED if column not in header]:
        raise UsageError(f"{name}: no column {', '.join(missing)}", _hint_header())


def _hint_header() -> str:
    return f"the first line names the columns; needed are {', '.join(_REQUIRED)}"


def is_text(cell: str) -> bool:
    """Whether the bytes behind a cell were UTF-8 and no NUL among them."""
    return "\0" not in cell and (cell.isascii() or not any("\ud800" <= char <= "\udfff" for char in cell))


def printable(text: str) -> str:
    """The start of a text, safe to print and to store."""
    clean = text.encode("utf-8", "replace").decode().replace("\0", "␀")
    return clean if len(clean) <= _TEXT_LIMIT else clean[:_TEXT_LIMIT] + "…"


def row_text(cells: list[str]) -> str:
    """The start of a record as it stood in the file, safe to print and to store."""
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return printable(line.getvalue().rstrip("\r\n"))


@contextmanager
def open_csv(path: Path | str) -> Iterator[CsvSource]:
    """Open a file, or stdin for `-`, and understand its header.

    Raises:
        UsageError: missing, a folder, unreadable, or not a CSV of ours.
    """
    with open_stream(path, "CSV file") as (name, stream):
        yield CsvSource(name, stream)
