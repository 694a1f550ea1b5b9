"""The runs nearest to a configuration: order, words, and figures of one run put together."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.asking import understand
from advisor.evidence import differences, distance, nearest_of, nearest_runs
from advisor.service import exact_setup
from knowledge.catalog import default_catalog
from knowledge.store.connection import open_store

CATALOG = default_catalog()


def setup(**more):
    asked = {"model": "qwen3.5-35b-a3b", "quant": "Q4_K_M", "gpu": "3090", "ctx": "64k", **more}
    return exact_setup(understand(asked, CATALOG), CATALOG)


ASKED = setup()


def row(**more):
    same = {
        "id": "0", "source_url": "https://example.org/run", "observed_on": dt.date(2026, 9, 1),
        "model": "Qwen3.5-35B-A3B", "model_id": "Qwen/Qwen3.5-35B-A3B",
        "gpu": "RTX 3090", "gpu_id": "RTX 3090", "gpu_count": 1,
        "quant": "Q4_K_M", "quant_id": "Q4_K_M", "engine": "llama.cpp", "engine_version": "",
        "backend": "", "depth": 0, "concurrency": 1, "kv_type_k": "", "spec_decode": "", "n_cpu_moe": None,
        "offload": "", "decode_tps": 110.0, "prefill_tps": None, "vram_used_gib": None,
    }  # fmt: skip
    return {**same, **more}


OTHERWISE = [
    ({"model": "Qwen3.5-9B", "model_id": "Qwen/Qwen3.5-9B"}, "model: Qwen3.5-9B"),
    ({"model": "Ornith-1.5-35B-A3B"}, "model: Ornith-1.5-35B-A3B, of the same shape"),
    ({"gpu_id": "RTX 4090"}, "gpu: RTX 4090"),
    ({"gpu_count": 2}, "gpus: 2"),
    ({"quant": "Q8_0", "quant_id": "Q8_0"}, "quant: Q8_0"),
    ({"quant": "", "quant_id": None}, "quant: not stated"),
    ({"engine": "vllm"}, "engine: vllm"),
    ({"depth": 32768}, "depth: 32Ki"),
    ({"depth": None}, "depth: not stated"),
    ({"concurrency": 4}, "concurrency: 4"),
    ({"kv_type_k": "q8_0"}, "KV cache: q8_0"),
    ({"spec_decode": "mtp"}, "speculation: mtp"),
    ({"n_cpu_moe": 20}, "offload: partly on the host"),
]


def test_the_same_run_differs_in_nothing():
    assert distance(row(), ASKED, CATALOG) == 0
    assert differences(row(), ASKED) == []


@pytest.mark.parametrize(("change", "words"), OTHERWISE, ids=lambda value: str(value)[:40])
def test_what_differs_is_said_and_costs(change, words):
    other = row(**change)
    assert differences(other, ASKED) == [words]
    assert distance(other, ASKED, CATALOG) > 0


def test_the_same_model_comes_before_the_same_card_before_neither():
    model = distance(row(gpu_id="RTX 4090"), ASKED, CATALOG)
    card = distance(row(model_id="Qwen/Qwen3-30B-A3B"), ASKED, CATALOG)
    assert model < card < distance(row(gpu_id="RTX 4090", model_id="Qwen/Qwen3-30B-A3B"), ASKED, CATALOG)


def test_a_card_of_like_bandwidth_is_nearer():
    near, far = (distance(row(gpu_id=gpu), ASKED, CATALOG) for gpu in ("RTX 3090 Ti", "B200"))
    assert near < far


def test_depths_near_the_asked_one_are_nearer():
    deep = setup(ctx="128k", depth="64k")
    gaps = [distance(row(depth=depth), deep, CATALOG) for depth in (64_000, 48_000, 16_000, 0)]
    assert gaps == sorted(gaps)
    assert gaps[0] == 0


ROWS = st.lists(
    st.builds(
        lambda changes, number, depth: row(
            **{key: value for change, _ in changes for key, value in change.items()},
            depth=depth,
            id=str(number),
        ),
        st.lists(st.sampled_from([case for case in OTHERWISE if "depth" not in case[0]]), max_size=3),
        st.integers(0, 10**6), st.none() | st.integers(0, 200_000),
    ),
    max_size=12, unique_by=lambda found: found["id"],
)  # fmt: skip


@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 6))
def test_the_order_of_the_rows_changes_nothing(rows, rng, limit):
    shuffled = rng.sample(rows, len(rows))
    found = nearest_of(rows, ASKED, CATALOG, limit)
    assert nearest_of(shuffled, ASKED, CATALOG, limit) == found
    assert len(found) <= limit
    assert bool(found) == bool(rows)


def test_figures_of_one_run_on_several_rows_become_one():
    rows = [
        row(id="1", decode_tps=110.0),
        row(id="2", decode_tps=None, prefill_tps=3400.0),
        row(id="3", decode_tps=90.0, source_url="https://example.org/another"),
    ]
    found = nearest_of(rows, ASKED, CATALOG)
    assert [(item.run.decode_tps, item.run.prefill_tps) for item in found] == [(110.0, 3400.0), (90.0, None)]


def test_the_store_gives_runs_of_this_model_on_this_card(shipped_home):
    other = setup(quant="Q8_0", gpu="a100 80gb")
    with open_store(shipped_home) as store:
        here, there = nearest_runs(store, [ASKED, other], CATALOG)
        assert nearest_runs(store, [ASKED], CATALOG) == [here]
    assert len(here) == len(there) == 5
    assert {item.run.gpu for item in here} == {"RTX 3090"}
    assert all(
        words.split(":")[0] != "model" or "same shape" in words
        for item in here
        for words in item.run.differs_in
    )
    runs = [item.run for item in here]
    assert all(run.source_url and (run.decode_tps or run.prefill_tps or run.vram_used_gib) for run in runs)
    assert all(len(item.rows) >= 1 for item in here)
