"""What llama-bench prints becomes rows, whichever form it has; what is no single figure is refused."""

import csv
import io
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisor import service
from advisor.cli import main
from knowledge.catalog import default_catalog
from knowledge.errors import UsageError
from knowledge.ingest import bench_forms
from knowledge.ingest.bench_forms import form_of
from knowledge.ingest.opening import Reading, open_source, reading
from knowledge.ingest.printed_names import Said
from knowledge.ingest.validation import validate

REAL = Path(__file__).parent / "data" / "bench"
CATALOG = default_catalog()
TINY = Said(
    gpu=CATALOG.gpus["Ryzen 9 7950X"],
    model=CATALOG.models["Qwen/Qwen3-0.6B"].model_copy(update={"total_params_b": 0.00092}),
)
"""What a person would say of the real output here: it is of a nameless model on a CPU that no catalog has."""

HEAD = """\
| model                  |       size |     params | backend    | ngl | fa |            test |           t/s |
| ---------------------- | ---------: | ---------: | ---------- | --: | -: | --------------: | ------------: |
"""
QWEN = "| qwen3 8B Q4_K - Medium |   4.68 GiB |     8.19 B | CUDA       |  99 |  1 |"
PP = f"{QWEN}           pp512 |      3812.10 ± 9.21 |\n"
TG = f"{QWEN}   tg128 @ d4096 |        101.33 ± 0.21 |\n"
BUILD = "\nbuild: 67bee560 (7243)\n"
FIELDS = {
    "build_commit": "67bee560", "build_number": 7243, "cpu_info": "AMD Ryzen 9 7950X 16-Core Processor",
    "gpu_info": "NVIDIA GeForce RTX 3090", "backends": "CUDA", "model_filename": "/m/Qwen3-8B-Q4_K_M.gguf",
    "model_type": "qwen3 8B Q4_K - Medium", "model_size": 5021767680, "model_n_params": 8190735360,
    "n_batch": 2048, "n_ubatch": 512, "n_threads": 16, "type_k": "f16", "type_v": "f16",
    "n_gpu_layers": 99, "n_cpu_moe": 0, "split_mode": "layer", "main_gpu": 0, "no_kv_offload": False,
    "flash_attn": True, "devices": "auto", "tensor_split": "0.00", "tensor_buft_overrides": "none",
    "embeddings": False, "n_prompt": 0, "n_gen": 128, "n_depth": 0, "test_time": "2025-12-02T20:01:02Z",
    "avg_ns": 1, "stddev_ns": 1, "avg_ts": 101.325611, "stddev_ts": 0.21,
}  # fmt: skip


def cards(*names):
    lines = "".join(
        f"  Device {i}: {name}, compute capability 8.6, VMM: yes\n" for i, name in enumerate(names)
    )
    return f"ggml_cuda_init: found {len(names)} CUDA devices:\n{lines}"


def as_json(*tests):
    return json.dumps([{**test, "samples_ns": [1, 2], "samples_ts": [3.5]} for test in tests], indent=2)


def as_jsonl(*tests):
    return "".join(json.dumps({**test, "samples_ns": [1]}) + "\n" for test in tests)


def as_csv(*tests):
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    out.write(",".join(tests[0]) + "\n")
    writer.writerows([int(v) if isinstance(v, bool) else v for v in test.values()] for test in tests)
    return out.getvalue()


def as_table(*tests):
    head = HEAD.replace("| fa |", "| fa | n_ubatch |").replace("| -: |", "| -: | -: |")
    lines = [cards(*tests[0]["gpu_info"].split(", ")), head]
    for test in tests:
        prompt, gen = test["n_prompt"], test["n_gen"]
        what = "+".join([*([f"pp{prompt}"] if prompt else []), *([f"tg{gen}"] if gen else [])])
        depth = f" @ d{test['n_depth']}" if test["n_depth"] else ""
        lines.append(
            f"| {test['model_type']} | {test['model_size'] / 2**30:.2f} GiB "
            f"| {test['model_n_params'] / 1e9:.2f} B "
            f"| {test['backends']} | {test['n_gpu_layers']} | {int(test['flash_attn'])} | {test['n_ubatch']} "
            f"| {what}{depth} | {test['avg_ts']:.2f} ± {test['stddev_ts']:.2f} |\n"
        )
    return "".join(lines) + f"\nbuild: {tests[0]['build_commit']} ({tests[0]['build_number']})\n"


