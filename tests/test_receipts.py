"""Start logs become rows and receipts: what is told is kept, what is not is empty, and answers follow."""

import contextlib
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisor import receipts as room
from advisor import service
from advisor.asking import understand
from advisor.calibration import calibrated, judged
from advisor.cli import main
from advisor.receipts import FILE_NAME, Receipt, Receipts, own_receipts, receipt_of
from advisor.setups import setup_for
from knowledge.catalog import default_catalog
from knowledge.errors import AdvisorError, UsageError
from knowledge.ingest import log_lines
from knowledge.ingest.opening import open_source, reading
from knowledge.ingest.resolving import Resolver
from knowledge.ingest.validation import validate

LOGS = Path(__file__).parent / "data" / "logs"
NAMES = sorted(path.name for path in LOGS.glob("*.log"))
ASK = {
    "model": "qwen3.5-35b-a3b",
    "quant": "Q4_K_M",
    "gpu": "3090",
    "engine": "llama.cpp",
    "engine_version": "b8182",
    "ctx": 131072,
}


def read(path, **options):
    """Cells of the rows in a log, and its rejects."""
    with open_source(path, reading(**options)) as source:
        chunks = list(source.chunks())
    return [r.cells for c in chunks for r in c.records], [r for c in chunks for r in c.rejects]


def figures(cells):
    return {k: float(v) for k, v in re.findall(r"(\w+)=(-?[\d.e+]+)", cells.get("notes", ""))}


def text(name):
    return (LOGS / name).read_text()


