"""The program from outside: what it prints where, its exit codes, and one line for every mistake."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from advisor.cli import main

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).with_name("golden")
NAMED = ["--model", "qwen3.5-9b", "--gpu", "3090"]
EXACT = ["predict", *NAMED, "--quant", "Q4_K_M"]
HEADER = "source_url,model,quant,engine,gpu,concurrency,decode_tps\n"
ROW = "https://example.org/mine,Qwen3.5-35B-A3B,Q4_K_M,llama.cpp,RTX 3090,1,{}\n"


@pytest.fixture
def home(shipped_home, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(shipped_home))
    monkeypatch.delenv("ADVISOR_DEBUG", raising=False)
    return shipped_home


@pytest.fixture
def run(home, capsys):
    """Run a command line in this process: (exit code, stdout, stderr)."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out = capsys.readouterr()
        assert "Traceback" not in out.err
        return code, out.out, out.err

    return run


def in_a_process(*arguments, **options):
    """The program as a process of its own."""
    command = [sys.executable, "-m", "advisor", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)


def is_one_error(stderr):
    return stderr.startswith("error: ") and stderr.count("\n") == 1 and stderr.endswith("\n")


WRONG = [
    (["recommend"], "no GPU"),
    (["recommend", "--gpu", "4099"], "RTX 4090"),
    (["recommend", "--gpu", "5060 ti"], "ambiguous"),
    (["recommend", "--gpu", ""], "--gpu"),
    (["recommend", "--gpu", "4090", "--ctx", "banana"], "--ctx"),
    (["recommend", "--gpu", "4090", "--ctx", "0"], "--ctx"),
    (["recommend", "--gpu", "4090", "--ctx", "-5"], "--ctx"),
    (["recommend", "--gpu", "4090", "--ctx", "1e400"], "--ctx"),
    (["recommend", "--gpu", "4090", "--ctx", "2.5"], "--ctx"),
    (["recommend", "--gpu", "4090", "--ctx", "9" * 400], "--ctx"),
    (["recommend", *NAMED, "--ctx", "2M"], "256Ki"),
    (["predict", *NAMED, "--quant", "Q4_K_M", "--ctx", "2M"], "256Ki"),
    (["recommend", "--gpu", "4090", "--vram", "0"], "--vram"),
    (["recommend", "--gpu", "4090", "--vram", "nan"], "--vram"),
    (["recommend", "--gpu", "4090", "--vram-used", "-1"], "--vram-used"),
    (["recommend", "--gpu", "4090", "--max-oom", "1.5"], "--max-oom"),
    (["recommend", "--gpu", "4090", "--max-oom", "inf"], "--max-oom"),
    (["recommend", "--gpu", "4090", "--min-tps", "-1"], "--min-tps"),
    (["recommend", "--gpu", "4090", "--top", "0"], "--top"),
    (["recommend", "--gpu", "4090", "--concurrency", "two"], "--concurrency"),
    (["recommend", "--gpu", "4090", "--goal", "best"], "balanced"),
    (["recommend", "--gpu", "4090", "--engine", "tabby"], "llama.cpp"),
    (["recommend", "--gpu", "4090", "--engine", "vllm", "--ubatch", "256"], "--ubatch"),
    (["recommend", "--gpu", "4090", "--engine-version", "b9000"], "--engine"),
    (["recommend", "--gpu", "4090", "--backend", "opencl"], "vulkan"),
    (["recommend", "--gpu", "4090", "--kv-type", "q9"], "q8_0"),
    (["recommend", "--gpu", "4090", "--spec", "magic"], "mtp"),
    (["recommend", "--gpu", "4090", "--flash-attn", "perhaps"], "--flash-attn"),
    (["recommend", "--gpu", "4090", "--tp", "2"], "--tp"),
    (["recommend", "--gpu", "2x3090", "--gpu-count", "3"], "--gpu-count"),
    (["recommend", "--gpu", "4090", "--weights-gib", "5"], "--weights-gib"),
    (["recommend", "--gpu", "4090", "--depth", "64k"], "--depth"),
    (["recommend", "--gpu", "4090", "--model", "qwen"], "ambiguous"),
    (["recommend", "--gpu", "4090", "--model", "frobnicate-7b"], "advisor models"),
    (["recommend", "--gpu", "4090", "--model", "qwen3.5-9b", "--quant", "Q9_Z"], "advisor models --quants"),
    (["predict", "--gpu", "4090"], "no model"),
    (["predict", *NAMED], "Q4_K_M"),
    (["predict", *NAMED, "--quant", "4-bit"], "Q4_K_M"),
    (["predict", "--gpu", "3090", "--model", "qwen3.5-9b:Q8_0", "--quant", "Q4_K_M"], "Q8_0"),
    ([*EXACT, "--engine", "vllm"], "llama.cpp"),
    ([*EXACT, "--weights-gib", "500"], "500 GiB"),
    ([*EXACT, "--kv-type", "q4_0", "--flash-attn", "off"], "flash attention"),
    ([*EXACT, "--n-cpu-moe", "-3"], "--n-cpu-moe"),
    (["observations", "--gpu", "4099"], "RTX 4090"),
    (["observations", "--limit", "none"], "--limit"),
    (["observations", "--kind", "wrong"], "quarantined"),
    (["notes", "--engine", "tabby"], "vllm"),
    (["flags", "--engine", "tabby"], "vllm"),
    (["ui", "--port", "many"], "--port"),
    (["ingest", "--format", "xml", "-"], "csv"),
    (["ingest"], "FILE"),
    (["recommend", "--nonsense"], "--nonsense"),
    (["recommend", "--gpu"], "--gpu"),
    (["frobnicate"], "frobnicate"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=lambda value: " ".join(value)[:60])
def test_a_mistake_is_one_line_that_says_what_to_do_and_exit_code_2(run, arguments, said):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert is_one_error(err)
    assert said in err


def test_mistakes_look_the_same_with_json(run):
    code, out, err = run("recommend", "--gpu", "4099", "--json")
    assert (code, out) == (2, "")
    assert is_one_error(err)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.csv", None),
        ("empty.csv", b""),
        ("header.csv", b"a,b,c\n1,2,3\n"),
        ("binary.csv", bytes(range(256)) * 20),
    ],
)
def test_a_file_that_is_no_observations_is_refused(run, tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    code, out, err = run("ingest", path)
    assert (code, out) == (2, "")
    assert is_one_error(err)
    assert name in err


@pytest.mark.parametrize("rate", ["1e400", "-12", "nan", "fast"])
def test_a_bad_row_is_named_by_its_line_and_the_good_ones_are_taken(run, tmp_path, rate):
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + ROW.format(100) + ROW.format(rate))
    code, out, err = run("ingest", "--json", "--dry-run", path)
    report = json.loads(out)
    assert code == 4
    assert is_one_error(err)
    assert (report["read"], report["added"], report["rejected"]) == (2, 1, 1)
    assert [(r["line"], r["column"]) for r in report["rejects"]] == [(3, "decode_tps")]