WRITERS = {"json": as_json, "jsonl": as_jsonl, "csv": as_csv, "md": as_table}


@pytest.fixture
def bench(tmp_path):
    def _write(content, name="bench.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return _write


def read(path, way=None, **options):
    """Cells of the rows, and the rejects."""
    with open_source(path, way or reading(**options)) as source:
        chunks = list(source.chunks())
    return [r.cells for c in chunks for r in c.records], [r for c in chunks for r in c.rejects]


# Real output of a real llama-bench, in each form.


@pytest.mark.parametrize("form", ["md", "json", "jsonl", "csv"])
def test_every_form_that_llama_bench_prints_is_read(form):
    path = REAL / f"cpu_tiny.{form}"
    rows, rejects = read(path, Reading(said=TINY))
    whats = [("prefill_tps" in row, row["prompt_tokens"], row["gen_tokens"], row["depth"]) for row in rows]
    assert whats == [
        (True, "8", "0", "0"),
        (False, "0", "2", "0"),
        (True, "8", "0", "16"),
        (False, "0", "2", "16"),
    ]
    assert [reject.reason for reject in rejects] == [
        "pp8+tg2 times prompt and generation together: no single figure"
    ] * 2
    lines = path.read_text().splitlines()
    assert all(re.match(r"\s*(\{|\"|\| llama)", lines[reject.line - 1]) for reject in rejects)
    good, bad = validate(rows)
    assert len(good) == 4
    assert not bad
    assert {row["gpu"] for row in rows} == {"Ryzen 9 7950X"}
    assert {row["backend"] for row in rows} == {"cpu"}
    assert {row["quant"] for row in rows} == {"F32"}
    assert {row["flags"] for row in rows} == {"llama-bench -t 2"}
    assert {row.get("observed_on") for row in rows} == ({None} if form == "md" else {"2026-11-25"})
    assert float(rows[0]["weights_gib"]) == pytest.approx(3681280 / 2**30, rel=2e-3)
    assert "engine_version" not in rows[0]  # a build from a copy without history has no number


def test_the_output_for_databases_is_refused_with_a_way_out():
    with pytest.raises(UsageError, match=r"SQL.*-o jsonl"):
        read(REAL / "cpu_tiny.sql")


def test_settings_come_from_the_columns_of_a_table():
    rows, _ = read(REAL / "cpu_tiny_settings.txt", Reading(said=TINY))
    assert [row["ubatch"] for row in rows] == ["64", "64", "128", "128"]
    assert {(row["kv_type_k"], row["kv_type_v"], row["flash_attn"]) for row in rows} == {
        ("q8_0", "q8_0", "1")
    }


def test_a_cpu_is_named_or_said():
    _, rejects = read(REAL / "cpu_tiny.json", Reading(said=Said(model=TINY.model)))
    assert "the GPU 'AMD EPYC' is not known: say which with --gpu" in {reject.reason for reject in rejects}
    _, rejects = read(REAL / "cpu_tiny.md", Reading(said=Said(model=TINY.model)))
    assert "names no GPU: say which with --gpu" in {reject.reason for reject in rejects}
    _, rejects = read(
        REAL / "cpu_tiny.md", Reading(said=Said(gpu=CATALOG.gpus["RTX 3090"], model=TINY.model))
    )
    assert "ran on the CPU alone, and RTX 3090 is none: say which with --gpu" in {r.reason for r in rejects}


# Tables, as people paste them.


def test_a_table_with_the_lines_above_and_below_it(bench):
    rows, rejects = read(bench(cards("NVIDIA GeForce RTX 3090") + HEAD + PP + TG + BUILD))
    assert not rejects
    assert rows[0] == {
        "source_url": "bench:bench.txt", "model": "Qwen3-8B", "model_raw": "qwen3 8B Q4_K - Medium",
        "weights_gib": "4.68", "params_b": "8.19", "quant": "Q4_K_M", "engine": "llama.cpp",
        "engine_version": "b7243", "backend": "cuda", "gpu": "RTX 3090", "gpu_count": "1", "ngl": "99",
        "offload": "full", "flash_attn": "1", "concurrency": "1", "spec_decode": "none",
        "flags": "llama-bench", "outcome": "ok", "depth": "0", "prompt_tokens": "512", "gen_tokens": "0",
        "prefill_tps": "3812.10", "stddev_tps": "9.21",
    }  # fmt: skip
    assert (rows[1]["decode_tps"], rows[1]["gen_tokens"], rows[1]["depth"]) == ("101.33", "128", "4096")


def test_a_table_alone_needs_the_gpu(bench):
    path = bench(HEAD + PP + TG + BUILD)
    rows, rejects = read(path)
    assert not rows
    assert {reject.reason for reject in rejects} == {"names no GPU: say which with --gpu"}
    assert [reject.line for reject in rejects] == [3, 4]
    rows, _ = read(path, gpu="2x3090")
    assert {(row["gpu"], row["gpu_count"]) for row in rows} == {("RTX 3090", "2")}


def test_each_table_has_its_own_build_and_cards(bench):
    other = PP.replace("CUDA ", "ROCm ")
    amd = "ggml_cuda_init: found 1 ROCm devices:\n  Device 0: AMD Radeon RX 7900 XTX, gfx1100 (0x1100)\n"
    text = cards("NVIDIA GeForce RTX 3090") + HEAD + PP + BUILD + "\n" + amd + HEAD + other
    text += "\nbuild: 12345678 (8182)\n\n| a | b |\n| - | - |\n| 1 | 2 |\n"
    rows, rejects = read(bench(text))
    assert not rejects
    assert [(row["gpu"], row["backend"], row["engine_version"]) for row in rows] == [
        ("RTX 3090", "cuda", "b7243"), ("RX 7900 XTX", "rocm", "b8182"),
    ]  # fmt: skip


def test_a_run_that_was_stopped_keeps_its_rows(bench):
    rows, rejects = read(bench(cards("NVIDIA GeForce RTX 3090") + HEAD + PP + TG[:59]))
    assert len(rows) == 1
    assert "engine_version" not in rows[0]
    assert [reject.reason for reject in rejects] == ["has 4 cells where the table has 8 columns"]
    _, rejects = read(bench(HEAD))
    assert [reject.reason for reject in rejects] == ["holds no test: the run ended before its first"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("pp512", "pp 512", {"prompt_tokens": "512"}),
        ("±", "+-", {"stddev_tps": "9.21"}),
        ("|  1 |", "|  0 |", {"flash_attn": "0"}),
        ("|  1 |", "| auto |", {"flash_attn": "1"}),
        ("|  99 |", "|  -1 |", {"ngl": "-1", "offload": "full"}),
        ("|  99 |", "|  20 |", {"ngl": "20", "offload": "partial"}),
        ("|  99 |", "|   0 |", {"ngl": "0", "offload": "cpu"}),
        ("| ngl |", "| sm |", {"flags": "llama-bench -sm 99"}),
        ("| ngl |", "| n_cpu_moe |", {"n_cpu_moe": "99", "offload": "partial"}),
        ("| ngl |", "| mmap |", {"notes": "mmap 99"}),
        ("| ngl |", "| nkvo |", {"flags": "llama-bench -nkvo 99", "offload": "partial"}),
        ("| ngl |", "| fmoe |", {"engine": "ik_llama.cpp"}),
        ("Q4_K - Medium", "IQ4_XS - 4.25 bpw", {"quant": "IQ4_XS"}),
        ("(7243)", "(1)", {"engine_version": None}),
    ],
)
def test_columns_and_spellings_of_tables(bench, old, new, expected):
    rows, _ = read(bench((cards("NVIDIA GeForce RTX 3090") + HEAD + PP + BUILD).replace(old, new)))
    assert {name: rows[0].get(name) for name in expected} == expected