@pytest.fixture
def home(shipped_home, tmp_path, monkeypatch):
    """A data folder of one's own, with the shipped store in it."""
    (tmp_path / "store.duckdb").write_bytes((shipped_home / "store.duckdb").read_bytes())
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def log(tmp_path):
    def _write(content, name="boot.log"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return _write


# What the logs of several engines, versions and back ends say.


@pytest.mark.parametrize(
    ("name", "options", "expected", "measured"),
    [
        (
            "llamacpp_b8182_3090.log",
            {},
            {
                "model": "Qwen3.5-35B-A3B", "quant": "Q4_K_M", "gpu": "RTX 3090", "engine": "llama.cpp",
                "engine_version": "b8182", "backend": "cuda", "ctx_limit": "65536", "kv_type_k": "f16",
                "ubatch": "512", "flash_attn": "1", "ngl": "41", "offload": "full", "outcome": "ok",
                "weights_gib": "19.72", "params_b": "34.66", "flags": "-np 4 -kvu", "vram_used_gib": "21.32",
            },
            {"model_mib": 19804.59, "kv_mib": 1280, "rs_mib": 251.25, "compute_mib": 497, "free_mib": 23887},
        ),
        (
            "llamacpp_b3580_4090_cli.log",
            {},
            {
                "model": "Llama-3.1-8B-Instruct", "quant": "Q4_K_M", "gpu": "RTX 4090", "flash_attn": "0",
                "engine_version": "b3580", "ctx_limit": "8192", "offload": "full", "outcome": "ok",
            },
            {"model_mib": 4403.49, "model_host_mib": 281.81, "kv_mib": 1024, "compute_mib": 560},
        ),
        (
            "llamacpp_vulkan_7900xtx_oom.log",
            {},
            {
                "model": "Qwen3-Coder-30B-A3B-Instruct", "quant": "UD-Q5_K_XL", "gpu": "RX 7900 XTX",
                "backend": "vulkan", "ctx_limit": "131072", "outcome": "oom",
            },
            {"model_mib": 20517.08, "asked_mib": 256, "free_mib": 24330},
        ),
        (
            "llamacpp_metal_m4max.log",
            {},
            {"model": "gpt-oss-20b", "quant": "MXFP4", "backend": "metal", "outcome": "ok"},
            {"kv_mib": 3096, "model_mib": 10949.38, "compute_mib": 398.38, "compute_host_mib": 264.15},
        ),
        (
            "vllm_0.21_4090_48g.log",
            {"gpu": "4090 48gb"},
            {
                "model": "Qwen3.6-27B", "quant": "FP8", "engine": "vllm", "engine_version": "0.21.0",
                "ctx_limit": "131072", "kv_type_k": "fp8", "tp": "1", "outcome": "ok", "vram_gib": "48",
                "flags": "--gpu-memory-utilization 0.85 --max-num-batched-tokens 2048 --max-num-seqs 4",
            },
            {"model_mib": 29429.76, "kv_mib": 8837.12, "graphs_mib": 542.72, "kv_tokens": 261856},
        ),
        (
            "vllm_0.21_4090_too_long.log",
            {"gpu": "4090 48gb"},
            {"ctx_limit": "262144", "outcome": "oom"},
            {"longest_tokens": 261856, "kv_mib": 8837.12},
        ),
        (
            "vllm_0.11_3090_no_room.log",
            {"gpu": "3090"},
            {"model": "Qwen3-8B", "quant": "AWQ-INT4", "outcome": "oom", "engine_version": "0.11.0"},
            {"free_mib": 22425.6, "total_mib": 24145.92},
        ),
        (
            "vllm_0.6.4_3090.log",
            {"gpu": "3090"},
            {"model": "Llama-3.1-8B-Instruct", "quant": "BF16", "outcome": "ok", "ctx_limit": "20000"},
            {
                "model_mib": 15348.53, "kv_mib": 3901.44, "kv_blocks": 1952, "graphs_mib": 296.96,
                "non_torch_mib": 358.4,
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_log_says_what_was_launched_and_what_it_took(name, options, expected, measured):
    (cells,), rejects = read(LOGS / name, **options)
    assert rejects == []
    assert {key: cells.get(key) for key in expected} == expected
    told = figures(cells)
    assert {key: told.get(key) for key in measured} == pytest.approx(measured)


def test_two_starts_in_one_file_are_two_rows_of_two_cards_each():
    (first, second), rejects = read(LOGS / "llamacpp_b9265_2x3090_two_starts.log")
    assert rejects == []
    assert (first["outcome"], second["outcome"]) == ("ok", "oom")
    assert (first["gpu_count"], first["vram_gib"], first["ctx_limit"]) == ("2", "24", "16384")
    told = figures(first)
    assert told["model_mib"] == pytest.approx(39979.48)  # of both cards
    assert told["compute_mib"] == pytest.approx(420.52)  # of the fuller one
    assert told["overhead_mib"] == 23804 - 1750 - 21745  # from the table that is printed at the end
    assert "vram_used_gib" not in second
    assert "kv_mib" not in figures(second)


@pytest.mark.parametrize("name", NAMES)
def test_dress_does_not_matter(name, log):
    """Colours, containers' time stamps, Windows line ends, UTF-16 and other programs' lines between."""
    way = {"gpu": "4090 48gb"} if name.startswith("vllm") else {}
    plain, _ = read(LOGS / name, **way)
    lines = text(name).splitlines()
    coloured = "".join(
        f"\x1b[32m2026-11-24T10:00:0{i % 9}.123Z\x1b[0m {line}\r\n" for i, line in enumerate(lines)
    )
    mixed = "".join(f"{line}\nGET /health 200\ntemp 61 °C 300 W\n" for line in lines)
    for content in (coloured, mixed, text(name).encode("utf-16"), "\ufeff" + text(name)):
        again, rejects = read(log(content, name), **way)
        assert rejects == []
        assert [strip(row) for row in again] == [strip(row) for row in plain]


def strip(cells):
    """Cells without what a stamp or a line number changes."""
    return {k: re.sub(r"line \d+: ", "", v) for k, v in cells.items() if k != "observed_on"}


def test_a_full_date_in_front_of_the_lines_is_the_day(log):
    lines = text("llamacpp_b8182_3090.log").splitlines()
    (cells,), _ = read(log("\n".join(f"2026-11-24T10:00:00.5Z {line}" for line in lines)))
    assert cells["observed_on"] == "2026-11-24"
    assert "observed_on" not in read(LOGS / "llamacpp_b8182_3090.log")[0][0]


def test_a_draft_and_a_projector_are_not_the_models_buffers(log):
    own = text("llamacpp_b8182_3090.log")
    more = own.replace(
        "main: model loaded",
        "clip_model_loader: model size:         865.32 MiB\n"
        "alloc_compute_meta:      CUDA0 compute buffer size =   248.10 MiB\n"
        "srv    load_model: loading draft model '/models/Qwen3.5-0.8B-Q8_0.gguf'\n"
        "load_tensors:        CUDA0 model buffer size =   763.78 MiB\n"
        "llama_context: constructing llama_context\n"
        "llama_context: n_ctx         = 4096\n"
        "llama_kv_cache:      CUDA0 KV buffer size =    48.00 MiB\n"
        "llama_context:      CUDA0 compute buffer size =   300.00 MiB\n"
        "main: model loaded",
    )
    (cells,), _ = read(log(more))
    (plain,), _ = read(LOGS / "llamacpp_b8182_3090.log")
    assert figures(cells) | {"mmproj_mib": 0} == figures(plain) | {"mmproj_mib": 0}
    assert figures(cells)["mmproj_mib"] == pytest.approx(865.32)
    assert cells["spec_decode"] == "draft"


def test_experts_that_were_moved_are_counted(log):
    moved = "".join(
        f"tensor blk.{layer}.ffn_{kind}_exps.weight (102 MiB q4_K) buffer type overridden to CPU\n"
        for layer in range(12)
        for kind in ("up", "down", "gate")
    )
    (cells,), _ = read(
        log(
            text("llamacpp_b8182_3090.log").replace(
                "load_tensors: offloaded", moved + "load_tensors: offloaded"
            )
        )
    )
    assert (cells["n_cpu_moe"], cells["offload"]) == ("12", "partial")


def test_a_start_that_came_through_at_the_second_attempt_is_no_failure(log):
    own = text("llamacpp_b8182_3090.log")
    failed = (
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 1977.02 MiB on device 0: "
        "cudaMalloc failed: out of memory\n"
    )
    (cells,), _ = read(log(own.replace("sched_reserve:      CUDA0", failed + "sched_reserve:      CUDA0")))
    assert cells["outcome"] == "ok"


def test_memory_that_gives_out_under_way_is_a_failure(log):
    (cells,), _ = read(log(text("llamacpp_b8182_3090.log") + "CUDA error: out of memory\n"))
    assert cells["outcome"] == "oom"
    assert "vram_used_gib" not in cells


# What is not told, and what is no log.


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.replace("3090", "9999"), "GPU 'NVIDIA GeForce RTX 9999' is not known"),
        (lambda s: re.sub(r".*(Device 0|using device).*\n", "", s), "names no GPU"),
        (lambda s: s.replace("Qwen3.5-35B-A3B", "Mystery"), "the model 'Mystery-Q4_K_M.gguf' is not known"),
        (lambda s: re.sub(r".*(gguf|general.name).*\n", "", s), "names no model"),
        (lambda s: s[: s.index("llama_kv_cache:")], "ends before the start does"),
    ],
)
def test_a_start_that_cannot_be_placed_is_rejected_at_its_line(log, change, reason):
    rows, (reject,) = read(log(change(text("llamacpp_b8182_3090.log"))))
    assert rows == []
    assert reason in reject.reason
    assert 1 <= reject.line <= 5


def test_what_the_person_says_fills_in(log):
    bare = re.sub(r".*(Device 0|using device|gguf|general.name).*\n", "", text("llamacpp_b8182_3090.log"))
    (cells,), _ = read(log(bare), gpu="2x 4090", model="qwen3.5-35b-a3b")
    assert (cells["gpu"], cells["gpu_count"], cells["model"]) == ("RTX 4090", "2", "Qwen3.5-35B-A3B")
    with pytest.raises(UsageError, match="unknown GPU"):
        reading(gpu="4091")


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (b"", {}, "is empty"),
        (b"", {"file_format": "log"}, "is empty"),
        (b"\x7fELF\0\0\0\0", {}, "binary"),
        (b"\x7fELF\0\0\0\0", {"file_format": "log"}, "binary"),
        (b"hello world\n", {}, "no CSV of runs"),
    ],
)
def test_what_is_no_log_is_one_complaint(log, content, options, said):
    with pytest.raises(UsageError, match=said) as caught:
        read(log(content, "some.bin"), **options)
    assert "\n" not in str(caught.value)


