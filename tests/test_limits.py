"""Limits: what is returned fits, the next step does not, and it is the one estimator that says so."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import advisor
from advisor.asking import understand
from advisor.bounds import MOST_USERS, STEP, Limits, largest
from advisor.cli import main
from advisor.estimate import predict_setup
from advisor.other_cards import other_cards
from advisor.rank import MIN_TPS
from advisor.receipts import NO_RECEIPTS, Receipt, Receipts
from advisor.service import exact_setup
from advisor.setups import setup_for
from knowledge.catalog import default_catalog
from knowledge.errors import UsageError

CATALOG = default_catalog()
BIG = {"model": "qwen3.5-35b-a3b", "quant": "Q4_K_M", "gpu": "3090"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))
    return tmp_path


def solver(**options):
    asked = understand(options, CATALOG)
    return Limits(exact_setup(asked, CATALOG), asked, CATALOG)


# Halving.


@given(low=st.integers(0, 50), span=st.integers(0, 2000), edge=st.integers(-5, 2100))
def test_halving_finds_the_last_number_that_holds(low, span, edge):
    found = largest(low, low + span, lambda number: number <= edge)
    assert found == (None if edge < low else min(edge, low + span))


ASKED = st.fixed_dictionaries(
    {
        "what": st.sampled_from(
            [
                ("qwen3.5-35b-a3b", "Q4_K_M", "llama.cpp"),
                ("qwen3.5-9b", "Q4_K_M", "llama.cpp"),
                ("gemma-3-27b-it", "Q4_K_M", "llama.cpp"),
                ("llama-3.1-8b-instruct", "Q8_0", "llama.cpp"),
                ("gpt-oss-20b", "MXFP4", "llama.cpp"),
                ("qwen3.6-27b", "FP8", "vllm"),
                ("qwen3-8b", "AWQ-INT4", "vllm"),
            ]
        ),
        "gpu": st.sampled_from(["3090", "4090 48gb", "3060", "5090", "a100 80gb sxm", "rtx 5060 ti 16gb"]),
        "max_oom": st.sampled_from([0.01, 0.05, 0.3]),
        "ctx": st.sampled_from([2048, 8192, 32768]),
        "concurrency": st.sampled_from([1, 3]),
    }
)


def asked_of(drawn):
    model, quant, engine = drawn["what"]
    return {"model": model, "quant": quant, "engine": engine} | {
        k: v for k, v in drawn.items() if k != "what"
    }


@settings(max_examples=40, deadline=None)
@given(drawn=ASKED)
def test_the_longest_context_fits_and_the_next_step_does_not(drawn):
    found = solver(**asked_of(drawn))
    for item in found.contexts():
        setup = found.base
        exact = setup.with_launch(**item.config.model_dump())
        most = setup.model.max_context
        if item.ctx is None:
            assert item.reason
            assert item.command == ""
            assert item.bounded_by == "rule" or not found.fits(exact)
            continue
        assert found.fits(exact)
        assert item.prediction == predict_setup(exact)
        assert item.prediction.oom_probability <= drawn["max_oom"]
        assert item.ctx <= most
        if item.bounded_by == "model":
            assert item.ctx == most
        else:
            assert item.ctx % STEP == 0
            assert not found.fits(exact.with_launch(ctx=min(item.ctx + STEP, most)))


@settings(max_examples=30, deadline=None)
@given(drawn=ASKED, least=st.sampled_from([None, 0, 20]))
def test_one_user_more_would_not_fit_or_be_too_slow(drawn, least):
    found = solver(**asked_of(drawn), min_tps=least)
    for item in found.users():
        if item.users is None:
            assert item.reason
            continue
        assert item.config.concurrency == item.users
        full = item.prediction.decode_tps_full_context
        slowest = MIN_TPS if least is None else least
        assert full is not None
        assert full.value >= slowest
        if item.bounded_by == "search":
            assert item.users == MOST_USERS
            continue
        more = found._for_users(found.base.with_launch(**item.config.model_dump()), item.users + 1)
        speed = predict_setup(more).decode_tps_full_context
        slow = speed is None or speed.value < slowest
        assert slow or not found.fits(more)
        assert (item.bounded_by == "speed") <= slow


def test_narrower_caches_hold_more():
    contexts = solver(**BIG, engine="llama.cpp").contexts()
    assert [item.kv_type_k for item in contexts] == ["f16", "q8_0", "q5_1", "q4_0"]
    tokens = [item.ctx for item in contexts]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == 4


def test_the_models_own_maximum_is_the_most_and_said():
    found = advisor.limits(**BIG | {"gpu": "a100 80gb sxm"})
    assert {item.bounded_by for item in found.contexts} == {"model"}
    assert {item.ctx for item in found.contexts} == {262144}
    assert any("at most 256Ki tokens" in note for note in found.notes)


def test_only_the_asked_cache_type_is_tried():
    contexts = solver(**BIG, kv_type="q8_0").contexts()
    assert [(item.kv_type_k, item.kv_type_v) for item in contexts] == [("q8_0", "q8_0")]
    assert [item.kv_type_k for item in solver(**BIG, flash_attn="off").contexts()] == ["f16"]


# The split with the host.


@pytest.mark.parametrize(
    ("model", "quant", "field", "more"),
    [
        ("gpt-oss-120b", "MXFP4", "n_cpu_moe", -1),
        ("llama-3.3-70b-instruct", "Q4_K_M", "n_gpu_layers", 1),
    ],
)
def test_the_split_puts_as_much_on_the_card_as_fits(model, quant, field, more):
    found = solver(model=model, quant=quant, gpu="4090", ctx=8192, engine="llama.cpp")
    split = found.split()
    exact = found.base.with_launch(**split.config.model_dump())
    assert found.fits(exact)
    assert not found.fits(exact.with_launch(**{field: getattr(exact.launch, field) + more}))
    assert 0 < split.speed_kept < 1
    assert split.whole_needs_gib > 24
    assert split.host_mib == split.prediction.memory.host_mib


def test_little_ram_bounds_the_split_and_what_fits_is_not_split():
    found = advisor.limits(model="gpt-oss-120b", quant="MXFP4", gpu="4090", ram=16)
    assert "of 16 GiB RAM" in found.split.reason
    assert found.split.command == ""
    assert advisor.limits(**BIG).split is None


# Cards.


def test_the_smallest_cards_hold_it_and_no_smaller_one_does():
    found = solver(**BIG, ctx=65536, engine="llama.cpp")
    cards = found.cards()
    sizes = [card.memory_gib for card in cards]
    assert sizes == sorted(sizes)
    assert all(card.prediction.fits and card.prediction.oom_probability <= 0.05 for card in cards)
    for setup in other_cards(found.base, found.request, CATALOG, None, NO_RECEIPTS):
        if setup.gpu.kind != "gpu":
            continue
        assert setup.launch.vram_gib >= sizes[0] or not found.fits(setup)
    assert len({card.gpu for card in cards}) == len(cards)
    assert all(CATALOG.gpus[card.gpu].kind == "gpu" for card in cards)


def test_without_a_gpu_the_cards_are_the_answer():
    found = advisor.limits(model="qwen3.5-9b", quant="Q4_K_M", ctx="16k")
    assert (found.contexts, found.users, found.split, found.request["gpu"]) == ([], [], None, None)
    assert found.cards
    vllm = advisor.limits(model="qwen3-8b", quant="AWQ", engine="vllm")
    assert all(CATALOG.gpus[card.gpu].vendor in {"NVIDIA", "AMD"} for card in vllm.cards)


# Receipts, the command line, mistakes.


def test_own_starts_move_the_limits():
    receipt = Receipt(
        model="Qwen/Qwen3.5-35B-A3B", quant="Q4_K_M", gpu="RTX 3090", engine="llama.cpp", outcome="ok",
        free_mib=22000, ctx=4096, kv_type_k="f16", kv_unified=True, parallel=1,
    )  # fmt: skip
    asked = understand({**BIG, "engine": "llama.cpp"}, CATALOG)
    plain = Limits(exact_setup(asked, CATALOG), asked, CATALOG).contexts()
    own = Receipts((receipt,))
    base = setup_for(
        asked.request, "llama.cpp", asked.model, asked.quant, CATALOG.gpus["RTX 3090"], CATALOG, receipts=own
    )
    known = Limits(base, asked, CATALOG, own).contexts()
    assert [item.ctx for item in plain] != [item.ctx for item in known]
    assert known[0].prediction.memory.available_mib == 22000


def run(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_prints_commands_that_predict_confirms(capsys):
    code, out, err = run(
        capsys,
        "limits",
        "--model",
        "qwen3.5-35b-a3b",
        "--quant",
        "Q4_K_M",
        "--gpu",
        "3090",
        "--ctx",
        "64k",
        "--json",
    )
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert answer["schema_version"] == 1
    first = answer["contexts"][0]
    assert re.search(rf"-c {first['ctx']}\b", first["command"])
    again = advisor.predict(
        **BIG, ctx=first["ctx"], parallel=first["config"]["parallel"], engine="llama.cpp",
        backend=first["config"]["backend"],
    )  # fmt: skip
    assert again.prediction.oom_probability == first["prediction"]["oom_probability"]
    assert again.prediction.memory.total_mib == pytest.approx(first["prediction"]["memory"]["total_mib"])


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (
            "--model qwen3.5-35b-a3b --quant Q4_K_M --gpu 3090",
            ["Longest context", "Most users", "Smallest cards"],
        ),
        (
            "--model gpt-oss-120b --quant MXFP4 --gpu 4090 --ram 96",
            ["none: KV q4_0 needs", "Split with host"],
        ),
        ("--model gpt-oss-120b --quant MXFP4 --gpu 4090 --ram 9", ["none: needs"]),
        ("--model qwen3.6-27b --quant FP8 --gpu 5090 --engine vllm", ["none: KV fp8"]),
        ("--model qwen3-8b --quant AWQ --gpu 3090 --engine vllm", ["auto", "vllm serve"]),
        ("--model qwen3.5-9b --quant Q4_K_M", ["Smallest cards"]),
        ("--model kimi-k2 --quant Q8_0", ["No single card"]),
        ("--model qwen3.5-9b --quant Q4_K_M --gpu 3060 --ctx 8k --min-tps 20", ["by speed"]),
        ("--model qwen3.5-4b --quant Q4_K_M --gpu 2x3090 --ctx 4k", ["cards are counted singly"]),
    ],
)
def test_what_a_person_sees(capsys, arguments, shown):
    code, out, _ = run(capsys, "limits", *arguments.split())
    assert code == 0
    assert [text for text in shown if text not in out] == []
    assert "…" not in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gpu": "3090"}, "no model is named"),
        ({"model": "qwen3.5-9b", "gpu": "3090"}, "no quantization"),
        ({"model": "qwen3.5-9b", "quant": "Q4_K_M", "gpu": "3091"}, "unknown GPU"),
        ({"model": "qwen3.5-9b", "quant": "Q4_K_M", "gpu": "3060", "engine": "vllm"}, "cannot run"),
        ({"model": "qwen3-8b", "quant": "Q4_K_M", "gpu": "3060", "ctx": "1m"}, "takes at most"),
    ],
)
def test_mistakes_are_named(options, said):
    with pytest.raises(UsageError, match=said):
        advisor.limits(**options)


def test_the_command_loads_nothing_heavy(home):
    code = (
        "import sys; from advisor.cli import main\n"
        "code = main('limits -m qwen3.5-9b -q Q4_K_M -g 3090 --json'.split())\n"
        "heavy = {'duckdb', 'pandas', 'pyarrow', 'scipy', 'sklearn', 'streamlit', 'huggingface_hub'}\n"
        "sys.exit(code or str(heavy & set(sys.modules)) if heavy & set(sys.modules) else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(advisor.__file__).parents[1])},
    )
    assert (done.returncode, done.stderr) == (0, "")
