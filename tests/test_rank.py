"""Ranking: the documented order, its limits, and that the order of the input does not matter."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.config import Interval, PredictedFigures, Request
from advisor.memory import account
from advisor.quality import quality_of, retained
from advisor.rank import MIN_TPS, context_room, model_line, rank, size_class
from advisor.risk import oom_probability
from advisor.search import candidates
from knowledge.catalog import default_catalog

CATALOG = default_catalog()
QWEN = "Qwen/Qwen3.5-35B-A3B"
GOALS = ["balanced", "speed", "quality", "context", "throughput"]


def interval(value):
    return Interval(value=value, low=0.8 * value, high=1.2 * value)


def figures_of(setup, *, slower=1.0):
    """Plausible figures from physics alone: bandwidth over the bytes a step reads."""
    model, weights = setup.model, setup.weights
    share = model.n_experts_used / model.n_experts if model.is_moe else 1.0
    memory = account(setup)
    read = weights.dense + weights.output + weights.experts * share
    short = 0.6 * setup.gpu.bandwidth_gbps * 1e9 / read / slower
    full = 0.6 * setup.gpu.bandwidth_gbps * 1e9 / (read + memory.kv_cache_mib * 2**20) / slower
    risk = oom_probability(setup, memory)
    return PredictedFigures(
        decode_tps=interval(short), decode_tps_full_context=interval(full), decode_tps_total=interval(short),
        prefill_tps=interval(20 * short), ttft_ms=None, memory=memory, oom_probability=risk,
        oom_probability_start=risk,
        fits=risk <= 0.5, basis="physics", support=0,
    )  # fmt: skip


def pairs_for(request):
    return [(setup, figures_of(setup)) for setup in candidates(request, CATALOG).setups]


ALL = Request(gpu="RTX 4090", ctx=32768, top=50)
ONE = Request(gpu="RTX 4090", ctx=32768, model=QWEN, top=50)
PAIRS = {"all": pairs_for(ALL), "one": pairs_for(ONE)}


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["all", "one"]), st.sampled_from(GOALS), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(which, goal, random):
    request = {"all": ALL, "one": ONE}[which].model_copy(update={"goal": goal})
    shuffled = list(PAIRS[which])
    random.shuffle(shuffled)
    assert rank(shuffled, request, CATALOG) == rank(PAIRS[which], request, CATALOG)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(GOALS), st.floats(0, 0.2), st.floats(0, 60), st.integers(1, 12))
def test_limits_hold_and_everything_left_out_has_a_reason(goal, max_oom, min_tps, top):
    request = ONE.model_copy(update={"goal": goal, "max_oom": max_oom, "min_tps": min_tps, "top": top})
    chosen, rejected = rank(PAIRS["one"], request, CATALOG)
    assert len(chosen) <= top
    assert len(chosen) + len(rejected) == len(PAIRS["one"])
    for item in chosen:
        assert item.figures.oom_probability <= max_oom
        assert item.full_tps >= min_tps
    assert all(item.reason for item in rejected)
    assert [item.score for item in chosen] == sorted((item.score for item in chosen), reverse=True)


@pytest.mark.parametrize(
    ("goal", "merit"),
    [
        ("quality", lambda item: item.points),
        ("speed", lambda item: item.full_tps),
        ("throughput", lambda item: item.figures.decode_tps_total.value),
        ("context", lambda item: context_room(item.setup, item.figures)),
    ],
)
def test_each_goal_puts_its_own_best_first(goal, merit):
    chosen, _ = rank(PAIRS["one"], ONE.model_copy(update={"goal": goal}), CATALOG)
    every, _ = rank(PAIRS["one"], ONE, CATALOG)
    assert merit(chosen[0]) >= max(merit(item) for item in every) * (1 - 1e-9)


def test_without_a_model_each_line_and_size_class_stands_once():
    chosen, _ = rank(PAIRS["all"], ALL, CATALOG)
    groups = [(model_line(item.setup), size_class(item.setup)) for item in chosen]
    assert len(groups) == len(set(groups))
    assert len(chosen) > 5


def test_a_strong_model_of_useful_speed_leads_and_slow_or_tiny_ones_do_not():
    chosen, _ = rank(PAIRS["all"], ALL, CATALOG)
    best = max(item.points for item in chosen)
    assert chosen[0].points > 0.6 * best
    assert all(item.full_tps >= MIN_TPS for item in chosen)
    fastest, _ = rank(PAIRS["all"], ALL.model_copy(update={"goal": "speed"}), CATALOG)
    assert fastest[0].points >= 0.5 * best


def test_what_is_too_slow_is_left_out_with_its_speed():
    slow = [(setup, figures_of(setup, slower=1000)) for setup, _ in PAIRS["one"]]
    chosen, rejected = rank(slow, ONE, CATALOG)
    assert not chosen
    assert all("tok/s at a full context" in item.reason for item in rejected)
    assert rank(slow, ONE.model_copy(update={"min_tps": 0.0}), CATALOG)[0]


def test_no_recommendation_is_beaten_in_every_respect():
    chosen, _ = rank(PAIRS["one"], ONE, CATALOG)
    for item in chosen:
        for other in chosen:
            better = (
                other.points > item.points and other.full_tps > item.full_tps
                and other.figures.oom_probability < item.figures.oom_probability
                and context_room(other.setup, other.figures) > context_room(item.setup, item.figures)
            )  # fmt: skip
            assert not better


def test_nothing_in_nothing_out():
    assert rank([], ALL, CATALOG) == ((), ())


def test_generations_of_one_line_share_it_and_specialists_have_their_own():
    lines = {setup.model.family: model_line(setup) for setup, _ in PAIRS["all"]}
    assert lines["Qwen3.5"] == lines["Qwen3.8"] == "qwen"
    assert lines["Qwen3-Coder"] == "qwen-coder"
    assert lines["Gemma 3"] == lines["Gemma 4"] == "gemma"


def test_quality_falls_with_every_bit_and_unmeasured_models_stay_below_measured_peers():
    model = CATALOG.models[QWEN]
    launch = PAIRS["one"][0][0].launch.model_copy(update={"kv_type_k": "f16", "kv_type_v": "f16"})
    kept = [
        retained(model, CATALOG.quants[name], launch)
        for name in ("BF16", "Q8_0", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ1_S")
    ]
    assert kept == sorted(kept, reverse=True)
    assert 0 <= kept[-1] < kept[0] <= 1
    narrow = launch.model_copy(update={"kv_type_k": "q4_0", "kv_type_v": "q4_0"})
    assert retained(model, CATALOG.quants["Q8_0"], narrow) < retained(model, CATALOG.quants["Q8_0"], launch)

    assert not quality_of(model, CATALOG).estimated
    twin = model.model_copy(update={"hf_id": "someone/unmeasured", "released": "2026-02-24"})
    guess = quality_of(twin, CATALOG)
    assert guess.estimated
    assert 0 < guess.points < quality_of(model, CATALOG).points
    later = quality_of(twin.model_copy(update={"released": "2026-11"}), CATALOG)
    assert later.points > guess.points
