"""Release notes and flags of the user's own: taken by `advisor ingest`, used like the shipped ones."""

import json
import os
import shutil

import pytest

from advisor import service
from advisor.cli import main
from advisor.engines.command_line import exists
from advisor.engines.versions import parse
from advisor.own_facts import kind_of
from knowledge.catalog import Catalog, default_catalog
from knowledge.store.connection import STORE_NAME

NOTE = {
    "engine": "vllm", "version": "0.34.0", "released_on": "2026-12-01", "area": "cache",
    "flags": "--enable-prefix-caching", "applies_to": "hybrid", "claim": "states of hybrids are shared",
    "evidence_url": "https://example.org/notes",
}  # fmt: skip
FLAG = {
    "engine": "vllm", "flag": "--my-switch", "since_version": "0.34.0", "effect": "does what it says",
    "source_url": "https://example.org/flags",
}  # fmt: skip


@pytest.fixture
def home(shipped_home, tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copyfile(shipped_home / STORE_NAME, folder / STORE_NAME)
    monkeypatch.setenv("ADVISOR_HOME", str(folder))
    return folder


def written(path, *rows):
    names = list(rows[0])
    lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def ingest(capsys, *arguments):
    code = main(["ingest", *arguments, "--json"])
    out = capsys.readouterr()
    return code, json.loads(out.out), out.err


@pytest.mark.usefixtures("home")
def test_a_note_of_ones_own_is_found_and_touches_answers(tmp_path, capsys):
    code, report, _ = ingest(capsys, written(tmp_path / "notes.csv", NOTE))
    assert (code, report["read"], report["added"], report["effect"]["facts"]) == (0, 1, 1, 1)
    found = service.notes("states of hybrids are shared")
    assert [note.version for note in found.notes] == ["0.34.0"]
    answer = service.predict(model="qwen3.5-27b", quant="FP8", gpu="4090", vram=48, engine="vllm", ctx="64k")
    assert NOTE["claim"] in {note.claim for note in answer.notes}
    dense = service.predict(model="qwen3-8b", quant="FP8", gpu="4090", engine="vllm", ctx="16k")
    assert NOTE["claim"] not in {note.claim for note in dense.notes}


@pytest.mark.usefixtures("home")
def test_reading_twice_adds_nothing(tmp_path, capsys):
    path = written(tmp_path / "notes.csv", NOTE)
    ingest(capsys, path)
    code, report, _ = ingest(capsys, path)
    assert (code, report["added"], report["duplicates"]) == (0, 0, 1)
    shipped = {name: f'"{value}"' for name, value in dict(Catalog().release_notes[0]).items()}
    assert ingest(capsys, written(tmp_path / "again.csv", shipped))[1]["duplicates"] == 1


@pytest.mark.usefixtures("home")
def test_a_flag_of_ones_own_has_its_versions_and_can_be_stated_anew(tmp_path, capsys):
    ingest(capsys, written(tmp_path / "flags.csv", FLAG))
    assert exists("--my-switch", parse("vllm", "0.34.0"), default_catalog())
    assert not exists("--my-switch", parse("vllm", "0.33.0"), default_catalog())
    ingest(capsys, written(tmp_path / "flags.csv", {**FLAG, "since_version": "0.30.0"}))
    assert exists("--my-switch", parse("vllm", "0.33.0"), default_catalog())
    assert len([flag for flag in default_catalog().flags if flag.flag == "--my-switch"]) == 1
    assert len(default_catalog().flags) == len(Catalog().flags) + 1


def test_a_dry_run_keeps_nothing(home, tmp_path, capsys):
    _, report, _ = ingest(capsys, written(tmp_path / "notes.csv", NOTE), "--dry-run")
    assert report["added"] == 1
    assert not (home / "facts").exists()


@pytest.mark.usefixtures("home")
def test_notes_and_runs_go_in_together(tmp_path, capsys):
    run = {
        "source_url": "mine",
        "model": "Qwen3.5-9B",
        "quant": "Q4_K_M",
        "gpu": "RTX 3060",
        "decode_tps": 50,
    }
    code, report, _ = ingest(
        capsys, written(tmp_path / "runs.csv", run), written(tmp_path / "notes.csv", NOTE)
    )
    assert (code, report["read"], report["added"], report["effect"]["facts"]) == (0, 2, 2, 1)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("changed", "column"),
    [
        ({"claim": ""}, "claim"),
        ({"engine": "vlm"}, "engine"),
        ({"applies_to": "hybrid &&& (maybe"}, "applies_to"),
        ({"evidence_url": "somewhere"}, "evidence_url"),
    ],
)
def test_what_does_not_fit_is_named_and_the_rest_is_in(tmp_path, capsys, changed, column):
    path = written(tmp_path / "notes.csv", {**NOTE, **changed}, {**NOTE, "version": "0.35.0"})
    code, report, said = ingest(capsys, path)
    assert (code, report["read"], report["added"], report["rejected"]) == (4, 2, 1, 1)
    (reject,) = report["rejects"]
    assert (reject["file"], reject["line"], reject["column"]) == ("notes.csv", 2, column)
    assert reject["reason"]
    assert said.count("\n") == 1
    assert [note.version for note in service.notes(NOTE["claim"]).notes] == ["0.35.0"]


def test_a_column_that_facts_do_not_have_is_refused_whole(home, tmp_path, capsys):
    path = written(tmp_path / "notes.csv", {**NOTE, "mood": "good"})
    assert main(["ingest", path]) == 2
    assert "no column 'mood'" in capsys.readouterr().err
    assert not (home / "facts").exists()


def test_own_facts_that_are_damaged_say_where(home, capsys):
    (home / "facts").mkdir()
    (home / "facts" / "flags.csv").write_text("engine,flag,source_url\nvllm,,x\n")
    assert main(["flags"]) == 1
    said = capsys.readouterr().err
    assert "flags.csv:2: flag" in said
    assert said.count("\n") == 1


def test_only_facts_are_taken_for_facts(tmp_path):
    assert kind_of(written(tmp_path / "a.csv", NOTE)).name == "release_notes.csv"
    assert kind_of(written(tmp_path / "b.csv", FLAG)).name == "flags.csv"
    assert kind_of(written(tmp_path / "c.csv", {"model": "x", "gpu": "y", "source_url": "z"})) is None
    assert kind_of("-") is None
    assert kind_of(tmp_path) is None
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert kind_of(tmp_path / "binary") is None
    os.mkfifo(tmp_path / "pipe")
    assert kind_of(tmp_path / "pipe") is None  # and does not wait for anybody to write
