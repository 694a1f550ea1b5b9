"""`advisor evaluate`: scores that can be computed by hand, a balance of rows, and nothing learnt."""

import csv
import io
import json
import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import advisor
from advisor import service
from advisor.cli import main
from advisor.speed.builds import year_of
from advisor.speed.model import ARTEFACT, load_model
from advisor.training.evaluation import evaluate_files
from advisor.training.metrics import figure_score
from advisor.training.risk import score
from knowledge.catalog import default_catalog
from knowledge.errors import UsageError
from knowledge.schema import Observation

CATALOG = default_catalog()
FIGURES = "decode_tps decode_tps_total prefill_tps ttft_ms vram_used_gib"
QWEN = {"model": "Qwen3.5-9B", "quant": "Q4_K_M", "engine": "llama.cpp", "gpu": "RTX 3090"}
TODAY = "2026-11-15"


@pytest.fixture(autouse=True)
def home(shipped_home, monkeypatch):
    """The shipped model, answering for the builds of `TODAY`, so that a row of that day is such an answer."""
    monkeypatch.setenv("ADVISOR_HOME", str(shipped_home))
    model = replace(load_model(ARTEFACT), newest_year=year_of(TODAY))
    monkeypatch.setattr("advisor.speed.model._read", lambda *_: model)
    monkeypatch.delenv("ADVISOR_DEBUG", raising=False)


@pytest.fixture
def file(tmp_path):
    """Write rows as a CSV and name it."""

    def write(*rows, name="runs.csv"):
        columns = ["source_url", *dict.fromkeys(name for row in rows for name in row)]
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, columns)
            writer.writeheader()
            writer.writerows({"source_url": "https://example.org/runs", **row} for row in rows)
        return path

    return write


def bench(**cells):
    """A steady benchmark of today."""
    return {**QWEN, "observed_on": TODAY, "depth": 0, "prompt_tokens": 0, "concurrency": 1, **cells}


def asked(**options):
    return service.predict(**{"ctx": 32768, "headless": True, **QWEN, **options}).prediction


def test_decode_is_scored_as_by_hand(file):
    at = [0, 4096, 8192, 12000]
    factors = [1.0, 1.1, 0.7, 0.2]
    answers = [asked(depth=depth).decode_tps for depth in at]
    measured = [answer.value * factor for answer, factor in zip(answers, factors, strict=True)]
    found = service.evaluate(
        [file(*(bench(depth=d, decode_tps=m) for d, m in zip(at, measured, strict=True)))]
    )
    assert (found.rows, found.scored) == (4, 4)
    got = found.metrics.decode_tps
    off = [abs(1 / factor - 1) for factor in factors]
    assert got.n == 4
    assert got.mdape == pytest.approx(statistics.median(off), rel=1e-9)
    assert got.mean_abs_log_error == pytest.approx(
        statistics.mean(abs(math.log(f)) for f in factors), rel=1e-9
    )
    assert got.within_25pct == 0.5
    inside = [a.low <= m <= a.high for a, m in zip(answers, measured, strict=True)]
    assert got.coverage_80 == sum(inside) / 4
    assert inside[0]
    assert not inside[3]


def test_prefill_memory_and_risk_are_scored_as_by_hand(file):
    prefill = asked(prompt=512).prefill_tps
    whole = {"ctx": 65536, "ngl": 99, "kv_unified": "on"}
    ran = asked(**whole, weights_gib=5.3)
    failed = asked(**whole, model="Qwen3.5-35B-A3B", gpu="RTX 3060 12GB")
    used_gib = 1.02 * ran.memory.total_mib / 1024
    placed = {"ctx_limit": 65536, "ngl": 99, "depth": "", "kv_type_k": "f16"}
    found = service.evaluate(file(
        bench(prompt_tokens=512, gen_tokens=0, prefill_tps=0.9 * prefill.value),
        bench(**placed, weights_gib=5.3, vram_used_gib=used_gib),
        bench(**placed, model="Qwen3.5-35B-A3B", gpu="RTX 3060 12GB", outcome="oom"),
    ))  # fmt: skip
    assert (found.rows, found.scored) == (3, 3)
    assert found.metrics.prefill_tps.n == 1
    assert found.metrics.prefill_tps.mdape == pytest.approx(1 / 0.9 - 1, rel=1e-9)
    memory = found.metrics.vram_used_gib
    assert memory.n == 1
    assert memory.mdape == pytest.approx(1 - 1 / 1.02, rel=1e-9)
    assert memory.coverage_80 == 1.0
    oom = found.metrics.oom
    assert (oom.n, oom.positives, oom.auc) == (2, 1, 1.0)
    by_hand = (ran.oom_probability**2 + (1 - failed.oom_probability) ** 2) / 2
    assert oom.brier == pytest.approx(by_hand, rel=1e-9)