def test_a_log_without_a_start_is_one_reject(log):
    rows, (reject,) = read(log("hello\n", "quiet.log"))
    assert rows == []
    assert (reject.line, reject.reason) == (1, "holds no start of llama.cpp or vLLM")


def test_a_log_may_end_anywhere_in_its_arguments(log):
    whole = text("vllm_0.21_4090_48g.log")
    begin = whole.index("non-default args")
    for end in range(begin, whole.index("\n", begin)):
        read(log(whole[:end], "cut.log"))  # rows or rejects, and no failure


NUMBER = re.compile(r"\d+(?:\.\d+)?")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(NAMES), data=st.data())
def test_whatever_is_lost_of_a_log_nothing_is_invented(tmp_path, name, data):
    """Dropped lines and a cut never crash; each figure of a row stands in the lines that are left."""
    lines = text(name).splitlines(keepends=True)
    gone = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=len(lines)))
    left = "".join(line for index, line in enumerate(lines) if index not in gone)
    left = left[: data.draw(st.integers(0, len(left)))] if data.draw(st.booleans()) else left
    if not left:
        return
    path = tmp_path / "cut.log"
    path.write_text(left)
    rows, rejects = read(path, file_format="log", gpu="4090 48gb", model="qwen3.6-27b")
    assert rows or rejects
    printed = [float(number) for number in NUMBER.findall(left.replace(",", ""))]
    good, _ = validate(rows)
    for _, row in good:
        receipt_of(row, Resolver(default_catalog()).resolve(row))
    for cells in rows:
        for key in ("ctx_limit", "ubatch", "weights_gib", "params_b"):
            if key in cells:
                assert float(cells[key]) in printed
        for key in ("compute_mib", "asked_mib", "longest_tokens", "kv_tokens", "free_mib"):
            told = figures(cells).get(key)
            factors = (1, 1024, 1 / 1024**2)
            assert told is None or any(abs(told - n * f) < 0.01 for n in printed for f in factors)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(min_size=1, max_size=400), name=st.sampled_from(NAMES), where=st.integers(0, 4000))