@pytest.mark.parametrize(("build", "flash"), [(7243, "0"), (9265, "0"), (9400, None), (9600, "1")])
def test_a_table_without_the_column_of_flash_attention(bench, build, flash):
    text = (HEAD + PP).replace(" fa |", "").replace(" -: |", "", 1).replace("  1 |", "", 1)
    rows, _ = read(bench(cards("NVIDIA GeForce RTX 3090") + text + BUILD.replace("7243", str(build))))
    assert rows[0].get("flash_attn") == flash


@pytest.mark.parametrize(
    ("devices", "columns", "count"),
    [
        (2, {}, "2"),
        (2, {"split_mode": "none"}, "1"),
        (3, {"tensor_split": "1.00/0.00/1.00"}, "2"),
        (3, {"devices": "CUDA0/CUDA2"}, "2"),
    ],
)
def test_how_many_cards_worked(bench, devices, columns, count):
    test = FIELDS | {"gpu_info": ", ".join(["NVIDIA GeForce RTX 3090"] * devices)} | columns
    rows, _ = read(bench(as_jsonl(test)))
    assert rows[0]["gpu_count"] == count


def test_cards_of_several_kinds_are_no_one_device_but_the_one_that_worked_is(bench):
    test = FIELDS | {"gpu_info": "NVIDIA GeForce RTX 3090, NVIDIA GeForce RTX 4090"}
    path = bench(as_jsonl(test, test | {"split_mode": "none", "main_gpu": 1}, test | {"devices": "CUDA0"}))
    rows, rejects = read(path)
    assert [row["gpu"] for row in rows] == ["RTX 4090", "RTX 3090"]
    assert "several kinds of GPU" in rejects[0].reason
    rows, _ = read(path, gpu="4090")
    assert [row["gpu_count"] for row in rows] == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"n_prompt": 512}, "pp512+tg128 times prompt and generation together"),
        ({"n_gen": 0}, "times neither a prompt nor generation"),
        ({"embeddings": True}, "times embeddings"),
        ({"backends": "CUDA,RPC"}, "several machines"),
        ({"model_filename": "secret.gguf"}, "the model 'secret.gguf' is not known: say which with --model"),
        ({"gpu_info": "Voodoo 2"}, "the GPU 'Voodoo 2' is not known: say which with --gpu"),
        ({"model_n_params": 32762123264}, "has 32.8 B parameters where Qwen3-8B has 8.19 B"),
        ({"n_depth": "deep"}, "n_depth 'deep' is not a whole number"),
        ({"model_size": 1e30}, "model_size '1e+30' is not a whole number"),
        ({"n_gpu_layers": {}}, None),
        ({"model_type": "\ud800", "model_filename": "Qwen3-8B-\ud800.gguf"}, None),
        ({"avg_ts": "nan"}, None),
    ],
)
def test_what_is_no_row_says_why(bench, changed, says):
    rows, rejects = read(bench(as_json(FIELDS, FIELDS | changed)))
    if says is None:
        assert len(rows) + len(rejects) == 2
        return
    assert len(rows) == 1
    assert says in rejects[0].reason
    assert rejects[0].line == as_json(FIELDS).count("\n") + 1


