"""Files of measurements into the store: nothing vanishes, nothing false gets in, complaints are one line."""

import csv
import hashlib
import io
import re
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowledge.catalog import default_catalog
from knowledge.errors import UsageError
from knowledge.ingest import csv_rows
from knowledge.ingest.csv_rows import open_csv
from knowledge.ingest.files import ingest_files
from knowledge.ingest.identity import content_id
from knowledge.ingest.pipeline import take_files
from knowledge.ingest.plausibility import Judge
from knowledge.ingest.resolving import Resolver
from knowledge.schema import Observation
from knowledge.store import build, queries
from knowledge.store.connection import connect

GOOD = {
    "source_url": "https://example.org/run",
    "model": "Qwen3.5-35B-A3B",
    "quant": "Q4_K_M",
    "engine": "llama.cpp",
    "gpu": "RTX 3090",
    "gpu_count": "1",
    "concurrency": "1",
    "decode_tps": "101.5",
    "outcome": "ok",
}


def csv_text(rows, columns=None):
    columns = columns or list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@pytest.fixture
def write(tmp_path):
    def _write(content, name="runs.csv"):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else csv_text(content), encoding="utf-8")
        return path

    return _write


@pytest.fixture(scope="module")
def one_store():
    connection = connect(None)
    connection.execute(build.SCHEMA_FILE.read_text())
    yield connection
    connection.close()


def emptied(con):
    for table in ("observations", "quarantine", "duplicates", "rejects", "ingests"):
        con.execute(f"truncate {table}")
    return con


@pytest.fixture
def con(one_store):
    return emptied(one_store)


def take(con, *paths):
    report = take_files(con, paths, "user")
    assert report.read == report.added + report.duplicates + report.quarantined + report.rejected
    return report


# What a report says, and what the store then holds.


def test_good_rows_are_added_with_their_names_and_their_place(con, write):
    path = write([GOOD, GOOD | {"decode_tps": "99", "notes": "two\nlines"}, GOOD | {"decode_tps": "98"}])
    report = take(con, path)
    assert (report.read, report.added) == (3, 3)
    rows = queries.training_rows(con)
    assert [row["line"] for row in rows] == [2, 3, 5]
    assert {row["file"] for row in rows} == {str(path)}
    assert {row["origin"] for row in rows} == {"user"}
    assert {(row["gpu_id"], row["model_id"]) for row in rows} == {("RTX 3090", "Qwen/Qwen3.5-35B-A3B")}
    assert rows[1]["notes"] == "two\nlines"


def test_the_same_file_again_adds_nothing(con, write):
    path = write([GOOD, GOOD | {"decode_tps": "5000"}, GOOD | {"decode_tps": "x"}])
    first, second = take(con, path), take(con, path)
    assert (first.added, first.quarantined, first.rejected) == (1, 1, 1)
    assert (second.added, second.duplicates, second.rejected) == (0, 2, 1)


def test_a_run_cited_twice_is_one_and_a_repetition_is_two(con, write):
    cited = GOOD | {"source_url": "https://example.org/other", "notes": "seen elsewhere", "observed_on": ""}
    again = GOOD | {"decode_tps": "101.9"}
    report = take(con, write([GOOD, cited, again, GOOD | {"decode_tps": "101.50", "engine": " Llama.CPP"}]))
    assert (report.added, report.duplicates) == (2, 2)


def test_failures_of_two_sources_are_two(con, write):
    failed = {key: value for key, value in GOOD.items() if key != "decode_tps"} | {"outcome": "oom"}
    report = take(con, write([failed, failed | {"source_url": "https://example.org/other"}]))
    assert report.added == 2


def test_unknown_names_stay_without_an_id(con, write):
    report = take(
        con, write([GOOD | {"gpu": "Voodoo 2", "model": "Parrot-1T", "quant": "Q0", "decode_tps": "1e5"}])
    )
    assert report.added == 1
    (row,) = queries.training_rows(con)
    assert (row["gpu_id"], row["model_id"], row["quant_id"]) == (None, None, None)