def test_junk_in_a_log_never_crashes(tmp_path, junk, name, where):
    whole = (LOGS / name).read_bytes()
    path = tmp_path / "junk.log"
    path.write_bytes(whole[:where] + junk + whole[where:])
    with contextlib.suppress(UsageError):  # junk at the start makes it a binary file
        read(path, file_format="log", gpu="3090", model="qwen3.6-27b")


def test_a_long_log_is_read_in_little_memory(log):
    import tracemalloc  # noqa: PLC0415

    chatter = b"slot print_timing: id 0 | task 1 | eval time = 51.1 ms / 100 tokens, model buffer\n" * 100_000
    path = log(text("llamacpp_b8182_3090.log").encode() + chatter + b"x" * 3_000_000)
    tracemalloc.start()
    rows, _ = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(rows) == 1
    assert peak < 4_000_000


# The store and the receipts.


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_ingesting_a_log_twice_changes_nothing(home, capsys):
    path = LOGS / "llamacpp_b8182_3090.log"
    code, out, _ = run(capsys, "ingest", path, "--json")
    report = json.loads(out)
    assert (code, report["added"], report["effect"]["new_starts"]) == (0, 1, 1)
    before = (home / FILE_NAME).read_bytes()
    code, out, _ = run(capsys, "ingest", path, "--json")
    report = json.loads(out)
    assert (report["added"], report["duplicates"], report["effect"]["new_starts"]) == (0, 1, 0)
    assert (home / FILE_NAME).read_bytes() == before
    assert json.loads(before)["schema_version"] == 1


def test_a_dry_run_keeps_no_receipt(home, capsys):
    code, out, _ = run(capsys, "ingest", LOGS / "llamacpp_b8182_3090.log", "--dry-run")
    assert (code, (home / FILE_NAME).exists()) == (0, False)
    assert "nothing is kept" in out


def test_a_log_by_pipe_and_a_csv_beside_it(home, capsys, monkeypatch, tmp_path):
    class Pipe:
        buffer = (LOGS / "llamacpp_b8182_3090.log").open("rb")

    runs = tmp_path / "runs.csv"
    runs.write_text("source_url,model,gpu,decode_tps\nhttps://a.example,Qwen3.5-9B,RTX 3090,60\n")
    monkeypatch.setattr(sys, "stdin", Pipe())
    code, out, _ = run(capsys, "ingest", "-", runs, "--json")
    Pipe.buffer.close()
    report = json.loads(out)
    assert (code, report["added"], report["effect"]["new_starts"]) == (0, 2, 1)


