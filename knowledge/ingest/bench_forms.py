"""What llama-bench prints, in each of its output forms, as one test after the other.

It owns the forms (table, JSON, JSON lines, CSV) and gives every test in the words of the JSON, whichever form
it came in. What the words mean is `bench_rows`'. A file is read once, in bounded memory.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from knowledge.bounded_json import parse_object
from knowledge.errors import ModelFileError
from knowledge.ingest.llamacpp_log import LlamaCppLog
from knowledge.ingest.llamacpp_patterns import PATTERNS
from knowledge.ingest.log_lines import encoding_of, text_of
from knowledge.ingest.log_start import Device
from knowledge.ingest.streams import Digesting

_BLOCK = 1 << 16
_LONGEST = 1 << 18
"""Characters of a line, or of one test in JSON, that are looked at: a hundred times what a test takes."""
_MOST_WAITING = 10_000
"""Rows of tables that wait for the line with their build, which comes below the table."""
_MOST_STRAY = 1000
"""JSON objects that are no test, after which the file is something else."""
_SIGNS = {
    "sql": (r"^(?:CREATE +TABLE IF NOT EXISTS|INSERT +INTO) (?:llama_bench|test) ?\(",),
    "json": (r"^[ \t]*[\[{]", r'"n_gen" ?:', r'"avg_ts" ?:'),
    "csv": (r'^"?build_commit"?,.*\bavg_ts\b',),
    "table": (r"^[ \t]*\| *model *\|.*\| *test *\| *t/s *\|",),
}
"""What each form has at its beginning, the form that says most first: llama-bench can print two at once."""
_COLUMNS = {
    "model": "model_type", "size": "model_size", "params": "model_n_params", "backend": "backends",
    "ngl": "n_gpu_layers", "threads": "n_threads", "ncmoe": "n_cpu_moe", "sm": "split_mode",
    "mg": "main_gpu", "nkvo": "no_kv_offload", "fa": "flash_attn", "dev": "devices", "ts": "tensor_split",
    "ot": "tensor_buft_overrides", "embd": "embeddings", "nopo": "no_op_offload", "fitt": "fit_target",
}  # fmt: skip
"""Columns of the table whose names differ from the JSON's."""
_UNDERSTOOD = frozenset({"type_k", "type_v", "n_batch", "n_ubatch", "n_cpu_moe", *_COLUMNS.values()})
_TEST = re.compile(r"(?:pp ?(\d{1,9}))?\+?(?:tg ?(\d{1,9}))?(?: @ d(\d{1,9}))?")
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:\s*[^\d\s]+\s*(\d+(?:\.\d+)?))?")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?) ([KMGTB])(?:iB)?")
_SCALES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_BUILD = re.compile(r"build: \S+ \((\d{1,9})\)")
_FOUND = re.compile(r"[Ff]ound \d+ \w+ devices")
_JSON_TOKEN = re.compile(r'[{}]|"(?:[^"\\\n]|\\.)*("|\\?\Z)?')
"""A brace, or a text in which braces do not count; its group is empty, or a backslash, where it is cut."""


@dataclass(slots=True)
class Test:
    """One test as it was printed: its fields in the words of the JSON, and the devices listed above it.

    With a `problem` it could not be read, and `text` is what stood there.
    """

    line: int
    fields: dict[str, str] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    unlisted: dict[str, str] = field(default_factory=dict)
    """Columns that a table has only where they are not the usual, and that mean nothing here."""
    problem: str = ""
    text: str = ""


def form_of(head: bytes) -> str | None:
    """Which form of llama-bench's output a file begins with; None: another file."""
    text = text_of(head)
    for form, signs in _SIGNS.items():
        if all(re.search(sign, text, re.MULTILINE) for sign in signs):
            return form
    return None


def tests_of(stream: Digesting, form: str) -> Iterator[Test]:
    """All tests of a file, in order."""
    buffered = io.BufferedReader(stream, buffer_size=_BLOCK)
    encoding = encoding_of(stream.head(b"\n"))
    text = io.TextIOWrapper(buffered, encoding=encoding, errors="replace", newline="\n")
    return _READERS[form](text)