def test_a_table_says_which_models_it_can_mean(bench):
    row = PP.replace("qwen3 8B", "qwen35moe 35B.A3B").replace("8.19 B", "34.66 B")
    _, rejects = read(bench(HEAD + row), gpu="3090")
    assert "can be Qwen3.5-35B-A3B, Qwen3.6-35B-A3B: say which with --model" in rejects[0].reason
    rows, _ = read(bench(HEAD + row), gpu="3090", model="qwen3.6-35b-a3b")
    assert rows[0]["model"] == "Qwen3.6-35B-A3B"
    _, rejects = read(bench(HEAD + PP), gpu="3090", model="qwen3.6-35b-a3b")
    assert "has 8.19 B parameters where Qwen3.6-35B-A3B has 34.7 B" in rejects[0].reason


def test_the_file_knows_the_recipe_of_the_format(bench):
    rows, _ = read(bench(as_json(FIELDS | {"model_filename": "C:\\m\\Qwen3-8B-UD-Q4_K_XL.gguf"})))
    assert (rows[0]["quant"], rows[0]["model_raw"]) == ("UD-Q4_K_XL", "Qwen3-8B-UD-Q4_K_XL.gguf")


def test_what_a_terminal_mixes_in_does_no_harm(bench):
    noise = "ggml_cuda_init: found 1 CUDA devices:\nllama-bench: benchmark 1/2: starting\n"
    rows, rejects = read(bench(noise + as_json(FIELDS, FIELDS | {"n_depth": 4096})))
    assert (len(rows), rejects) == (2, [])
    rows, _ = read(bench(noise + as_csv(FIELDS, FIELDS | {"n_depth": 4096})))
    assert len(rows) == 2
    rows, _ = read(bench((cards("NVIDIA GeForce RTX 3090") + HEAD + PP + BUILD).encode("utf-16")))
    assert len(rows) == 1  # as Windows PowerShell writes it
    both = HEAD + PP + as_jsonl(FIELDS)  # -o md -oe jsonl, in one file
    rows, _ = read(bench(both))
    assert [row.get("decode_tps") for row in rows] == ["101.325611"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x7fELF\0\0", "is a binary file"),
        ("hello\n", "begins with no output of llama-bench"),
        ("| model | test |\n", "begins with no output of llama-bench"),
    ],
)
def test_a_file_that_is_something_else_is_refused_in_one_line(bench, content, says):
    with pytest.raises(UsageError) as caught:
        read(bench(content), file_format="bench")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