def test_a_rejected_start_is_exit_code_4_with_its_line(home, capsys, log):
    code, out, err = run(capsys, "ingest", log(text("vllm_0.11_3090_no_room.log"), "v.log"))
    assert code == 4
    assert "v.log:1: names no GPU: say which with --gpu" in out
    assert len(err.splitlines()) == 1
    assert not (home / FILE_NAME).exists()


def test_a_killed_writer_leaves_the_receipts_that_were_there(home, monkeypatch):
    service.ingest(LOGS / "llamacpp_b8182_3090.log")
    before = (home / FILE_NAME).read_bytes()

    def killed(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        room.remember([own_receipts().starts[0].model_copy(update={"ctx": 9})], own_receipts())
    assert (home / FILE_NAME).read_bytes() == before
    assert [path.name for path in home.glob("*.tmp")] == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\0\xff", b'{"schema_version": 2, "receipts": []}', b'{"receipts": [{"gpu": "x"}]}'],
)
def test_damaged_receipts_are_one_line_everywhere(home, capsys, content):
    (home / FILE_NAME).write_bytes(content)
    for command in (
        ["predict", "-m", "qwen3.5-9b", "-q", "Q4_K_M", "-g", "3090"],
        ["recommend", "-m", "qwen3.5-9b", "-g", "3090"],
        ["ingest", LOGS / "llamacpp_b8182_3090.log"],
    ):
        code, out, err = run(capsys, *command)
        assert (code, out) == (1, "")
        assert len(err.splitlines()) == 1
        assert "receipts.json" in err
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert "FAIL  own starts" in out


# What answers make of them.


def test_the_next_answer_for_the_card_rests_on_the_own_start(home):
    before = service.predict(**ASK)
    service.ingest(LOGS / "llamacpp_b8182_3090.log")
    after = service.predict(**ASK)
    memory = after.prediction.memory
    assert memory.available_mib == 23887
    assert memory.weights_mib == pytest.approx(19804.59)
    assert memory.compute_mib / before.prediction.memory.compute_mib == pytest.approx(497 / 488.9, rel=0.02)
    assert "as your own start measured them (llamacpp_b8182_3090.log)" in after.why
    assert "own start" not in before.why
    assert after.prediction.oom_probability < before.prediction.oom_probability
    exact = service.predict(**ASK | {"ctx": 65536})
    parts = exact.prediction.memory
    assert (parts.kv_cache_mib, parts.recurrent_state_mib) == pytest.approx((1280, 251.25))
    assert parts.compute_mib == pytest.approx(497)


def test_another_model_on_the_card_gets_its_free_memory_only(home):
    service.ingest(LOGS / "llamacpp_b8182_3090.log")
    other = service.predict(**ASK | {"model": "qwen3.5-9b"})
    assert other.prediction.memory.available_mib == 23887
    assert "Free memory" in other.why
    elsewhere = service.predict(**ASK | {"gpu": "4090"})
    assert elsewhere.prediction.memory.available_mib != 23887
    assert elsewhere.prediction.memory.weights_mib == pytest.approx(19804.59)


def test_what_the_person_states_of_the_card_outranks_the_log(home):
    service.ingest(LOGS / "llamacpp_b8182_3090.log")
    stated = service.predict(**ASK | {"vram_used": 2})
    assert stated.prediction.memory.available_mib < 22500
    sized = service.predict(**ASK | {"weights_gib": 21})
    assert sized.prediction.memory.weights_mib > 20500


def test_an_own_failure_says_so_and_weighs_more_than_the_estimate(home):
    service.ingest([LOGS / "llamacpp_b8182_3090_oom.log"])
    failed = service.predict(**ASK | {"ctx": 196608})
    assert failed.prediction.oom_probability >= 0.9
    assert not failed.prediction.fits
    assert any(w.rule == "own-start" for w in failed.warnings)
    smaller = service.predict(**ASK | {"ctx": 65536})
    assert not any(w.rule == "own-start" for w in smaller.warnings)