def test_total_and_first_token_of_several_sequences_are_scored(file):
    row = bench(concurrency=4, depth="", prompt_tokens=512, gen_tokens=128, decode_tps_total=150, ttft_ms=900)
    found = service.evaluate(file(row)).metrics
    assert (found.decode_tps_total.n, found.ttft_ms.n, found.decode_tps.n) == (1, 1, 0)


def test_memory_of_a_server_is_what_its_budget_takes_on_all_gpus(file):
    server = {"engine": "vllm", "quant": "FP8", "gpu_count": 2, "tp": 2, "ctx_limit": 8192, "depth": ""}
    need = asked(engine="vllm", quant="FP8", gpu="2x3090", ctx=8192).memory
    budget_gib = sum(max(d.total_mib, d.available_mib) for d in need.per_gpu) / 1024
    assert budget_gib > 1.5 * 2 * need.total_mib / 1024  # the need is far below it
    got = service.evaluate(file(bench(**server, vram_used_gib=budget_gib))).metrics
    assert got.vram_used_gib.mdape == pytest.approx(0, abs=0.02)
    assert got.oom.n == 1


def test_what_the_fit_has_not_seen_is_told_apart(file):
    counts = load_model().counts
    gpu = next(g for g in CATALOG.gpus.values() if g.kind == "gpu" and g.bandwidth_gbps
               and (g.memory_gib or 0) >= 16 and f"{g.name}|||" not in counts).name  # fmt: skip
    model = next(m for m in CATALOG.models.values() if f"|{m.hf_id}||" not in counts
                 and 1 < m.total_params_b < 12).hf_id  # fmt: skip
    rows = [
        bench(decode_tps=100),
        bench(decode_tps=30, gpu=gpu),
        bench(decode_tps=30, model=model),
        bench(decode_tps=20, model=model, gpu=gpu),
    ]
    found = service.evaluate(file(*rows))
    slices = found.slices
    assert found.skipped == {}
    assert slices.seen_gpu_seen_model.decode_tps.n == 1
    assert slices.unseen_gpu.decode_tps.n == 2
    assert slices.unseen_model.decode_tps.n == 2
    assert {name: part.decode_tps.n for name, part in slices.by_gpu.items()} == {"RTX 3090": 2, gpu: 2}
    assert {name: part.decode_tps.n for name, part in slices.by_engine.items()} == {"llama.cpp": 4}


def test_every_row_is_scored_or_counted_with_a_reason_without_its_own_figures(file, tmp_path):
    first = file(
        bench(decode_tps=100),
        bench(decode_tps="fast"),
        bench(decode_tps=90_000),
        bench(decode_tps=91_000),
        bench(decode_tps=50, gpu="Frobnicator 9000"),
        bench(decode_tps=50, model="Nobody-7B"),
        bench(),
        bench(decode_tps=50, weights_gib=500),
        bench(outcome="error"),
        bench(depth="", outcome="oom"),
    )
    second = tmp_path / "torn.csv"
    second.write_text(
        'source_url,model,gpu,decode_tps\na,Qwen3.5-9B\nb,Qwen3.5-9B,3090,"5\n', encoding="utf-8"
    )
    found = service.evaluate([first, second])
    assert found.rows == 12
    assert found.scored == 2  # the run that ran out would fit at any context, and counts against us
    assert found.skipped == {
        "implausible file size": 1,
        "neither ran nor ran out of memory": 1,
        "nothing was measured": 1,
        "rejected: decode_tps cannot be read": 1,
        "rejected: no record of the header's columns": 2,
        "says the impossible": 2,
        "unknown device": 1,
        "unknown model": 1,
    }
    assert found.rows == found.scored + sum(found.skipped.values())


def test_nothing_that_can_be_scored_is_an_answer_with_nulls(file, capsys):
    path = file(bench(decode_tps=50, gpu="Frobnicator 9000"))
    assert main(["evaluate", str(path), "--json"]) == 0
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert out.err == ""
    assert (found["rows"], found["scored"]) == (1, 0)
    assert found["metrics"]["decode_tps"] == {
        "n": 0, "mdape": None, "mean_abs_log_error": None, "within_25pct": None, "coverage_80": None,
    }  # fmt: skip
    assert found["metrics"]["oom"] == {"n": 0, "positives": 0, "auc": None, "brier": None, "ece": None}
    assert main(["evaluate", str(path)]) == 0
    assert "scored 0" in capsys.readouterr().out