# Properties.

TESTS = st.fixed_dictionaries(
    {
        "rate": st.floats(0.01, 1e5).map(lambda value: round(value, 2)),
        "stddev_ts": st.floats(0, 1e3).map(lambda value: round(value, 2)),
        "n_depth": st.integers(0, 10**6),
        "tokens": st.integers(1, 10**5),
        "prompt": st.booleans(),
        "n_ubatch": st.integers(1, 4096),
        "n_gpu_layers": st.integers(-1, 99),
        "flash_attn": st.booleans(),
    }
)


def test_of(drawn):
    kind, other = ("n_prompt", "n_gen") if drawn["prompt"] else ("n_gen", "n_prompt")
    kept = {name: drawn[name] for name in drawn.keys() & FIELDS.keys()}
    return FIELDS | kept | {kind: drawn["tokens"], other: 0, "avg_ts": drawn["rate"]}


test_of.__test__ = False


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TESTS, min_size=1, max_size=5))
def test_every_form_tells_the_same(tmp_path, drawn):
    tests = [test_of(one) for one in drawn]
    told = {}
    for form, write in WRITERS.items():
        path = tmp_path / f"bench.{form}"
        path.write_text(write(*tests), encoding="utf-8")
        rows, rejects = read(path)
        assert not rejects
        good, bad = validate(rows)
        assert not bad
        names = ("decode_tps", "prefill_tps", "stddev_tps", "depth", "prompt_tokens", "gen_tokens", "ngl",
                 "ubatch", "flash_attn", "offload", "gpu", "model", "quant", "engine_version")  # fmt: skip
        told[form] = [[getattr(row, name) for name in names] for _, row in good]
    assert told["json"] == told["jsonl"] == told["csv"] == told["md"]
    assert [row[0] or row[1] for row in told["md"]] == [one["rate"] for one in drawn]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(sorted(WRITERS)),
    cuts=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 40), st.binary(max_size=12)), max_size=6),
)
def test_a_damaged_file_never_breaks_anything(tmp_path, form, cuts):
    raw = bytearray(WRITERS[form](FIELDS, FIELDS | {"n_depth": 4096}).encode())
    for at, length, junk in cuts:
        raw[at : at + length] = junk
    path = tmp_path / "bench.txt"
    path.write_bytes(raw)
    said = []
    try:
        rows, rejects = read(path, file_format="bench")
    except UsageError as error:
        said.append(str(error))
        rows, rejects = [], []
    assert not any("\n" in text for text in said)
    good, bad = validate(rows)
    assert len(good) + len(bad) == len(rows)
    for reject in rejects:
        assert 1 <= reject.line <= raw.count(b"\n") + 1
        reject.text.encode()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(sorted(FIELDS)),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just([[1]])),
        max_size=6,
    )
)
def test_values_of_any_kind_are_refused_or_read(tmp_path, changed):
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps(FIELDS) + "\n" + json.dumps(FIELDS | changed), encoding="utf-8")
    rows, rejects = read(path)
    assert len(rows) + len(rejects) == 2
    validate(rows)