def test_recommend_and_predict_agree_with_receipts(home):
    service.ingest([LOGS / "llamacpp_b8182_3090.log"])
    best = service.recommend(
        model="qwen3.5-35b-a3b", quant="Q4_K_M", gpu="3090", engine="llama.cpp", ctx="64k"
    )
    first = best.recommendations[0]
    again = service.predict(
        model="qwen3.5-35b-a3b", quant="Q4_K_M", gpu="3090", engine="llama.cpp", ctx="64k",
        kv_type_k=first.config.kv_type_k, kv_type_v=first.config.kv_type_v, parallel=first.config.parallel,
        ubatch=first.config.ubatch, backend=first.config.backend,
    )  # fmt: skip
    assert again.prediction.memory == first.prediction.memory
    assert again.prediction.oom_probability == first.prediction.oom_probability


def test_doctor_lists_the_own_starts(home, capsys):
    service.ingest([LOGS / "llamacpp_b8182_3090.log", LOGS / "llamacpp_b8182_3090_oom.log"])
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    assert "own starts: 2 of your logs calibrate answers: 2 on RTX 3090; 1 ran out of memory" in out


def setup_of(**changes):
    catalog = default_catalog()
    asked = understand(ASK | changes, catalog)
    return setup_for(
        asked.request, "llama.cpp", asked.model, asked.quant, catalog.gpus[asked.request.gpu], catalog
    )


RECEIPT = Receipt(
    model="Qwen/Qwen3.5-35B-A3B", quant="Q4_K_M", gpu="RTX 3090", engine="llama.cpp", engine_version="b8182",
    backend="cuda", outcome="ok", ctx=65536, kv_type_k="f16", kv_type_v="f16", ubatch=512, parallel=4,
    kv_unified=True, ngl=41, offload="full", free_mib=23887, model_mib=19804.59, compute_mib=497.0,
)  # fmt: skip


def test_without_receipts_a_setup_is_untouched():
    setup = setup_of()
    assert calibrated(setup, Receipts(), default_catalog()) is setup
    stranger = RECEIPT.model_copy(update={"gpu": "RTX 4090", "engine": "vllm", "model": "Qwen/Qwen3.5-9B"})
    assert calibrated(setup, Receipts((stranger,)), default_catalog()) is setup


def test_a_card_that_another_program_held_says_nothing_of_the_card():
    busy = RECEIPT.model_copy(update={"free_mib": 9000.0, "model_mib": None, "compute_mib": None})
    assert calibrated(setup_of(), Receipts((busy,)), default_catalog()).host.free_mib is None


def test_a_file_of_another_size_is_no_evidence_of_this_one():
    other = RECEIPT.model_copy(update={"model_mib": 9000.0})
    setup = setup_of()
    assert calibrated(setup, Receipts((other,)), default_catalog()).weights == setup.weights


@settings(max_examples=60, deadline=None)
@given(
    free=st.floats(19000, 24500), model=st.floats(15000, 24000), compute=st.floats(200, 1400),
    outcome=st.sampled_from(["ok", "oom"]), ctx=st.integers(1024, 262144),
)  # fmt: skip
def test_risk_still_grows_with_the_context_whatever_was_measured(free, model, compute, outcome, ctx):
    receipt = RECEIPT.model_copy(
        update={"free_mib": free, "model_mib": model, "compute_mib": compute, "outcome": outcome, "ctx": ctx}
    )
    risks = []
    for asked in (4096, 32768, 65536, 131072, 262144):
        setup = calibrated(setup_of(ctx=asked), Receipts((receipt,)), default_catalog())
        risks.append(judged(setup).risk.full)
    assert risks == sorted(risks)


def test_the_later_of_two_starts_that_contradict_each_other_holds():
    failed = RECEIPT.model_copy(update={"outcome": "oom", "compute_mib": None})
    setup = setup_of(ctx=65536)
    for starts, least, most in (((RECEIPT, failed), 0.9, 1.0), ((failed, RECEIPT), 0.0, 0.05)):
        risk = judged(calibrated(setup, Receipts(starts), default_catalog())).risk.start
        assert least <= risk <= most


def test_the_page_sees_new_receipts_without_a_restart(home):
    assert own_receipts().starts == ()
    service.ingest(LOGS / "llamacpp_b8182_3090.log")
    assert len(own_receipts().starts) == 1
    (home / FILE_NAME).unlink()
    assert own_receipts().starts == ()
    (home / FILE_NAME).write_text("x")
    with pytest.raises(AdvisorError):
        own_receipts()


