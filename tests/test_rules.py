"""Rules: each that can be matched has a case in which it fires and one in which it does not."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.config import LaunchConfig, Setup
from advisor.engines.rules import Term, apply, parse_condition
from advisor.engines.traits import NOT_STATED, setup_facts
from knowledge.catalog import default_catalog
from knowledge.errors import AdvisorError
from knowledge.schema import Rule
from knowledge.weights import weight_bytes

CATALOG = default_catalog()
RULES = {rule.id: rule for rule in CATALOG.rules}
DENSE, HYBRID, MOE = "Qwen/Qwen3-8B", "Qwen/Qwen3.5-27B", "Qwen/Qwen3.5-35B-A3B"
MLA, GEMMA = "zai-org/GLM-4.7-Flash", "google/gemma-3-27b-it"


def setup_of(model=DENSE, quant="Q4_K_M", gpu="RTX 4090", **launch):
    spec, kind, device = CATALOG.models[model], CATALOG.quants[quant], CATALOG.gpus[gpu]
    defaults = {"ctx": 32768, "vram_gib": device.memory_gib, "engine": "llama.cpp"}
    config = LaunchConfig(model=model, quant=quant, gpu=gpu, **{**defaults, **launch})
    return Setup(config, spec, kind, weight_bytes(spec, kind), device)


def vllm(model=DENSE, quant="FP8", gpu="RTX 4090", **launch):
    return setup_of(model, quant, gpu, engine="vllm", **launch)


def tabby(model=DENSE, quant="EXL3-4.0bpw", gpu="RTX 4090", **launch):
    return setup_of(model, quant, gpu, engine="exllamav3", **launch)


def mlx(model=DENSE, quant="MLX-4bit", gpu="M4 Pro", **launch):
    return setup_of(model, quant, gpu, engine="mlx", vram_gib=24.0, **launch)


def with_head_dim(head_dim, **launch):
    setup = setup_of(**launch)
    return replace(
        setup, model=setup.model.model_copy(update={"head_dim_k": head_dim, "head_dim_v": head_dim})
    )


FP8_KV = {"kv_type_k": "fp8", "kv_type_v": "fp8"}
Q8_KV = {"kv_type_k": "q8_0", "kv_type_v": "q8_0"}
MIXED_KV = {"kv_type_k": "q8_0", "kv_type_v": "q4_0"}
NVFP4_KV = {"kv_type_k": "nvfp4", "kv_type_v": "nvfp4"}

# rule → (a configuration in which it fires, one in which it must not)
CASES = {
    "R01": (vllm(gpu="RTX 3090"), vllm(gpu="RTX 4090")),
    "R02": (vllm(gpu="RTX 2080 Ti"), vllm(gpu="RTX 3090")),
    "R05": (vllm(quant="NVFP4"), vllm(quant="NVFP4", gpu="RTX 5090")),
    "R06": (vllm(quant="MXFP4", gpu="RTX 2080 Ti"), vllm(quant="MXFP4", gpu="RTX 3090")),
    "R07": (
        vllm(MOE, "NVFP4", "RTX 5090", engine_version="0.15.0"),
        vllm(MOE, "NVFP4", "RTX 5090", engine_version="0.15.1"),
    ),
    "R08": (
        vllm(quant="NVFP4", gpu="RTX 5090", engine_version="0.18.1"),
        vllm(quant="NVFP4", gpu="B200", engine_version="0.18.1"),
    ),
    "R11": (vllm(quant="AWQ-INT4", gpu="RX 7900 XTX"), vllm(quant="AWQ-INT4")),
    "R12": (vllm(quant="Q4_K_M"), vllm(quant="Q4_K_M", engine_version="0.23.0")),
    "R13": (vllm(MOE, "Q4_K_M"), vllm(HYBRID, "Q4_K_M")),
    "R14": (vllm(quant="bnb-nf4"), vllm(quant="bnb-nf4", engine_version="0.27.1")),
    "R20": (setup_of(**Q8_KV, flash_attn=False), setup_of(**Q8_KV)),
    "R21": (setup_of(**MIXED_KV, engine_version="b10791"), setup_of(**Q8_KV, engine_version="b10791")),
    "R22": (setup_of(**MIXED_KV), setup_of(**MIXED_KV, gpu="M4 Max (40-core GPU)")),
    "R23": (with_head_dim(80, **Q8_KV), with_head_dim(96, **Q8_KV)),
    "R24": (setup_of(MLA, **MIXED_KV), setup_of(MLA, **Q8_KV)),
    "R26a": (vllm(gpu="RTX 3090", **FP8_KV), vllm(gpu="RTX 3090")),
    "R27": (vllm(MLA, gpu="RTX 5090", **NVFP4_KV), vllm(gpu="RTX 5090", **NVFP4_KV)),
    "R28": (vllm(**NVFP4_KV), vllm(gpu="RTX 5090", **NVFP4_KV)),
    "R29": (vllm(**FP8_KV), vllm(**FP8_KV, engine_version="0.27.1")),
    "R30": (
        vllm(HYBRID, gpu="B200", engine_version="0.18.0", **FP8_KV),
        vllm(HYBRID, gpu="B200", engine_version="0.18.1", **FP8_KV),
    ),
    "R40": (
        vllm(HYBRID, engine_version="0.14.0", prefix_caching=True),
        vllm(DENSE, engine_version="0.14.0", prefix_caching=True),
    ),
    "R41": (vllm(HYBRID, engine_version="0.25.1"), vllm(HYBRID, engine_version="0.26.0")),
    "R42": (vllm(HYBRID, prefix_caching=False), vllm(HYBRID)),
    "R45": (vllm(HYBRID, spec_decode="mtp"), vllm(HYBRID, spec_decode="mtp", prefix_caching=False)),
    "R47": (vllm(HYBRID, prompt=100), vllm(HYBRID, prompt=600)),
    "R48": (vllm(HYBRID, max_num_seqs=1024), vllm(HYBRID, max_num_seqs=64)),
    "R49": (vllm(HYBRID, spec_decode="mtp", prefix_caching=False), vllm(HYBRID)),
    "R50": (setup_of(HYBRID, engine_version="b8200"), setup_of(HYBRID)),
    "R60": (setup_of(parallel=4, kv_unified=True), setup_of(parallel=1, kv_unified=True)),
    "R61": (setup_of(ctx=200_000), setup_of(ctx=200_000, parallel=1)),
    "R62": (
        setup_of(parallel=4, kv_unified=True),
        setup_of(parallel=4, kv_unified=True, engine_version="b10791"),
    ),
    "R63": (setup_of(HYBRID, spec_decode="mtp", parallel=2), setup_of(HYBRID, spec_decode="mtp", parallel=1)),
    "R67": (setup_of(), setup_of(engine_version="b8000")),
    "R68": (vllm(gpu_count=3, tensor_parallel=3), vllm(gpu_count=4, tensor_parallel=4)),
    "R68a": (vllm(MOE, gpu_count=4, tensor_parallel=4), vllm(MOE, gpu_count=2, tensor_parallel=2)),
    "R69": (
        vllm(gpu_count=2, concurrency=4, engine_version="0.20.0"),
        vllm(gpu_count=2, concurrency=4, tensor_parallel=2, engine_version="0.20.0"),
    ),
    "R71": (vllm(), setup_of()),
    "R72": (
        vllm(HYBRID, spec_decode="mtp", gpu_memory_utilization=0.95),
        vllm(HYBRID, spec_decode="mtp"),
    ),
    "R74": (vllm(HYBRID), vllm(HYBRID, engine_version="0.16.0")),
    "R53": (tabby(HYBRID, concurrency=5), tabby(HYBRID, concurrency=4)),
    "R77a": (
        tabby(MOE, n_cpu_moe=4, gpu_count=2, tensor_parallel=2),
        tabby(MOE, n_cpu_moe=4, gpu_count=2),
    ),
    "R79": (tabby(gpu="RX 7900 XTX"), tabby()),
    "R79a": (tabby(gpu="RTX 2080 Ti"), tabby(gpu="RTX 3090")),
    "R79b": (mlx(concurrency=2, kv_type_v="q8_0"), mlx(concurrency=2)),
    "R79c": (mlx("google/gemma-3-27b-it", kv_type_v="q4_0"), mlx(kv_type_v="q4_0")),
    "R77": (setup_of(MOE, n_cpu_moe=4), setup_of(MOE)),
    "R77c": (
        setup_of(MOE, n_cpu_moe=4, engine_version="b9300"),
        setup_of(MOE, n_cpu_moe=4, engine_version="b9300", gpu="RX 7900 XTX"),
    ),
    "R77d": (setup_of(MOE, n_cpu_moe=4), setup_of(MOE, n_cpu_moe=4, engine_version="b9300")),
    "R78": (setup_of(gpu="RX 6800 XT"), setup_of(gpu="RX 7900 XTX")),
}


def fired(setup):
    return set(apply(setup).fired)


@pytest.mark.parametrize("rule", CASES)
def test_rule_fires_where_it_should_and_not_beside_it(rule):
    hit, miss = CASES[rule]
    assert rule in fired(hit)
    assert rule not in fired(miss)


def unmatchable(rule):
    terms = [t for part in (rule.model_trait, rule.gpu_trait, rule.config) for t in parse_condition(part)]
    return any(term.fact in NOT_STATED for term in terms) or "ctx=unset" in rule.config


def test_every_matchable_rule_of_our_engines_has_a_case():
    ours = {
        rule.id for rule in RULES.values() if rule.engine in ("", "llama.cpp", "vllm", "exllamav3", "mlx")
    }
    matchable = {
        id_ for id_ in ours
        if not unmatchable(RULES[id_]) and "block_scaled" not in RULES[id_].config
    }  # fmt: skip
    assert matchable == set(CASES)


def test_all_sixty_four_researched_rules_are_here_with_their_addresses():
    researched = {re.match(r"R\d+", id_).group() for id_ in RULES}
    assert len(researched) == 64
    assert len(RULES) == len(CATALOG.rules)
    for rule in RULES.values():
        assert rule.evidence_url.startswith("https://")
        assert rule.text


def test_every_condition_can_be_read_and_names_known_facts():
    facts = setup_facts(setup_of())
    for rule in RULES.values():
        for part in (rule.model_trait, rule.gpu_trait, rule.config):
            for term in parse_condition(part):
                assert term.fact in facts or term.fact in NOT_STATED, rule.id
                term.holds(facts)


def test_rules_about_what_nothing_states_never_fire():
    silent = {id_ for id_, rule in RULES.items() if unmatchable(rule)}
    assert silent
    for hit, _ in CASES.values():
        assert silent.isdisjoint(fired(hit))


def test_forbidding_warning_and_setting_go_to_their_places():
    outcome = apply(vllm(HYBRID, spec_decode="mtp", **FP8_KV))
    assert [caution.rule for caution in outcome.forbidden] == ["R45"]
    assert {caution.rule for caution in outcome.warnings} == {"R29", "R49"}
    assert "--language-model-only" in outcome.sets


def test_a_version_newer_than_the_facts_is_said():
    assert [c.rule for c in apply(vllm(engine_version="0.99.0")).warnings] == ["newer-version"]
    assert not apply(vllm(engine_version="0.33.0")).warnings


@pytest.mark.parametrize("text", ["hybrid&&&=", "sm=>80", "sm<80|90", "!ctx=3", "Hybrid"])
def test_an_unreadable_condition_is_a_defect(text):
    with pytest.raises(AdvisorError, match=r"rules\.csv"):
        parse_condition(text)


def test_an_unknown_fact_is_a_defect():
    rule = Rule(id="X", kind="warn", config="colour=red", text="t", evidence_url="https://example.org")
    with pytest.raises(AdvisorError, match="colour"):
        apply(setup_of(), [rule])


@given(st.integers(0, 200), st.integers(0, 200))
def test_comparisons_mean_what_they_say(value, bound):
    facts = {"x": value}
    for sign, truth in (
        ("<", value < bound),
        ("<=", value <= bound),
        (">", value > bound),
        (">=", value >= bound),
    ):
        assert Term("x", sign, (str(bound),)).holds(facts) is truth
    assert Term("x", "=", (str(bound),)).holds(facts) is (value == bound)
    assert Term("x", "!=", (str(bound),)).holds(facts) is (value != bound)


def test_a_comparison_with_nothing_does_not_hold():
    assert not Term("sm", "<", ("89",)).holds({"sm": None})
    assert not Term("sm", ">=", ("80",)).holds({"sm": None})
