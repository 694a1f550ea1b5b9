"""The store: made from what is shipped, replaced whole, never harmed by a writer that dies."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from knowledge.errors import StoreError, UsageError
from knowledge.ingest.files import ingest_files
from knowledge.paths import PACKAGE
from knowledge.schema import Observation
from knowledge.store import build, connection, fingerprint, queries
from knowledge.store.connection import STORE_NAME, connect, open_store
from knowledge.store.lock import writer_lock
from knowledge.store.writer import ROW_COLUMNS

HEADER = "source_url,model,quant,engine,gpu,concurrency,decode_tps,notes\n"


def runs(*rates, source="https://example.org/mine"):
    return HEADER + "".join(
        f"{source},Qwen3.5-35B-A3B,Q4_K_M,llama.cpp,RTX 3090,1,{rate},\n" for rate in rates
    )


@pytest.fixture(scope="session")
def full_home(tmp_path_factory):
    """A home with the store of all shipped rows; copy it before writing."""
    home = tmp_path_factory.mktemp("full")
    open_store(home).close()
    return home


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A small set of shipped rows that a test may change."""
    folder = tmp_path / "observations"
    folder.mkdir()
    (folder / "one.csv").write_text(runs(100, 101, 102, source="https://example.org/shipped"))

    def refreshed():
        fingerprint.data_fingerprint.cache_clear()

    monkeypatch.setattr(fingerprint, "observations_dir", lambda: folder)
    refreshed()
    yield folder, refreshed
    monkeypatch.undo()
    refreshed()


def count(home, **filters):
    with open_store(home) as store:
        if not filters:
            return queries.counts(store.con)["observations"]
        return len(queries.observations(store.con, **filters))


def in_python(code, *arguments, **options):
    """Another process in which `knowledge` can be imported."""
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


# The shipped rows.


def test_the_shipped_rows_balance(full_home):
    with open_store(full_home) as store:
        files = queries.ingests(store.con)
        counts = queries.counts(store.con)
    assert {file["file"] for file in files} == {path.name for path in fingerprint.shipped_files()}
    for file in files:
        assert file["read"] == sum(file[key] for key in ("added", "duplicates", "quarantined", "rejected"))
        assert file["rejected"] == 0
    assert sum(file["added"] for file in files) == counts["observations"] == counts["shipped"]
    assert sum(file["quarantined"] for file in files) == counts["quarantined"]
    assert counts["quarantined"] < 0.03 * counts["observations"]


def test_the_store_has_a_column_for_every_field(full_home):
    with open_store(full_home) as store:
        columns = [row[0] for row in store.con.execute("describe observations").fetchall()]
        held = [row[0] for row in store.con.execute("describe quarantine").fetchall()]
    assert tuple(columns) == ROW_COLUMNS
    assert held == [*columns, "reason"]
    assert set(Observation.model_fields) < set(columns)


def test_the_nearest_evidence_comes_first(full_home):
    with open_store(full_home) as store:
        asked = queries.Wanted("Qwen/Qwen3.5-35B-A3B", "RTX 3090", "Q4_K_M", "llama.cpp")
        (rows,) = queries.evidence_rows(store.con, [asked])
        other = asked._replace(gpu_id="RTX 4090", engine="vllm")
        assert queries.evidence_rows(store.con, [other, asked])[1] == rows
        seen = [
            (row["model_id"] == "Qwen/Qwen3.5-35B-A3B") * 2 + (row["gpu_id"] == "RTX 3090") for row in rows
        ]
        assert seen[0] == 3
        assert all(rank > 0 for rank in seen)
        assert all(row["outcome"] == "ok" for row in rows)
        both = queries.observations(store.con, model_id="Qwen/Qwen3.5-35B-A3B", gpu_id="RTX 3090")
        assert all(row["gpu_id"] == "RTX 3090" for row in both)
        assert queries.observations(store.con, text="no such words anywhere") == []
        assert len(queries.observations(store.con, engine="VLLM", limit=7)) == 7
        first = queries.training_rows(store.con)
        assert first == queries.training_rows(store.con)
        few = queries.training_rows(store.con, most=700)
        assert len(few) == 700
        assert few == queries.training_rows(store.con, most=700)
        assert {row["id"] for row in few} <= {row["id"] for row in first}
        # every configuration of every source once before any comes twice
        assert max(Counter(cell(row) for row in few).values()) == 1
        cells = len({cell(row) for row in first})
        more = queries.training_rows(store.con, most=cells + 10)
        assert len({cell(row) for row in more}) == cells


def cell(row):
    names = ("source_url", "gpu_id", "model_id", "quant_id", "engine", "concurrency")
    return tuple(row[name] for name in names)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("decode_tps", "'inf'"),
        ("decode_tps", "-1"),
        ("gpu_count", "0"),
        ("model", "''"),
        ("outcome", "'fine'"),
    ],
)
def test_the_store_itself_refuses_what_cannot_be(shipped, tmp_path, column, value):
    home = tmp_path / "home"
    with build.rewriting(home) as con:
        con.execute("create table copy as select * replace (md5(id) as id) from observations limit 1")
        with pytest.raises((duckdb.ConstraintException, duckdb.ConversionException)):
            con.execute(f"insert into observations select * replace ({value} as {column}) from copy")
        with pytest.raises(duckdb.ConstraintException):
            con.execute("insert into ingests values (99, 'f', '', 'user', now()::timestamp, 5, 1, 1, 1, 1)")