def test_what_llamacpp_moved_to_the_host_by_itself_is_no_full_offload():
    (cells,), _ = read(LOGS / "llamacpp_b9400_5070ti_fit.log")
    assert cells["offload"] == "partial"
    assert "ngl" not in cells
    assert "overhead_mib" not in figures(cells)  # the table before the start is a forecast
    fitted = RECEIPT.model_copy(
        update={"model_mib": 9804.59, "ngl": None, "offload": "partial", "ctx": 262144, "compute_mib": None}
    )
    calibrated_setup = calibrated(setup_of(), Receipts((fitted,)), default_catalog())
    assert calibrated_setup.calibration.came_up_room_mib is None


def test_starts_of_ollama_are_llamacpps_memory():
    (cells,), _ = read(LOGS / "ollama_3060.log")
    assert (cells["engine"], cells["observed_on"], cells["ubatch"]) == ("ollama", "2026-02-11", "512")
    theirs = RECEIPT.model_copy(update={"engine": "ollama"})
    assert calibrated(setup_of(), Receipts((theirs,)), default_catalog()).weights.basis == "given"


def test_of_several_starts_of_one_version_the_largest_buffer_error_counts_and_of_an_older_one_none():
    def scale(*starts):
        return calibrated(setup_of(), Receipts(starts), default_catalog()).calibration.compute_scale

    small, large = (RECEIPT.model_copy(update={"compute_mib": mib}) for mib in (400.0, 700.0))
    assert scale(large, small) == scale(small, large) == scale(large)
    newer = small.model_copy(update={"engine_version": "b9265"})
    assert scale(large, newer) == scale(newer)
    stranger = large.model_copy(update={"model": "Qwen/Qwen3.6-35B-A3B"})
    assert 1.0 < scale(stranger) < scale(large)
    assert scale(stranger) < scale(stranger, stranger.model_copy(update={"ctx": 65537}))


def test_receipts_that_were_lost_come_back_with_the_same_log(home):
    service.ingest(LOGS / "llamacpp_b8182_3090.log")
    before = (home / FILE_NAME).read_bytes()
    (home / FILE_NAME).unlink()  # as after a kill between the store and the receipts
    report = service.ingest(LOGS / "llamacpp_b8182_3090.log")
    assert (report.added, report.duplicates) == (0, 1)
    assert (home / FILE_NAME).read_bytes() == before


def test_the_same_start_with_more_memory_free_is_news_to_the_receipts(home, log):
    service.ingest(LOGS / "llamacpp_b8182_3090.log")
    service.ingest(log(text("llamacpp_b8182_3090.log").replace("23887 MiB free", "24111 MiB free")))
    assert service.predict(**ASK).prediction.memory.available_mib == 24111


def test_figures_that_make_no_sense_make_no_receipt_worse(log):
    odd = text("llamacpp_b8182_3090.log").replace(
        "CUDA0 model buffer size = 19804.59", "CUDA0 model buffer size = 0.00"
    )
    (cells,), _ = read(
        log(odd.replace("n_seq_max     = 4", "n_seq_max     = 0").replace("4/1 seqs", "0/1 seqs"))
    )
    ((_, row),), _ = validate([cells])
    receipt = receipt_of(row, Resolver(default_catalog()).resolve(row))
    assert (receipt.model_mib, receipt.parallel) == (None, None)


def test_what_a_csv_names_is_not_overridden(tmp_path):
    runs = tmp_path / "runs.csv"
    runs.write_text("source_url,model,gpu,decode_tps\nhttps://a.example,Qwen3.5-9B,RTX 3090,60\n")
    with pytest.raises(UsageError, match="is CSV"):
        read(runs, gpu="3090")