@pytest.mark.parametrize(
    ("cells", "column", "reason"),
    [
        ({"decode_tps": "1e400"}, "decode_tps", "finite"),
        ({"decode_tps": "nan"}, "decode_tps", "finite"),
        ({"decode_tps": "-3"}, "decode_tps", "must be above 0"),
        ({"decode_tps": "0"}, "decode_tps", "must be above 0"),
        ({"decode_tps": "banana"}, "decode_tps", "is not a number"),
        ({"gpu_count": "1.5"}, "gpu_count", "is not a whole number"),
        ({"gpu_count": "0"}, "gpu_count", "must be at least 1"),
        ({"depth": "99999999999999999999999"}, "depth", ""),
        ({"observed_on": "22/11/2026"}, "observed_on", "is not a date"),
        ({"outcome": "fine"}, "outcome", "must be one of"),
        ({"flash_attn": "perhaps"}, "flash_attn", "neither 0 nor 1"),
        ({"notes": "a\0b"}, "notes", "not UTF-8"),
    ],
)
def test_a_bad_cell_costs_its_row_and_names_line_and_column(con, write, cells, column, reason):
    # Far from the start: what is binary from its first bytes on is refused as a file.
    many = [GOOD | {"notes": "x" * 70_000}]
    report = take(con, write([*many, GOOD | cells | {"ngl": "1"}, GOOD | {"ngl": "2"}]))
    assert report.added == 2
    (reject,) = report.rejects
    assert (reject.line, reject.column) == (3, column)
    assert reject.reason.count("\n") == 0
    assert reason in reject.reason
    (stored,) = queries.rejects(con)
    assert (stored["line"], stored["column"], stored["reason"]) == (3, column, reject.reason)


def test_a_cell_that_must_be_there(con, write):
    report = take(con, write([GOOD, GOOD | {"model": "  "}]))
    assert [(r.line, r.column, r.reason) for r in report.rejects] == [(3, "model", "is empty")]


def test_bytes_that_are_no_utf8_cost_their_row(con, write):
    text = csv_text([GOOD, GOOD | {"engine": "caf@"}]).encode().replace(b"@", b"\xe9")
    report = take(con, write(text))
    assert (report.added, report.rejected) == (1, 1)
    assert report.rejects[0].column == "engine"


def test_short_long_and_torn_records_cost_themselves_only(con, write):
    columns = list(GOOD)
    text = csv_text([GOOD], columns) + "a,b\n" + "x," * len(columns) + "\n\n" + 'https://e.org,"torn\nrun,'
    report = take(con, write(text))
    assert (report.added, report.rejected) == (1, 3)
    assert [reject.line for reject in report.rejects] == [3, 4, 6]
    assert "lines 6 to 7" in report.rejects[2].reason


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
        ("source_url,model,gpu\n".encode("utf-16"), "UTF-16"),
        (b"# Results\n", "no CSV of runs, no output of llama-bench and no start log"),
        (b"name,speed\nx,1\n", "unknown column 'name'"),
        (b"source_url,model,gpu,decode_tsp\n", "did you mean decode_tps?"),
        (b"source_url,model,decode_tps\n", "no column gpu"),
        (b"source_url,model,gpu,model\n", "appears twice"),
        (b"source_url;model;gpu\n", "not separated by commas"),
        (b'source_url,"model', "no CSV header"),
        (b"\xff\xfe\xfd,caf\xe9\n", ""),
    ],
)
def test_a_file_that_is_not_ours_is_refused_in_one_line(write, content, says, tmp_path):
    with pytest.raises(UsageError) as caught:
        ingest_files([write(content)], home=tmp_path / "home")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()
    assert not (tmp_path / "home").exists()


def test_paths_that_are_no_files_are_refused(tmp_path, write):
    for path, says in ((tmp_path / "none.csv", "no such file"), (tmp_path, "is a folder")):
        with pytest.raises(UsageError, match=says):
            ingest_files([write([GOOD]), path], home=tmp_path / "home")
    with pytest.raises(UsageError, match="no file"):
        ingest_files([], home=tmp_path / "home")