def _lines(text: io.TextIOWrapper) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; one that is too long is cut."""
    number, whole = 1, True
    while piece := text.readline(_LONGEST):
        if whole:
            yield number, piece.strip()
        whole = piece.endswith("\n")
        number += whole


class _DeviceLines(LlamaCppLog):
    """The devices that llama.cpp lists as it loads its back ends."""

    patterns = tuple(item for item in PATTERNS if item[0] in {"listed", "vulkan", "metal", "available"})

    def listed(self) -> dict[str, Device]:
        """All so far."""
        return dict(self._now.devices)


def _table(text: io.TextIOWrapper) -> Iterator[Test]:
    """Rows of tables, each with the build that is printed below its table."""
    devices, columns, waiting = _DeviceLines(), list[str](), list[Test]()
    for number, line in _lines(text):
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if {"test", "t/s"} <= set(cells):
            yield from waiting  # of a run that was stopped before it told its build
            waiting, columns = [], cells
        elif columns and set(line) - set("|-: ") and cells:
            waiting.append(_row(number, line, cells, columns, devices.listed()))
        elif not cells:
            if _FOUND.search(line):
                devices = _DeviceLines()
            deque(devices.feed(number, line), 0)
            build = _BUILD.match(line)
            if build:
                for test in waiting:
                    test.fields["build_number"] = build[1]
                yield from waiting
                waiting, columns, devices = [], [], _DeviceLines()
        if len(waiting) >= _MOST_WAITING:
            yield from waiting
            waiting = []
    yield from waiting


def _row(number: int, line: str, cells: list[str], columns: list[str], devices: dict[str, Device]) -> Test:
    if len(cells) != len(columns):
        reason = f"has {len(cells)} cells where the table has {len(columns)} columns"
        return Test(number, problem=reason, text=line)
    row = dict(zip(columns, cells, strict=True))
    test, rate = _TEST.fullmatch(row.pop("test")), _RATE.fullmatch(row.pop("t/s"))
    if test is None or rate is None:
        what = "test" if test is None else "rate"
        return Test(number, problem=f"has no {what} of llama-bench's", text=line)
    fields = {_COLUMNS.get(name, name): cell for name, cell in row.items() if cell}
    for name in ("model_size", "model_n_params"):
        if name in fields:
            fields[name] = _plain_number(fields[name])
    prompt, gen, depth = (part or "0" for part in test.groups())
    fields |= {"n_prompt": prompt, "n_gen": gen, "n_depth": depth, "avg_ts": rate[1]}
    if rate[2]:
        fields["stddev_ts"] = rate[2]
    unlisted = {name: cell for name, cell in row.items() if _COLUMNS.get(name, name) not in _UNDERSTOOD}
    return Test(number, fields, devices, unlisted)


def _plain_number(text: str) -> str:
    """`4.43 GiB` in bytes, `7.72 B` as a count; another text as it is."""
    found = _QUANTITY.fullmatch(text)
    unit = text.rpartition(" ")[2]
    return f"{float(found[1]) * _SCALES[unit]:.0f}" if found and unit in _SCALES else text


def _csv(text: io.TextIOWrapper) -> Iterator[Test]:
    header: list[str] = []
    for number, line in _lines(text):
        try:
            cells = next(csv.reader([line], strict=True), [])
        except csv.Error as error:
            if header:
                yield Test(number, problem=f"is not CSV: {error}", text=line)
            continue
        if "build_commit" in cells and "avg_ts" in cells:
            header = cells
        elif header and len(cells) == len(header):
            yield Test(number, dict(zip(header, cells, strict=True)))
        elif header and len(cells) > 1:
            reason = f"has {len(cells)} cells where the header has {len(header)}"
            yield Test(number, problem=reason, text=line)


def _json(text: io.TextIOWrapper) -> Iterator[Test]:
    stray = 0
    for line, raw in _objects(text):
        if not raw.endswith("}"):
            long = len(raw) > _LONGEST
            reason = "a test is not closed, and nothing behind it is read" if long else "ends within a test"
            yield Test(line, problem=reason, text=raw[:_LONGEST])
            return
        try:
            found = parse_object(raw.encode("utf-8", "replace"), "the test")
        except ModelFileError as error:
            yield Test(line, problem=error.message, text=raw)
            continue
        if "n_gen" in found and "avg_ts" in found:
            yield Test(line, {name: _cell(value) for name, value in found.items()})
            continue
        stray += 1
        if stray > _MOST_STRAY:
            yield Test(line, problem="is no output of llama-bench from here on, and is not read", text=raw)
            return
        yield Test(line, problem="is no test of llama-bench: it has no n_gen and avg_ts", text=raw)


def _cell(value: object) -> str:
    """A value of the JSON as the CSV has it; '' for lists and the like."""
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else ""


def _objects(text: io.TextIOWrapper) -> Iterator[tuple[int, str]]:
    """Every outermost `{…}` with the line that it begins on; at last what is left of one that never ends."""
    rest, line, ended = "", 1, False
    while not ended:
        block = text.read(_BLOCK)
        ended, rest, at = not block, rest + block, 0
        while (begin := rest.find("{", at)) >= 0 and (end := _closed(rest, begin)) is not None:
            line += rest.count("\n", at, begin)
            yield line, rest[begin:end]
            line += rest.count("\n", begin, end)
            at = end
        cut = len(rest) if begin < 0 else begin
        line += rest.count("\n", at, cut)
        rest = rest[cut:]
        if rest and (ended or len(rest) > _LONGEST):
            yield line, rest[: _LONGEST + 1].rstrip().rstrip("}")
            return


def _closed(text: str, begin: int) -> int | None:
    """Where the object that begins there has ended; None: not within this text."""
    depth = 0
    for token in _JSON_TOKEN.finditer(text, begin):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if not depth:
                return token.end()
        elif token[1] in {"", "\\"}:
            return None
    return None


_READERS: dict[str, Callable[[io.TextIOWrapper], Iterator[Test]]] = {
    "json": _json,
    "csv": _csv,
    "table": _table,
}