@pytest.mark.parametrize(
    ("line", "gpu"),
    [
        (
            "using device Vulkan0 (NVIDIA GeForce RTX 3090 (NVIDIA)) (0000:01:00.0) - 23887 MiB free",
            "RTX 3090",
        ),
        (
            "using device Vulkan0 (AMD Radeon RX 9070 XT (RADV GFX1201)) (0000:03:00.0) - 16000 MiB free",
            "RX 9070 XT",
        ),
        (
            "using device Vulkan0 (AMD Radeon RX 7900 XTX (AMD open-source driver)) - 24000 MiB free",
            "RX 7900 XTX",
        ),
        ("using device Vulkan0 (Intel(R) Arc(tm) A770 Graphics (DG2)) - 15900 MiB free", "Arc A770"),
        ("using device SYCL0 (Intel(R) Arc(TM) A770 Graphics) - 15473 MiB free", "Arc A770"),
        ("using device CUDA0 (NVIDIA GB10) - 122000 MiB free", "DGX Spark (GB10)"),
        ("using device CUDA0 (Tesla P40) - 24000 MiB free", "Tesla P40"),
        ("using device Vulkan0 (Radeon 8060S Graphics (RADV GFX1151)) - 98000 MiB free", "Strix Halo"),
        ("Device 0: AMD Radeon Graphics, gfx1151 (0x1151), VMM: no, Wave Size: 32", "Strix Halo"),
        ("Device 0: AMD Radeon RX 7900 XTX, gfx1100 (0x1100), VMM: no, Wave Size: 32", "RX 7900 XTX"),
        ("ggml_vulkan: 0 = AMD Radeon RX 6800 (RADV NAVI21) (radv) | uma: 0 | fp16: 1", "RX 6800"),
    ],
)
def test_devices_are_known_by_what_their_drivers_call_them(log, line, gpu):
    bare = re.sub(r".*(Device 0|using device).*\n", "", text("llamacpp_b8182_3090.log"))
    (cells,), _ = read(log(bare.replace("llama_model_loader: loaded", f"{line}\nllama_model_loader: loaded")))
    assert gpu in cells["gpu"]


@pytest.mark.parametrize(
    "path",
    [
        "C:\\models\\Qwen3.5-35B-A3B-UD-Q4_K_XL.gguf",
        "/root/.cache/llama.cpp/unsloth_Qwen3.5-35B-A3B-GGUF_Qwen3.5-35B-A3B-UD-Q4_K_XL.gguf",
        "/h/models--unsloth--Qwen3.5-35B-A3B-GGUF/snapshots/12ab/Qwen3.5-35B-A3B-UD-Q4_K_XL.gguf",
        "/m/Qwen3.5-35B-A3B-UD-Q4_K_XL-00001-of-00002.gguf",
    ],
)
def test_models_are_known_by_their_files(log, path):
    named = text("llamacpp_b8182_3090.log").replace("/models/Qwen3.5-35B-A3B-Q4_K_M.gguf", path)
    (cells,), _ = read(log(named))
    assert (cells["model"], cells["quant"]) == ("Qwen3.5-35B-A3B", "UD-Q4_K_XL")


def test_a_snapshot_in_the_hubs_cache_names_its_repository(log):
    path = "/root/.cache/huggingface/hub/models--Qwen--Qwen3.6-27B-FP8/snapshots/0123456789abcdef"
    named = text("vllm_0.21_4090_48g.log").replace("'Qwen/Qwen3.6-27B-FP8'", f"'{path}'")
    (cells,), _ = read(log(named), gpu="4090 48gb")
    assert (cells["model"], cells["quant"]) == ("Qwen3.6-27B", "FP8")


def test_a_server_that_gave_out_under_way_did_start():
    gave_out = RECEIPT.model_copy(update={"outcome": "oom"})
    setup = calibrated(setup_of(ctx=65536), Receipts((gave_out,)), default_catalog())
    found = judged(setup)
    assert found.risk.full >= 0.9
    assert found.risk.start < 0.2
    assert not found.fits


def test_a_server_that_asked_for_too_large_a_share_says_nothing_against_a_smaller_one(home):
    service.ingest(LOGS / "vllm_0.11_3090_no_room.log", gpu="3090")
    asked = {"model": "qwen3-8b", "quant": "AWQ-INT4", "gpu": "3090", "engine": "vllm", "ctx": 32768}
    smaller = service.predict(**asked, gpu_memory_utilization=0.85)
    assert smaller.prediction.oom_probability < 0.2
    assert not any(w.rule == "own-start" for w in smaller.warnings)
    again = service.predict(**asked, gpu_memory_utilization=0.95)
    assert again.prediction.oom_probability > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_no_line_that_matters_is_passed_over(name, monkeypatch):
    way = {"gpu": "3090"} if name.startswith("vllm") else {}
    quick = read(LOGS / name, **way)
    monkeypatch.setattr(log_lines, "_WORTH", ("",))
    monkeypatch.setattr(log_lines, "_WORTHY", re.compile(""))
    assert read(LOGS / name, **way) == quick