# Rebuilding.


def test_a_store_is_made_on_first_use_and_then_left_alone(shipped, tmp_path):
    home = tmp_path / "deep" / "home"
    assert count(home) == 3
    before = (home / STORE_NAME).stat()
    assert count(home) == 3
    assert (home / STORE_NAME).stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(path.name for path in home.iterdir()) == [STORE_NAME, "store.lock"]


def test_new_shipped_rows_keep_the_users_own(shipped, tmp_path):
    folder, refreshed = shipped
    home, mine = tmp_path / "home", tmp_path / "mine.csv"
    # Two rows of my own, one that repeats a shipped one, one impossible, one that is no row.
    mine.write_text(runs(50, 51, 100, 99_999, "x"))
    report = ingest_files([mine], home=home)
    assert (report.added, report.duplicates, report.quarantined, report.rejected) == (2, 1, 1, 1)
    ingest_files([mine], home=home)

    (folder / "one.csv").write_text(runs(101, 102, 51, source="https://example.org/shipped"))
    refreshed()
    with open_store(home) as store:
        own = queries.observations(store.con, origin="user")
        # 51 is shipped now; the shipped 100 is gone, so mine that repeated it must stand for itself.
        assert sorted(row["decode_tps"] for row in own) == [50, 100]
        assert {row["source_url"] for row in own} == {"https://example.org/mine"}
        assert {(row["file"], row["line"]) for row in own} == {(str(mine), 2), (str(mine), 4)}
        assert sorted(row["decode_tps"] for row in queries.observations(store.con)) == [50, 51, 100, 101, 102]
        first, second = [file for file in queries.ingests(store.con) if file["origin"] == "user"]
        assert [first[key] for key in ("added", "duplicates", "quarantined", "rejected")] == [2, 1, 1, 1]
        assert [second[key] for key in ("added", "duplicates", "quarantined", "rejected")] == [0, 4, 0, 1]
        assert len(queries.rejects(store.con)) == 2


def test_an_older_schema_is_rebuilt_with_the_users_rows(shipped, tmp_path, monkeypatch):
    home, mine = tmp_path / "home", tmp_path / "mine.csv"
    mine.write_text(runs(50))
    ingest_files([mine], home=home)
    with duckdb.connect(str(home / STORE_NAME)) as con:
        con.execute("update meta set value = '0' where key = 'schema_version'")
        con.execute("drop view runs")
        for table in ("observations", "quarantine"):
            con.execute(f"alter table {table} drop column notes")
    assert count(home, origin="user") == 1
    assert count(home) == 4


@pytest.mark.parametrize("opener", [open_store, build.refresh])
def test_a_newer_store_is_refused_and_left_untouched(shipped, tmp_path, opener):
    home = tmp_path / "home"
    assert count(home) == 3
    with duckdb.connect(str(home / STORE_NAME)) as con:
        con.execute("update meta set value = '9' where key = 'schema_version'")
    before = (home / STORE_NAME).read_bytes()
    with pytest.raises(StoreError, match=r"newer advisor \(schema 9; this one knows 1\)") as caught:
        opener(home)
    assert "\n" not in str(caught.value)
    assert (home / STORE_NAME).read_bytes() == before


@pytest.mark.parametrize("content", [b"hello", b"", b"\0" * 9000, "truncated", "foreign"])
def test_what_is_no_store_is_refused_and_left_untouched(shipped, tmp_path, content):
    home = tmp_path / "home"
    home.mkdir()
    path = home / STORE_NAME
    if content == "truncated":
        count(home)
        os.truncate(path, 5000)
    elif content == "foreign":
        duckdb.connect(str(path)).close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    mine = tmp_path / "mine.csv"
    mine.write_text(runs(50))
    for act in (open_store, lambda home: ingest_files([mine], home=home)):
        with pytest.raises(StoreError) as caught:
            act(home)
        assert "\n" not in str(caught.value)
        assert caught.value.hint
    assert path.read_bytes() == before


# Folders that cannot be written.


