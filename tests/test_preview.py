"""What an ingestion would change is said before it is done, and nothing is written for it."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from advisor import preview as room
from advisor import service
from advisor.asking import understand
from advisor.cli import main
from advisor.preview import known_cards
from advisor.speed.model import ARTEFACT, SpeedModel
from advisor.speed.own import own_keys
from advisor.training.own_rows import with_own
from advisor.training.rows import cases_of
from knowledge.catalog import default_catalog
from knowledge.errors import UsageError
from knowledge.store import queries
from knowledge.store.connection import open_store

LOGS = Path(__file__).parent / "data" / "logs"
CATALOG = default_catalog()
QUESTION = {
    "model": "qwen3.5-9b", "quant": "Q4_K_M", "gpu": "3060", "engine": "llama.cpp", "ctx": 32768,
    "depth": 1000,
}  # fmt: skip
RUN = {
    "source_url": "file:mine.md", "model": "Qwen3.5-9B", "quant": "Q4_K_M", "engine": "llama.cpp",
    "engine_version": "b9000", "gpu": "RTX 3060 12GB", "depth": 0, "gen_tokens": 128, "decode_tps": 30.0,
}  # fmt: skip
BENCH = """\
ggml_cuda_init: found 1 CUDA devices:
  Device 0: NVIDIA GeForce RTX 3060, compute capability 8.6, VMM: yes, VRAM: 11909 MiB
| model                |       size |     params | backend | ngl |    test |            t/s |
| -------------------- | ---------: | ---------: | ------- | --: | ------: | -------------: |
| qwen35 9B Q4_K - Medium | 5.28 GiB |     8.95 B | CUDA    |  99 |   pp512 | 1200.00 ± 9.21 |
| qwen35 9B Q4_K - Medium | 5.28 GiB |     8.95 B | CUDA    |  99 |   tg128 |   38.33 ± 0.21 |