def test_a_header_alone_is_a_file_of_no_rows(con, write):
    assert take(con, write(",".join(GOOD) + "\n")).read == 0


def test_byte_order_mark_carriage_returns_and_any_order_of_columns(con, write):
    text = csv_text([GOOD], list(reversed(GOOD))).replace("\n", "\r\n")
    assert take(con, write(b"\xef\xbb\xbf" + text.encode())).added == 1


def test_standard_input(con, monkeypatch):
    class Stdin:
        buffer = io.BufferedReader(io.BytesIO(csv_text([GOOD]).encode()))

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert take(con, "-").added == 1
    assert queries.ingests(con)[0]["file"] == "stdin"


def test_the_report_lists_a_thousand_and_the_store_keeps_all(con, write):
    rows = [GOOD | {"decode_tps": "x", "ngl": str(n)} for n in range(1200)]
    rows += [GOOD | {"decode_tps": str(10_000 + n)} for n in range(1200)]
    report = take(con, write(rows))
    assert (report.rejected, len(report.rejects)) == (1200, 1000)
    assert (report.quarantined, len(report.held)) == (1200, 1000)
    assert len(queries.rejects(con, limit=5000)) == 1200
    assert len(queries.quarantined(con, limit=5000)) == 1200


def test_many_chunks_make_one_file(con, write, monkeypatch):
    monkeypatch.setattr(csv_rows, "CHUNK_ROWS", 250)
    rows = [GOOD | {"decode_tps": f"{n / 1000 + 1:.4f}"} for n in range(600)]
    report = take(con, write(rows + rows[:500]))
    assert (report.added, report.duplicates) == (600, 500)
    assert queries.ingests(con)[0]["read"] == 1100


# Properties.

CELLS = {
    "source_url": st.sampled_from(["https://e.org", "", "a,b", 'q"uote', "two\nlines", "cr\rhere"]),
    "model": st.sampled_from(["Qwen3.5-35B-A3B", "llama", "", "é\n", "x\r\ny"]),
    "gpu": st.sampled_from(["RTX 3090", "RTX 4090", "?", ""]),
    "quant": st.sampled_from(["Q4_K_M", "Q8_0", ""]),
    "decode_tps": st.sampled_from(["", "10", "10.0", "11", "1e9", "-1", "inf", "x"]),
    "vram_used_gib": st.sampled_from(["", "20", "30", "1e400"]),
    # A NUL among a file's first bytes makes it a binary file, refused as a whole.
    "notes": st.text(st.characters(exclude_characters="\0"), max_size=8),
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries(CELLS), max_size=25), twice=st.booleans())
def test_every_record_ends_in_exactly_one_place(tmp_path, one_store, rows, twice):
    path = tmp_path / "any.csv"
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(CELLS)
    starts = []
    for row in rows:
        starts.append(1 + len(re.findall(r"\r\n|\r|\n", text.getvalue())))
        writer.writerow(row.values())
    path.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
    con = emptied(one_store)
    files = [path, path] if twice else [path]
    report = take(con, *files)
    assert report.read == len(rows) * len(files)
    for ingest_id in range(1, len(files) + 1):
        lines = [
            line
            for table in ("observations", "quarantine", "duplicates", "rejects")
            for (line,) in con.execute(
                f"select line from {table} where ingest_id = ?", [ingest_id]
            ).fetchall()
        ]
        assert sorted(lines) == starts
    kept = con.execute("select id from observations union all select id from quarantine").fetchall()
    assert len(kept) == len(set(kept))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30), max_size=5
    )
)
def test_text_survives_the_way_in(tmp_path, one_store, notes):
    path = tmp_path / "texts.csv"
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow([*GOOD, "notes", "ngl"])
    writer.writerows([*GOOD.values(), note, n] for n, note in enumerate(notes))
    path.write_bytes(text.getvalue().encode())
    con = emptied(one_store)
    assert take(con, path).added == len(notes)
    rows = sorted(queries.training_rows(con), key=lambda row: row["ngl"])
    assert [row["notes"] for row in rows] == [note.strip() for note in notes]


