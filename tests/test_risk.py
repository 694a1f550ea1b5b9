"""The probability of running out of memory: bounds, monotonicity, the founding puzzle, and the fit."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.config import Host, LaunchConfig, Setup
from advisor.memory import account
from advisor.risk import (
    CONSTANTS,
    demand_of,
    dominant_part,
    fits,
    oom_probability,
    risk_of,
    risk_under,
    spreads,
    standard_error_mib,
)
from advisor.training.diagrams import reliability_diagram
from advisor.training.memory_cases import read_cases
from advisor.training.memory_scores import memory_scores
from advisor.training.risk import fit_risk, reliability, score, write_constants
from knowledge.catalog import default_catalog
from knowledge.names.quant import resolve_quant
from knowledge.paths import memory_dir
from knowledge.weights import weight_bytes


def setup(name="Qwen/Qwen3.5-35B-A3B", quant="UD-Q4_K_XL", weights_gib=18.35, gpu="RTX 3090", **launch):
    catalog = default_catalog()
    device, model = catalog.gpus[gpu], catalog.models[name]
    form = resolve_quant(quant, catalog)
    config = LaunchConfig(
        model=name,
        quant=quant,
        weights_gib=weights_gib,
        gpu=gpu,
        **({"vram_gib": 24.0, "ctx": 262144} | launch),
    )
    return Setup(config, model, form, weight_bytes(model, form, weights_gib), device, Host(headless=True))


def probability(**kwargs):
    case = setup(**kwargs)
    return oom_probability(case, account(case))


def test_the_founding_puzzle():
    """35B-A3B in 18.35 GiB at 262,144 tokens on a headless 3090: the KV type unlocks it, one slot not."""
    march = {"engine_version": "2026-03"}
    default, one_slot = probability(**march), probability(parallel=1, **march)
    quantized = probability(kv_type_k="q8_0", kv_type_v="q8_0", **march)
    print(f"March 2026: default {default:.2f}, -np 1 {one_slot:.2f}, q8_0 cache {quantized:.3f}")
    assert default > 0.7
    assert one_slot > 0.5
    assert quantized < 0.05
    today = probability()
    print(f"newest: default {today:.2f}, -np 1 {probability(parallel=1):.2f}")
    assert 0.2 < today < default  # 23,967 of about 24,124 MiB: nobody can promise that
    assert probability(ctx=4096) < 0.05


def test_one_half_where_the_estimate_equals_what_is_available():
    case = setup()
    memory = account(case)
    even = memory.model_copy(update={"available_mib": memory.total_mib})
    assert oom_probability(case, even) == pytest.approx(0.5, abs=0.25)
    plain = replace(spreads()["llama.cpp"], shift=0.0, growth_mib=0.0, growth_spread_mib=0.0)
    assert oom_probability(case, even, plain) == pytest.approx(0.5)
    assert fits(0.4, memory.model_copy(update={"available_mib": memory.total_mib + 1}))
    assert not fits(0.4, memory.model_copy(update={"available_mib": memory.total_mib - 1}))
    assert not fits(0.6, even)


@given(
    ctx=st.integers(256, 262_144),
    more=st.integers(0, 100_000),
    gib=st.floats(12, 30),
    extra=st.floats(0, 10),
    slots=st.integers(1, 8),
    vram=st.sampled_from([8.0, 16.0, 24.0, 32.0, 48.0]),
)
def test_risk_grows_with_context_weights_and_slots_and_falls_with_memory(ctx, more, gib, extra, slots, vram):
    common = {"kv_unified": True, "vram_gib": vram}
    base = probability(ctx=ctx, weights_gib=gib, parallel=slots, **common)
    assert 0 <= base <= 1
    slack = 1e-12
    assert probability(ctx=ctx + more, weights_gib=gib, parallel=slots, **common) >= base - slack
    assert probability(ctx=ctx, weights_gib=gib + extra, parallel=slots, **common) >= base - slack
    assert probability(ctx=ctx, weights_gib=gib, parallel=slots + 1, **common) >= base - slack
    assert (
        probability(ctx=ctx, weights_gib=gib, parallel=slots, kv_unified=True, vram_gib=vram + 8)
        <= base + slack
    )


def test_the_fullest_card_decides():
    one, two = probability(vram_gib=16.0), probability(vram_gib=16.0, gpu_count=2)
    assert two < one


def test_a_guessed_file_or_graph_is_less_certain():
    case = setup()
    memory = account(case)
    spread = spreads()["llama.cpp"]
    computed = replace(case, weights=replace(case.weights, basis="computed"))
    listed = replace(case, weights=replace(case.weights, basis="listed"))
    derived = replace(case, model=case.model.model_copy(update={"llama_arch": "phi2"}))
    sure, of_list, by_rule, of_graph = (
        standard_error_mib(demand_of(one, memory), memory, spread)
        for one in (case, listed, computed, derived)
    )
    assert sure < of_list < by_rule
    assert of_graph > sure


def paged(**launch):
    return setup(
        "Qwen/Qwen3.5-27B",
        "AWQ-INT4",
        None,
        **({"engine": "vllm", "ctx": 131072, "max_num_seqs": 1, "kv_type_k": "turbo3"} | launch),
    )


def test_a_long_prompt_needs_what_the_budget_leaves():
    spread = spreads()["vllm"]
    case = paged(gpu_memory_utilization=0.95)
    memory = account(case)
    risks = [risk_of(case, memory, spread, fill).full for fill in (0, 30_000, 60_000, 120_000)]
    assert risks == sorted(risks)
    assert risks[-1] > 0.9 > risks[0]
    assert risk_of(case, memory, spread).full == pytest.approx(risks[-1], abs=0.1)  # None: a full context
    roomy = paged(gpu_memory_utilization=0.85)
    assert risk_of(roomy, account(roomy), spread, 60_000).full < risks[2]
    plain = paged(gpu_memory_utilization=0.95, kv_type_k="fp8")  # read as it is: nothing to unpack
    assert demand_of(plain, account(plain)).scratch_mib == 0


def test_a_start_is_never_likelier_to_fail_than_a_full_server():
    for case in (setup(engine_version="2026-03", kv_type_k="q8_0", kv_type_v="q8_0"), paged(), setup()):
        risk = risk_of(case, account(case))
        assert 0 < risk.start <= risk.full < 1


def test_a_server_that_wants_more_than_is_free_is_refused():
    greedy = paged(gpu_memory_utilization=0.99, ctx=4096)
    assert risk_of(greedy, account(greedy)).start > 0.5
    modest = paged(gpu_memory_utilization=0.9, ctx=4096)
    assert risk_of(modest, account(modest)).start < 0.2


def test_one_allocation_above_the_backends_limit_fails():
    """Without flash attention the scores of 70,000 tokens are 4.4 GiB: too much for Vulkan in August 2025."""
    launch = {"backend": "vulkan", "flash_attn": False, "parallel": 1, "vram_gib": 64.0}
    case = setup("Qwen/Qwen3-30B-A3B", "Q4_K_M", None, ctx=70_000, engine_version="2025-08-01", **launch)
    assert demand_of(case, account(case)).allocation > 1
    assert risk_of(case, account(case)).start > 0.9
    for change in ({"engine_version": "2025-12-01"}, {"backend": "cuda"}, {"ctx": 60_000}):
        other = replace(case, launch=case.launch.model_copy(update=change))
        assert risk_of(other, account(other)).start < 0.1


def test_nothing_is_without_risk():
    """One run in twenty holds what no accounting knows of."""
    memory = account(setup(ctx=4096))
    demand = demand_of(setup(ctx=4096), memory)
    assert memory.total_mib < 0.85 * memory.available_mib
    assert 0.001 < risk_under(demand, spreads()["llama.cpp"]).full < 0.05


def test_the_dominant_part_is_named():
    assert dominant_part(account(setup(ctx=4096)))[0] == "weights"
    name, share = dominant_part(
        account(setup(name="meta-llama/Llama-3.1-8B-Instruct", quant="Q4_K_M", weights_gib=None))
    )
    assert name == "KV cache"
    assert 0.5 < share < 1


def test_scores():
    perfect = score([0.0, 0.1, 0.9, 1.0], [False, False, True, True])
    assert perfect.auc == 1.0
    assert perfect.brier == pytest.approx(0.005)
    assert score([0.5, 0.5], [True, False]).auc == 0.5
    assert score([0.2], [False]).auc is None
    assert reliability([0.05, 0.95, 1.0], [False, True, True])[-1] == (9, 2, pytest.approx(0.975), 1.0)


def test_the_artefact_is_what_the_fit_gives(tmp_path):
    content = json.loads(CONSTANTS.read_text(encoding="utf-8"))
    assert content["fitted_on"]["cases"] > 3000
    assert content["leave_source_out"]["all"]["auc"] > 0.94
    assert content["leave_source_out"]["all"]["ece"] < 0.05
    assert content["called_fitting"]["ran_out"] < 0.03 * content["called_fitting"]["n"]
    cases = read_cases([memory_dir() / "memory_cases.csv"], default_catalog())
    assert cases.rows == len(cases.cases) + sum(cases.skipped.values())  # nothing is dropped in silence
    scores = memory_scores(cases.cases)
    assert scores["borderline"]["n"] == len(cases.cases)
    assert 0.6 < scores["borderline"]["right"] / scores["borderline"]["n"] <= 1
    written = write_constants(cases, ["memory_cases.csv"], scores, tmp_path / "constants.json")
    again = {family: spread.shift for family, spread in fit_risk(cases.cases).items()}
    assert {family: values["shift"] for family, values in written["spreads"].items()} == again


def test_the_diagram_shows_every_bin():
    bins = reliability([0.05, 0.95, 1.0], [False, True, True])
    drawn = reliability_diagram(bins)
    assert drawn.count("<circle") == len(bins) == 2
    assert "2 runs: risk 98%, ran out 100%" in drawn