build: 67bee560 (9600)
"""


@pytest.fixture
def home(shipped_home, tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copyfile(shipped_home / "store.duckdb", folder / "store.duckdb")
    monkeypatch.setenv("ADVISOR_HOME", str(folder))
    return folder


@pytest.fixture
def runs(tmp_path):
    def _write(*rows, name="runs.csv"):
        path = tmp_path / name
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, RUN)
            writer.writeheader()
            writer.writerows(RUN | row for row in rows)
        return path

    return _write


@pytest.fixture
def bench(tmp_path):
    path = tmp_path / "bench.txt"
    path.write_text(BENCH)
    return path


def content(folder):
    """Everything in a folder: name, time and digest."""
    return {
        path.relative_to(folder): (
            path.stat().st_mtime_ns,
            path.is_file() and hashlib.sha256(path.read_bytes()).digest(),
        )
        for path in sorted(folder.rglob("*"))
    }


SLOW = [{"depth": 1000 * n, "decode_tps": 30.0 - n} for n in range(10)]


# Nothing is written.


def test_the_data_folder_stays_as_it_is_byte_for_byte(home, runs, bench):
    service.ingest(LOGS / "llamacpp_b8182_3090.log")
    before = content(home)
    service.preview([runs(*SLOW), bench, LOGS / "llamacpp_b8182_3090_oom.log"], question=QUESTION)
    assert content(home) == before


def test_a_data_folder_that_is_not_there_is_not_made(tmp_path, monkeypatch, runs):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path / "none" / "home"))
    files = [runs(*SLOW), LOGS / "llamacpp_b8182_3090.log"]
    found = service.preview(files, question=QUESTION)
    assert (found.added, found.effect["new_starts"]) == (11, 1)
    assert not (tmp_path / "none").exists()


# The report is that of the ingestion.


def test_the_report_is_what_the_ingestion_then_says(home, runs):
    path = runs(*SLOW, SLOW[0], {"decode_tps": "x"}, {"decode_tps": 5000})
    found = service.preview(path)
    done = service.ingest(path)
    names = ("read", "added", "duplicates", "rejected", "quarantined", "rejects", "quarantine")
    assert [getattr(found, name) for name in names] == [getattr(done, name) for name in names]
    assert (found.read, found.added, found.duplicates, found.rejected, found.quarantined) == (13, 10, 1, 1, 1)
    assert found.effect["dry_run"] is True
    again = service.preview(path)
    assert (again.added, again.learnt, again.configurations) == (0, None, [])


# What rates teach.


def test_slow_runs_lower_what_is_predicted_for_their_card_alone(home, runs):
    found = service.preview(runs(*SLOW), question=QUESTION)
    assert (found.learnt.figures, found.learnt.rows) == (10, 10)
    assert found.learnt.error_after < 0.2
    assert found.learnt.error_before > 0.4
    (item,) = found.configurations
    assert (item.model, item.gpu, item.figure, item.figures) == (
        "Qwen3.5-9B", "RTX 3060 12GB", "decode_tps", 10,
    )  # fmt: skip
    assert item.measured == pytest.approx(25.5)
    assert item.measured < item.after < item.before
    answer = found.answer
    assert answer.config.model == "Qwen/Qwen3.5-9B"
    assert answer.after.decode_tps.value == pytest.approx(
        answer.before.decode_tps.value * item.after / item.before, rel=0.01
    )
    assert answer.after.memory == answer.before.memory
    other = service.preview(runs(*SLOW), question=QUESTION | {"gpu": "4090"}).answer
    assert other.after == other.before


def test_today_is_what_predict_says(home, runs):
    answer = service.preview(runs(*SLOW), question=QUESTION).answer
    assert answer.before == service.predict(**QUESTION).prediction


def test_what_is_learnt_is_what_training_takes_from_own_rows(home, runs):
    """The same factors, over the same model, from the same rows: only the fit itself is not done anew."""
    path = runs(*SLOW, {"gpu": "RTX 5080 Laptop", "decode_tps": 20})
    found = service.preview(path, question=QUESTION)
    service.ingest(path)
    with open_store(home) as store:
        cases = cases_of(queries.training_rows(store.con), CATALOG).cases
    others = {case.setup.gpu.name for case in cases if not case.own}
    assert known_cards() == others
    model = SpeedModel.load(ARTEFACT)
    trained = with_own(cases, model, others)
    setup = service.exact_setup(understand(QUESTION, CATALOG), CATALOG)
    (case, *_) = [case for case in cases if case.own and case.setup.gpu.name == setup.gpu.name]
    factor = trained.own.of(case.setup, decode=True)
    assert set(own_keys(case.setup, decode=True)) <= trained.own.logs.keys()
    figures = (found.answer.before.decode_tps.value, found.answer.after.decode_tps.value)
    machine = trained.own.of(setup, decode=True)
    assert machine == pytest.approx(factor)
    assert figures[0] / figures[1] == pytest.approx(2.718281828459045**machine, rel=1e-9)


def test_own_rows_of_before_count_and_their_old_factors_do_not(home, runs, monkeypatch):
    first, second = runs(*SLOW[:9]), runs(SLOW[9], name="more.csv")
    alone = service.preview(second, question=QUESTION).answer.after.decode_tps.value
    service.ingest(first)
    both = service.preview(second, question=QUESTION).answer.after.decode_tps.value
    assert both < alone
    with open_store(home) as store:
        own = cases_of(queries.own_rows(store.con, most=100), CATALOG).cases
    learnt = with_own(own, SpeedModel.load(ARTEFACT), known_cards())
    again = with_own(own, learnt, known_cards())
    assert again.own.logs == learnt.own.logs
    monkeypatch.setattr(
        room, "load_model", lambda path=None: learnt if path is None else SpeedModel.load(path)
    )
    trained = service.preview(second, question=QUESTION).answer
    assert trained.after.decode_tps.value == pytest.approx(both)


def test_the_output_of_llama_bench_is_previewed_too(home, bench):
    found = service.preview(bench, question=QUESTION)
    assert {item.figure for item in found.configurations} == {"prefill_tps", "decode_tps"}
    assert found.answer.after.prefill_tps != found.answer.before.prefill_tps
    assert found.answer.after.decode_tps != found.answer.before.decode_tps


def test_large_files_are_compared_on_some_of_their_rows(home, runs, monkeypatch):
    monkeypatch.setattr(room, "_MOST_ROWS", 4)
    models = ("Qwen3.5-9B", "Qwen3-8B", "gemma-3-12b-it", "Qwen3-14B")
    path = runs(*({"model": model, "depth": n, "decode_tps": 20 + n} for n in range(3) for model in models))
    found = service.preview(path)
    assert (found.added, found.learnt.rows) == (12, 4)
    assert len(found.configurations) == 4  # one row of each configuration before a second of any
    assert "predictions are compared on 4 of 12 new rows" in found.notes


def test_more_configurations_than_are_listed_are_counted(home, runs):
    cards = [gpu.name for gpu in CATALOG.gpus.values() if gpu.kind == "gpu" and (gpu.memory_gib or 0) >= 24]
    found = service.preview(runs(*({"gpu": card, "decode_tps": 11} for card in cards[:12])))
    assert len(found.configurations) == 10
    assert "10 of 12 configurations are listed" in found.notes


def test_rows_that_teach_nothing_say_why(home, runs):
    found = service.preview(runs({"model": "Parrot"}, {"gpu": "Voodoo 2"}, {"gpu": "Voodoo 3"}))
    assert (found.added, found.learnt) == (3, None)
    assert found.notes == [
        "2 new rows have no rate to compare: unknown device",
        "1 new row has no rate to compare: unknown model",
    ]


# What starts teach.


def test_starts_change_memory_and_risk_as_they_do_once_they_are_in(home):
    asked = {
        "model": "qwen3.5-35b-a3b",
        "quant": "Q4_K_M",
        "gpu": "3090",
        "engine": "llama.cpp",
        "ctx": 131072,
    }
    logs = [LOGS / "llamacpp_b8182_3090.log", LOGS / "llamacpp_b8182_3090_oom.log"]
    found = service.preview(logs, question=asked)
    assert found.effect["new_starts"] == 2
    assert found.answer.before == service.predict(**asked).prediction
    assert found.answer.after.memory != found.answer.before.memory
    assert [start.outcome for start in found.starts] == ["ok", "oom"]
    came_up, ran_out = found.starts
    assert came_up.config.model == "Qwen/Qwen3.5-35B-A3B"
    assert came_up.oom_probability_after < came_up.oom_probability_before
    assert ran_out.oom_probability_after >= ran_out.oom_probability_before
    assert found.notes == []
    service.ingest(logs)
    assert service.predict(**asked).prediction == found.answer.after
    again = service.preview(logs, question=asked)
    assert (again.effect["new_starts"], again.starts) == (0, [])
    assert again.answer.before == again.answer.after


# Files that are no files of ours, and names of uploads.


@pytest.mark.parametrize(
    "text", ["", "hello", "\x89PNG\0\0", "source_url,model\n", "CREATE TABLE IF NOT EXISTS test (\n"]
)
def test_a_bad_file_is_refused_in_one_line(home, tmp_path, text):
    (tmp_path / "bad.csv").write_text(text)
    before = content(home)
    with pytest.raises(UsageError) as caught:
        service.preview("bad.csv", folder=tmp_path, question=QUESTION)
    assert str(caught.value).startswith("bad.csv")
    assert "\n" not in str(caught.value)
    assert content(home) == before


def test_a_bad_question_is_said_before_the_files_are_read(home):
    with pytest.raises(UsageError, match="parrot"):
        service.preview("no-such-file.csv", question=QUESTION | {"model": "parrot"})


@pytest.mark.parametrize("take", [service.preview, service.ingest])
def test_uploads_are_called_by_their_own_names(home, tmp_path, runs, take):
    folder = runs({"decode_tps": "x"}, {}).parent
    report = take(["runs.csv"], folder=folder)
    assert (report.added, [reject.file for reject in report.rejects]) == (1, ["runs.csv"])
    if take is service.ingest:
        (row,) = service.observations(origin="user").observations
        assert row["file"] == "runs.csv"
    for name in ("../runs.csv", str(tmp_path / "home" / "store.duckdb") + "/../../..", "/etc/hostname"):
        with pytest.raises(UsageError, match="is not in the folder"):
            take([name], folder=folder / "home")
    with pytest.raises(UsageError, match="no such file"):
        take(["-"], folder=folder)  # not what somebody types at the server


def test_own_facts_in_a_folder_are_taken_too(home, tmp_path):
    (tmp_path / "notes.csv").write_text(
        "engine,version,claim,evidence_url\nvllm,0.99.0,is faster,https://example.org/notes\n"
    )
    found = service.preview(["notes.csv"], folder=tmp_path)
    assert (found.added, found.effect["facts"], found.notes) == (1, 1, [])
    assert not (home / "facts").exists()
    assert service.ingest(["notes.csv"], folder=tmp_path).effect["facts"] == 1


# At the terminal.


def test_a_dry_run_says_what_would_change(home, runs, capsys):
    assert main(["ingest", "--dry-run", str(runs(*SLOW)), str(LOGS / "llamacpp_b8182_3090.log")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "(nothing is kept: --dry-run)" in out
    assert "median error on the 10 new figures" in out
    assert "Qwen3.5-9B Q4_K_M, RTX 3060" in out
    assert "answers for Qwen3.5-35B-A3B Q4_K_M at 64Ki tokens: needs" in out


def test_its_json_is_that_of_the_ingestion_and_more(home, runs, capsys):
    assert main(["ingest", "--dry-run", "--json", str(runs(*SLOW))]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["ingest", "--json", str(runs(*SLOW))]) == 0
    done = json.loads(capsys.readouterr().out)
    assert found.keys() - done.keys() == {"learnt", "configurations", "starts", "answer", "notes"}
    assert done.keys() <= found.keys()


def test_many_refused_rows_are_counted_not_listed(home, runs, capsys):
    main(["ingest", "--dry-run", str(runs(*({"decode_tps": "x", "depth": n} for n in range(80))))])
    out = capsys.readouterr().out
    assert out.count("is not a number") == 50
    assert "and 30 more" in out


def test_a_preview_loads_no_scikit_learn(home, runs):
    code = (
        "import sys; from advisor import service;"
        f"service.preview({str(runs(*SLOW))!r}, question={QUESTION!r});"
        "print(sorted({'sklearn', 'scipy', 'joblib'} & {name.partition('.')[0] for name in sys.modules}))"
    )
    where = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=where)
    assert done.stdout.strip() == "[]"