def test_an_implausible_row_is_quarantined_with_its_reason(run, tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + ROW.format(90_000))
    code, out, err = run("ingest", "--dry-run", path)
    assert code == 4
    assert is_one_error(err)
    assert "quarantined 1" in out
    assert "runs.csv:2" in out


def break_store(home, sql):
    with duckdb.connect(str(home / "store.duckdb")) as con:
        con.execute("create table meta (key varchar primary key, value varchar not null)")
        con.execute(sql)


@pytest.fixture
def newer_store(tmp_path, monkeypatch):
    break_store(tmp_path, "insert into meta values ('schema_version', '99')")
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))


@pytest.mark.usefixtures("newer_store")
def test_a_store_of_a_newer_schema_stops_those_who_need_it_and_nobody_else(
    home, capsys, tmp_path, monkeypatch
):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + ROW.format(100))
    for arguments in (["observations"], ["ingest", str(path)]):
        assert main(arguments) == 5
        out = capsys.readouterr()
        assert out.out == ""
        assert is_one_error(out.err)
        assert "newer" in out.err
    assert main([*EXACT, "--json"]) == 0
    out = capsys.readouterr()
    prediction = json.loads(out.out)
    assert prediction["evidence"] == []
    assert [w["rule"] for w in prediction["warnings"]].count("store") == 1
    assert out.err.startswith("note: ")
    assert out.err.count("\n") == 1


def test_a_home_that_cannot_be_written_costs_the_ingestion_only(run, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("ADVISOR_HOME", str(blocked / "home"))
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + ROW.format(100))
    code, out, err = run("ingest", path)
    assert (code, out) == (5, "")
    assert is_one_error(err)
    assert "ADVISOR_HOME" in err


def test_without_any_home_questions_are_answered_and_rows_refused(run, tmp_path, monkeypatch):
    def nobody(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ADVISOR_HOME")
    monkeypatch.setattr(Path, "home", classmethod(nobody))
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + ROW.format(100))
    code, _, err = run("ingest", path)
    assert code == 5
    assert is_one_error(err)
    assert "ADVISOR_HOME" in err
    code, out, err = run(*EXACT, "--json")
    assert code == 0
    assert json.loads(out)["evidence"]
    assert err.startswith("note: ")
    assert "home" in err


