"""Which reader a file of measurements gets: our CSV, llama-bench's output, or a start log; by its content.

It reads no rows: `csv_rows`, `bench_source` and `log_source` do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from knowledge.catalog import Catalog, default_catalog
from knowledge.errors import UsageError
from knowledge.ingest.bench_forms import form_of
from knowledge.ingest.bench_source import BenchSource
from knowledge.ingest.csv_rows import CsvSource
from knowledge.ingest.log_lines import is_log
from knowledge.ingest.log_source import LogSource
from knowledge.ingest.printed_names import Said
from knowledge.ingest.streams import Digesting, open_stream
from knowledge.names.gpu import resolve_gpu
from knowledge.names.model import resolve_model
from knowledge.schema import Observation

FORMATS = ("auto", "csv", "bench", "log")
_LOG_NAMES = (".log", ".txt", ".out", ".err")

Source = BenchSource | CsvSource | LogSource


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are to be read: the format, and what the person says where a file is silent.

    With `folder` the files lie in there and are called by their names within: uploads, under their own names.
    """

    file_format: str = "auto"
    said: Said = field(default_factory=Said)
    folder: Path | None = None


def reading(
    file_format: str = "auto",
    gpu: str | None = None,
    model: str | None = None,
    folder: Path | str | None = None,
) -> Reading:
    """The way of reading that options ask for.

    Raises:
        UsageError: a format that cannot be read, or a name that means nothing known.
    """
    if file_format not in FORMATS:
        raise UsageError(f"format {file_format!r} cannot be read", f"use one of: {', '.join(FORMATS)}")
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
        None if folder is None else Path(folder),
    )


@contextmanager
def open_source(
    path: Path | str, way: Reading | None = None, catalog: Catalog | None = None
) -> Iterator[Source]:
    """Open a file, or stdin for `-`, with the reader that its content (or `way`) asks for.

    Raises:
        UsageError: missing, a folder, unreadable, empty, binary, or not what it is taken for.
    """
    way = way or Reading("csv")
    what = {"csv": "CSV file", "log": "log file", "bench": "file of llama-bench"}.get(way.file_format, "file")
    with open_stream(path, what, way.folder) as (name, stream):
        found = way.file_format if way.file_format != "auto" else _format_of(name, stream)
        if found == "bench":
            yield BenchSource(name, stream, catalog or default_catalog(), way.said)
        elif found == "log":
            yield LogSource(name, stream, catalog or default_catalog(), way.said)
        elif way.said != Said():
            raise UsageError(
                f"{name} is CSV, where every row names its GPU and model", "leave --gpu and --model out"
            )
        else:
            yield CsvSource(name, stream)


def _format_of(name: str, stream: Digesting) -> str:
    """The columns of a CSV of ours decide first, then llama-bench's forms, engines' words, and the name."""
    first = stream.head(b"\n").split(b"\n", 1)[0].decode("utf-8-sig", "replace")
    columns = {cell.strip().strip('"') for cell in first.split(",")}
    if "build_commit" not in columns and len(columns & set(Observation.model_fields)) > 1:
        return "csv"
    head = stream.head()
    if form_of(head):
        return "bench"
    named = name.lower().endswith(_LOG_NAMES) and b"\0" not in head[:1024]
    return "log" if head and (named or is_log(head)) else "csv"
