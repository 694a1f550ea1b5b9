"""Which reader a file of measurements gets: our own CSV, or a start log; by its content, whatever its name.

It reads no rows: `csv_rows` and `log_source` do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from knowledge.catalog import Catalog, default_catalog
from knowledge.errors import UsageError
from knowledge.ingest.csv_rows import CsvSource
from knowledge.ingest.log_lines import is_log
from knowledge.ingest.log_rows import Said
from knowledge.ingest.log_source import LogSource
from knowledge.ingest.streams import Digesting, open_stream
from knowledge.names.gpu import resolve_gpu
from knowledge.names.model import resolve_model
from knowledge.schema import Observation

FORMATS = ("auto", "csv", "log")
_LOG_NAMES = (".log", ".txt", ".out", ".err")

Source = CsvSource | LogSource


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are to be read: the format, and what the person says where a log is silent."""

    file_format: str = "auto"
    said: Said = field(default_factory=Said)


def reading(file_format: str = "auto", gpu: str | None = None, model: str | None = None) -> Reading:
    """The way of reading that options ask for.

    Raises:
        UsageError: a format that cannot be read, or a name that means nothing known.
    """
    if file_format not in FORMATS:
        raise UsageError(f"format {file_format!r} cannot be read", "use --format csv, log or auto")
    catalog = default_catalog()
    device = resolve_gpu(gpu, catalog) if gpu else None
    named = resolve_model(model, catalog) if model else None
    return Reading(
        file_format,
        Said(
            gpu=device.gpu if device else None,
            vram_gib=device.vram_gib if device else None,
            gpu_count=device.count if device and device.count > 1 else None,
            model=named.model if named else None,
            model_text=model or "",
        ),
    )


@contextmanager
def open_source(
    path: Path | str, way: Reading | None = None, catalog: Catalog | None = None
) -> Iterator[Source]:
    """Open a file, or stdin for `-`, with the reader that its content (or `way`) asks for.

    Raises:
        UsageError: missing, a folder, unreadable, empty, binary, or a CSV that is not ours.
    """
    way = way or Reading("csv")
    what = {"csv": "CSV file", "log": "log file"}.get(way.file_format, "file")
    with open_stream(path, what) as (name, stream):
        if way.file_format == "log" or (way.file_format == "auto" and _looks_like_log(name, stream)):
            yield LogSource(name, stream, catalog or default_catalog(), way.said)
            return
        if way.said != Said():
            raise UsageError(
                f"{name} is CSV, where every row names its GPU and model", "leave --gpu and --model out"
            )
        yield CsvSource(name, stream)


def _looks_like_log(name: str, stream: Digesting) -> bool:
    """A first line with the columns of a CSV of ours decides against; an engine's words, or a name, for."""
    first = stream.head(b"\n").split(b"\n", 1)[0].decode("utf-8-sig", "replace")
    columns = {cell.strip().strip('"') for cell in first.split(",")}
    if len(columns & set(Observation.model_fields)) > 1:
        return False
    head = stream.head()
    return bool(head) and (is_log(head) or (name.lower().endswith(_LOG_NAMES) and b"\0" not in head[:1024]))