def test_nothing_fits_is_exit_code_3_with_the_reason(run):
    code, out, err = run("recommend", "--model", "qwen3.5-397b-a17b", "--gpu", "3060 12gb", "--json")
    assert code == 3
    found = json.loads(out)
    assert found["recommendations"] == []
    assert found["rejected"]
    assert is_one_error(err)
    assert "nothing fits" in err


def test_an_interruption_is_exit_code_130(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("advisor.service.gpus", interrupted)
    code, _, err = run("gpus")
    assert (code, err) == (130, "")


def test_a_defect_is_one_line_too_and_the_whole_story_on_demand(run, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("advisor.service.gpus", broken)
    code, _, err = run("gpus")
    assert code == 1
    assert is_one_error(err)
    assert "ZeroDivisionError" in err
    monkeypatch.setenv("ADVISOR_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["gpus"])


@pytest.mark.skipif(os.name != "posix", reason="a shell's pipe")
@pytest.mark.usefixtures("home")
def test_a_reader_that_goes_away_is_no_error():
    script = f'"{sys.executable}" -m advisor notes; echo $? >&2'
    done = subprocess.run(
        ["bash", "-c", f"({script}) | head -1"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr in {"141\n", "0\n"}


def test_help_and_version_and_no_command_at_all(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    for command in (
        "recommend",
        "predict",
        "observations",
        "gpus",
        "models",
        "notes",
        "flags",
        "ingest",
        "doctor",
    ):
        assert f"\n  {command} " in out
        assert run(command, "--help")[0] == 0
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("advisor ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["recommend", *NAMED, "--top", "1"], EXACT, ["gpus", "4090"], ["models", "qwen3.5"],
        ["models", "--quants"], ["notes", "mtp"], ["flags", "--engine", "vllm"],
        ["observations", "--model", "qwen3.5-35b-a3b", "--gpu", "3090", "--limit", "2"],
        ["observations", "--kind", "quarantined", "--limit", "1"], ["doctor"],
    ],
)  # fmt: skip
def test_every_reading_command_prints_tables_or_one_json_object(run, arguments):
    code, out, err = run(*arguments)
    assert out.strip()
    assert "\x1b" not in out
    assert err == ""
    code_of_json, out, err = run(*arguments, "--json")
    assert code_of_json == code
    assert json.loads(out)["schema_version"] == 1
    assert err == ""


@pytest.mark.parametrize("columns", ["60", "80", "100"])
def test_commands_and_addresses_are_whole_at_any_width(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    arguments = ["recommend", "--model", "qwen3.5-35b-a3b", "--gpu", "3090", "--ctx", "256Ki"]
    _, text, _ = run(*arguments)
    best = json.loads(run(*arguments, "--json")[1])["recommendations"][0]
    lines = [line.strip() for line in text.splitlines()]
    assert best["command"] in lines
    addresses = [item["source_url"] for item in best["evidence"]]
    addresses += [
        item["evidence_url"] for item in [*best["notes"], *best["warnings"]] if item["evidence_url"]
    ]
    assert addresses
    assert set(addresses) <= set(lines)


def masked(text):
    """The text without what training and data may change: figures, widths, and what follows the reasons."""
    text, why = re.split(
        r"^Why\n", re.split(r"^Measured runs", text, flags=re.MULTILINE)[0], flags=re.MULTILINE
    )
    text = re.sub(r"^ +(measured|between|beyond|from phys).*$", "  (its basis)", text, flags=re.MULTILINE)
    text = f"{text}Why {' '.join(why.split())}\n"
    text = re.sub(r"(?<![\w.-])<?\d+(?:[.,]\d+)*(?!\w|\.\d)( MiB| GiB)?", "#", text)
    return re.sub(r"[ ]{2,}", "  ", re.sub(r"[ ]+$", "", text, flags=re.MULTILINE))


def test_the_answer_reads_as_it_did(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    _, text, _ = run(
        "recommend", "--model", "qwen3.5-35b-a3b", "--quant", "UD-Q4_K_XL", "--gpu", "3090", "--ctx", "64k",
        "--engine", "llama.cpp", "--kv-type", "q8_0",
    )  # fmt: skip
    golden = GOLDEN / "recommend.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(masked(text), encoding="utf-8")
    assert masked(text) == golden.read_text(encoding="utf-8")


def test_the_program_runs_as_a_process(home):
    done = in_a_process("gpus", "4090", env={**os.environ, "NO_COLOR": "1"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "RTX 4090" in done.stdout
    done = in_a_process("gpus", "--frob")
    assert done.returncode == 2
    assert is_one_error(done.stderr)