@given(st.data())
def test_identity_ignores_who_cites_and_nothing_else(data):
    base = Observation.model_validate(GOOD)
    name = data.draw(st.sampled_from(sorted(Observation.model_fields)))
    kind = str(Observation.model_fields[name].annotation)
    value = {"offload": "cpu", "outcome": "oom", "observed_on": "2026-01-01"}.get(name) or (
        "changed" if "str" in kind else 1 if "bool" in kind else 77
    )
    other = Observation.model_validate(GOOD | {name: value})
    same = name in {"source_url", "observed_on", "notes"}
    assert (content_id(base) == content_id(other)) == same


# What physics allows.


def weigh(**cells):
    merged = GOOD | {key: str(value) for key, value in cells.items()}
    row = Observation.model_validate({key: value for key, value in merged.items() if value})
    return Judge().reason(row, Resolver(default_catalog()).resolve(row))


DENSE = {"model": "Qwen3-32B", "quant": "Q4_K_M"}
"""About 19 GB read per token: a 3090 (936 GB/s) cannot pass 50 tok/s."""


@pytest.mark.parametrize(
    "cells",
    [
        {"decode_tps": 180},
        DENSE | {"decode_tps": 38},
        DENSE | {"decode_tps": 70, "gpu_count": 2},
        DENSE | {"decode_tps": 70, "spec_decode": "mtp"},
        DENSE | {"decode_tps": 70, "notes": "with a draft model"},
        DENSE | {"decode_tps": 5, "offload": "partial"},
        DENSE | {"decode_tps": 70, "model_raw": "Qwen3-32B-MTP"},
        DENSE | {"decode_tps": "", "decode_tps_total": 900, "concurrency": 32},
        {"decode_tps": "", "vram_used_gib": 24.2},
        {"decode_tps": "", "vram_used_gib": 45, "vram_gib": 48},
        {"decode_tps": "", "prefill_tps": 4000},
        {"decode_tps": "", "outcome": "oom"},
    ],
)
def test_what_can_be_is_believed(cells):
    assert weigh(**cells) == ""


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (DENSE | {"decode_tps": 70}, "70 tok/s for one sequence"),
        (DENSE | {"decode_tps": "", "tpot_ms": 5}, "200 tok/s for one sequence"),
        (DENSE | {"decode_tps": "", "decode_tps_total": 70}, "70 tok/s"),
        (DENSE | {"decode_tps": 70, "concurrency": 8}, "70 tok/s for one sequence"),
        ({"decode_tps": 5000}, "5000 tok/s"),
        (DENSE | {"decode_tps": 70, "offload": "partial", "ngl": 28}, "70 tok/s for one sequence"),
        (DENSE | {"decode_tps": 70, "model_raw": "Qwen3-32B-MTP", "flags": "llama-bench -m"}, "70 tok/s"),
        ({"vram_used_gib": 25}, "25 GiB used of 24 GiB"),
        ({"vram_used_gib": 49.5, "gpu_count": 2}, "of 48 GiB"),
        (DENSE | {"decode_tps": "", "prefill_tps": 20_000}, "TFLOPS"),
        ({"decode_tps": ""}, "nothing was measured"),
    ],
)
def test_the_impossible_is_held_back_with_its_figures(cells, says):
    assert says in weigh(**cells)


@given(rate=st.floats(1, 1e5), factor=st.floats(1, 10))
def test_a_faster_rate_is_never_more_believable(rate, factor):
    if weigh(**DENSE, decode_tps=rate):
        assert weigh(**DENSE, decode_tps=rate * factor)


def test_reading_a_file_keeps_its_digest(write):
    path = write([GOOD] * 3)
    with open_csv(path) as source:
        assert sum(len(chunk) for chunk in source.chunks()) == 3
        assert source.sha256 == hashlib.sha256(Path(path).read_bytes()).hexdigest()