def test_the_json_has_every_key_of_the_contract(file, capsys):
    assert main(["evaluate", "--json", str(file(bench(decode_tps=100)))]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"schema_version", "rows", "scored", "skipped", "metrics", "slices"}
    slices = found["slices"]
    assert set(slices) == {"seen_gpu_seen_model", "unseen_gpu", "unseen_model", "by_engine", "by_gpu"}
    named = [slices[name] for name in ("seen_gpu_seen_model", "unseen_gpu", "unseen_model")]
    for metrics in (found["metrics"], *named, *slices["by_engine"].values(), *slices["by_gpu"].values()):
        assert set(metrics) == {*FIGURES.split(), "oom"}
        for figure in FIGURES.split():
            assert set(metrics[figure]) == {
                "n", "mdape", "mean_abs_log_error", "within_25pct", "coverage_80",
            }  # fmt: skip
        assert set(metrics["oom"]) == {"n", "positives", "auc", "brier", "ece"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.csv", None),
        ("empty.csv", b""),
        ("header.csv", b"a,b,c\n1,2,3\n"),
        ("binary.csv", bytes(range(256)) * 20),
    ],
)
def test_a_file_that_is_no_observations_is_one_line_and_exit_code_2(tmp_path, capsys, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main(["evaluate", str(path)]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("error: ")
    assert out.err.count("\n") == 1
    assert name in out.err


def test_no_file_is_a_mistake(capsys):
    assert main(["evaluate"]) == 2
    assert "FILE" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no file"):
        advisor.evaluate([])


def test_standard_input_is_read(file, monkeypatch, capsys):
    content = file(bench(decode_tps=100)).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["evaluate", "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scored"] == 1


def test_evaluation_learns_nothing_and_needs_no_store(file, tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path / "home"))
    path = file(bench(decode_tps=100))
    assert service.evaluate([path]) == service.evaluate([path])
    assert not (tmp_path / "home").exists()


RATIOS = st.lists(
    st.tuples(st.floats(1e-3, 1e6), st.floats(0.01, 100), st.booleans()), min_size=1, max_size=40
)


@given(RATIOS, st.floats(1e-3, 1e3))
def test_scores_of_random_errors(rows, unit):
    measured = [m for m, _, _ in rows]
    predicted = [m * ratio for m, ratio, _ in rows]
    found = figure_score(measured, predicted, [inside for _, _, inside in rows])
    off = [abs(p - m) / m for m, p in zip(measured, predicted, strict=True)]
    assert found.n == len(rows)
    assert found.mdape == pytest.approx(statistics.median(off))
    assert found.within_25pct == pytest.approx(np.mean([o <= 0.25 for o in off]))
    assert found.mean_abs_log_error == pytest.approx(
        statistics.mean(abs(math.log(ratio)) for _, ratio, _ in rows), abs=1e-9
    )
    assert found.coverage_80 == pytest.approx(np.mean([inside for _, _, inside in rows]))
    scaled = figure_score([m * unit for m in measured], [p * unit for p in predicted], None)
    assert scaled.mdape == pytest.approx(found.mdape, abs=1e-9, rel=1e-6)  # the unit does not matter
    assert figure_score(measured, measured, None).mdape == 0


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.50001, 1.0]), st.booleans()), max_size=30))
def test_the_area_under_the_curve_is_that_of_all_pairs(rows):
    found = score([p for p, _ in rows], [oom for _, oom in rows])
    failed, good = [p for p, oom in rows if oom], [p for p, oom in rows if not oom]
    if not failed or not good:
        assert found.auc is None
        return
    wins = sum((p > q) + 0.5 * (p == q) for p in failed for q in good)
    assert found.auc == pytest.approx(wins / (len(failed) * len(good)))


def few(*values):
    return st.sampled_from(["", *values])


ODD_ROWS = st.fixed_dictionaries({
    "model": st.sampled_from([m.hf_id for m in CATALOG.models.values()]),
    "quant": st.sampled_from([*CATALOG.quants, "", "odd"]),
    "gpu": st.sampled_from(list(CATALOG.gpus)),
    "engine": st.sampled_from(["llama.cpp", "vllm", "sglang", "ollama", "mlx", "", "odd"]),
    "engine_version": few("b9000", "0.20.0", "odd"),
    "gpu_count": few(1, 2, 1000), "tp": few(1, 3), "vram_gib": few(0.5, 24, 1e300),
    "weights_gib": few(1e-9, 5, 1e300), "ngl": few(-1, 0, 20, 10**9), "n_cpu_moe": few(0, 10**9),
    "offload": few("full", "partial", "cpu"), "kv_type_k": few("q8_0", "fp8", "odd"),
    "ctx_limit": few(0, 128, 10**9), "depth": few(0, 10**9), "prompt_tokens": few(0, 512, 10**9),
    "gen_tokens": few(0, 128), "concurrency": few(1, 2, 100_000), "ubatch": few(1, 100_000),
    "spec_decode": few("mtp", "eagle", "odd"), "decode_tps": few(1e-300, 1, 50),
    "decode_tps_total": few(1e-300, 1e300), "ttft_ms": few(1e-300, 1e300), "vram_used_gib": few(1e-9, 10),
    "outcome": st.sampled_from(["ok", "oom", "error"]), "flags": few("--mem-util 1.2.3", "-ot x"),
})  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ODD_ROWS, min_size=1, max_size=4))
def test_whatever_stands_in_a_file_is_scored_or_counted(file, rows):
    assert set(rows[0]) <= set(Observation.model_fields)
    found = evaluate_files([file(*rows)], load_model(), CATALOG)
    assert found.rows == len(rows) == found.scored + sum(found.skipped.values())
    json.loads(found.model_dump_json())