def test_without_a_writable_home_the_shipped_rows_are_read_into_memory(shipped, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with open_store(blocked / "home") as store:
        assert store.path is None
        assert "cannot be written" in store.note
        assert queries.counts(store.con)["shipped"] == 3
    mine = tmp_path / "mine.csv"
    mine.write_text(runs(50))
    with pytest.raises(StoreError, match="cannot be written"):
        ingest_files([mine], home=blocked / "home")
    monkeypatch.delenv("ADVISOR_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("none")))
    with open_store() as store:
        assert store.path is None
        assert "home" in store.note


def test_a_stale_store_in_a_read_only_folder_still_answers(shipped, tmp_path, monkeypatch):
    folder, refreshed = shipped
    home = tmp_path / "home"
    assert count(home) == 3
    (folder / "two.csv").write_text(runs(7))
    refreshed()

    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(build, "writer_lock", refuse)
    with open_store(home) as store:
        assert "older rows" in store.note
        assert queries.counts(store.con)["shipped"] == 3


def test_a_dry_run_says_what_would_be_and_keeps_nothing(shipped, tmp_path):
    home, mine = tmp_path / "home", tmp_path / "mine.csv"
    mine.write_text(runs(50, 100))
    report = ingest_files([mine], home=home, dry_run=True)
    assert (report.added, report.duplicates) == (1, 1)
    assert not home.exists()
    count(home)
    assert ingest_files([mine], home=home, dry_run=True) == ingest_files([mine], home=home, dry_run=True)
    assert count(home) == 3


def test_an_error_in_the_last_file_leaves_everything_as_it_was(shipped, tmp_path):
    home, mine, pipe = tmp_path / "home", tmp_path / "mine.csv", tmp_path / "pipe"
    mine.write_text(runs(50))
    count(home)
    before = (home / STORE_NAME).read_bytes()
    # A pipe cannot be looked at beforehand, so its header is found wrong when the first file has been read.
    os.mkfifo(pipe)
    code = "import sys; open(sys.argv[1], 'w').write('not,ours')"
    with in_python(code, pipe), pytest.raises(UsageError, match="unknown column 'not'"):
        ingest_files([mine, pipe], home=home)
    assert (home / STORE_NAME).read_bytes() == before
    assert sorted(path.name for path in home.iterdir()) == [STORE_NAME, "store.lock"]


# Other processes.


def test_a_writer_names_the_writer_before_it_and_readers_do_not_wait(shipped, tmp_path):
    home, mine = tmp_path / "home", tmp_path / "mine.csv"
    mine.write_text(runs(50))
    count(home)
    code = (
        "import sys; from pathlib import Path; from knowledge.store.lock import writer_lock\n"
        "with writer_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with in_python(code, home, stdin=subprocess.PIPE) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=rf"process {other.pid} \(") as caught:
            ingest_files([mine], home=home)
        assert caught.value.exit_code == 5
        assert count(home) == 3
        other.communicate("")
    assert ingest_files([mine], home=home).added == 1


def test_a_file_locked_by_another_program_names_it(shipped, tmp_path):
    home, mine = tmp_path / "home", tmp_path / "mine.csv"
    mine.write_text(runs(50))
    count(home)
    code = (
        "import sys, duckdb; con = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    with in_python(code, home / STORE_NAME, stdin=subprocess.PIPE) as other:
        assert other.stdout.readline() == "held\n"
        for act in (open_store, lambda home: ingest_files([mine], home=home)):
            with pytest.raises(StoreError, match=rf"locked by process {other.pid}"):
                act(home)
        other.communicate("")
    assert count(home) == 3


def test_a_reader_keeps_its_rows_while_another_process_replaces_the_file(shipped, tmp_path):
    home, mine = tmp_path / "home", tmp_path / "mine.csv"
    mine.write_text(runs(50))
    with open_store(home) as store:
        code = (
            "import sys, shutil; from pathlib import Path; from knowledge.store.build import _swap\n"
            "live = Path(sys.argv[1]); work = live.with_suffix('.copy')\n"
            "shutil.copyfile(live, work); _swap(work, live); print('swapped')"
        )
        with in_python(code, store.path) as other:
            assert other.communicate()[0] == "swapped\n"
        assert queries.counts(store.con)["shipped"] == 3
    assert count(home) == 3


def test_threads_wait_their_turn(tmp_path):
    with (
        writer_lock(tmp_path),
        pytest.raises(StoreError, match=rf"process {os.getpid()}"),
        writer_lock(tmp_path),
    ):
        pass
    with writer_lock(tmp_path):
        pass


def test_a_killed_writer_loses_nothing(full_home, tmp_path):
    home, mine = tmp_path / "home", tmp_path / "mine.csv"
    shutil.copytree(full_home, home)
    before, new = count(home), 4000
    mine.write_text(runs(*(f"{1 + n / 1000:.3f}" for n in range(new))))
    code = (
        "import sys; from pathlib import Path; from knowledge.ingest.files import ingest_files\n"
        "print('ready', flush=True); ingest_files([sys.argv[1]], home=Path(sys.argv[2]))"
    )
    chance = random.Random(5)  # noqa: S311 - moments, not secrets
    for _ in range(3):
        with in_python(code, mine, home) as other:
            assert other.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.0, 0.8))
            other.kill()
        assert count(home) in {before, before + new}
    ingest_files([mine], home=home)
    assert count(home) == before + new
    assert sorted(path.name for path in home.iterdir()) == [STORE_NAME, "store.lock"]


def test_an_in_memory_connection_needs_no_extension():
    con = connect(None)
    settings = dict(
        con.execute("select name, value from duckdb_settings() where name like 'auto%extensions'").fetchall()
    )
    con.close()
    assert set(settings.values()) == {"false"}
    assert connection.SCHEMA_VERSION == 1