def test_hostile_json_is_cut_short(bench, monkeypatch):
    monkeypatch.setattr(bench_forms, "_BLOCK", 256)
    monkeypatch.setattr(bench_forms, "_LONGEST", 4096)
    rows, rejects = read(bench(as_jsonl(FIELDS) + "{" * 20_000))
    assert (len(rows), [reject.line for reject in rejects]) == (1, [2])
    assert "nothing behind it is read" in rejects[0].reason
    rows, rejects = read(bench(as_jsonl(FIELDS) + "{}" * 5000))
    assert len(rejects) == bench_forms._MOST_STRAY + 1
    deep = '{"n_gen": 1, "avg_ts": ' + "[" * 200 + "]" * 200 + "}"
    _, rejects = read(bench(as_jsonl(FIELDS) + deep))
    assert "nested more than" in rejects[0].reason
    rows, rejects = read(bench(as_json(FIELDS, FIELDS)[:-400]))
    assert (len(rows), rejects[0].reason) == (1, "ends within a test")


def test_braces_within_texts_are_no_objects(bench):
    test = FIELDS | {"tensor_buft_overrides": 'a{1,2}"\\}{=CPU'}
    for write in (as_json, as_jsonl):
        rows, rejects = read(bench(write(test, FIELDS)))
        assert (len(rows), rejects) == (2, [])
        assert rows[0]["offload"] == "partial"


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_the_form_is_recognised_by_content(form):
    found = form_of(WRITERS[form](FIELDS).encode())
    assert found == {"jsonl": "json", "md": "table"}.get(form, form)
    assert form_of(b"source_url,model,gpu\n") is None


# All the way in.


@pytest.fixture
def home(shipped_home, tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "store.duckdb").write_bytes((shipped_home / "store.duckdb").read_bytes())
    monkeypatch.setenv("ADVISOR_HOME", str(folder))
    return folder


def test_reading_it_twice_adds_nothing(home, bench):
    path = bench(as_json(FIELDS, FIELDS | {"n_gen": 0, "n_prompt": 512, "avg_ts": 3800.5}))
    first, second = service.ingest(path), service.ingest(path)
    assert (first.read, first.added, second.added, second.duplicates) == (2, 2, 0, 2)
    assert first.effect["next"] == "advisor train"
    assert first.effect["starts"] == []
    (seen, _) = service.observations(text="bench:bench.txt").observations
    assert (seen["gpu"], seen["origin"]) == ("RTX 3090", "user")


def test_what_no_card_can_do_is_held_back(home, bench):
    report = service.ingest(bench(as_json(FIELDS | {"avg_ts": 5000.0})), dry_run=True)
    assert report.quarantined == 1


def test_the_command_line_takes_it_from_a_pipe(home, monkeypatch, capsys):
    class Stdin:
        buffer = io.BufferedReader(io.BytesIO((HEAD + PP + TG + BUILD).encode()))

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert main(["ingest", "-", "--gpu", "3090"]) == 0
    assert "read 2 = added 2" in capsys.readouterr().out
