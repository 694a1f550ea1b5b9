"""Candidates: within limits, few, and every option that was fixed is kept."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.config import Request
from advisor.engines import apply
from advisor.memory import account
from advisor.risk import oom_probability
from advisor.search import candidates
from knowledge.catalog import default_catalog
from knowledge.errors import UnknownNameError, UsageError

CATALOG = default_catalog()
QWEN = "Qwen/Qwen3.5-35B-A3B"
NAMED = [QWEN, "Qwen/Qwen3.5-27B", "Qwen/Qwen3-8B", "openai/gpt-oss-20b", "google/gemma-3-27b-it"]


def search(**asked):
    return candidates(Request(**{"gpu": "RTX 3090", "ctx": 32768, **asked}), CATALOG)


def check_limits(found, request):
    for setup in found.setups:
        memory = account(setup)
        assert memory.total_mib <= memory.available_mib
        assert oom_probability(setup, memory) <= request.max_oom
        assert not apply(setup).forbidden
        assert setup.launch.ctx == request.ctx
        assert setup.launch.concurrency == request.concurrency


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(NAMED), st.sampled_from(["RTX 3090", "RTX 5090", "RX 7900 XTX", "RTX 2080 Ti", "B200"]),
    st.integers(512, 131072), st.integers(1, 4), st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    st.none() | st.just(64.0),
)  # fmt: skip
def test_every_candidate_fits_within_the_asked_risk_and_the_rules(model, gpu, ctx, concurrency, max_oom, ram):
    ctx = min(ctx, CATALOG.models[model].max_context)
    request = Request(model=model, gpu=gpu, ctx=ctx, concurrency=concurrency, max_oom=max_oom, ram=ram)
    found = candidates(request, CATALOG)
    check_limits(found, request)
    assert len(found.setups) <= 60
    assert found.setups or found.rejected
    assert len({setup.launch for setup in found.setups}) == len(found.setups)


def test_the_whole_catalog_gives_few_per_model_and_one_reason_for_each_left_out():
    request = Request(gpu="RTX 4090", ctx=32768)
    found = candidates(request, CATALOG)
    check_limits(found, request)
    assert 20 < len(found.setups) <= 1500
    tried = {setup.model.hf_id for setup in found.setups}
    left_out = [item.config["model"] for item in found.rejected]
    assert len(left_out) == len(set(left_out))
    assert tried.isdisjoint(left_out)
    assert tried | set(left_out) == set(CATALOG.models)
    assert all(item.reason for item in found.rejected)


FIXED = [
    ({"quant": "Q4_K_M"}, lambda s: s.quant.name == "Q4_K_M"),
    ({"engine": "vllm"}, lambda s: s.launch.engine == "vllm"),
    ({"engine": "llama.cpp", "engine_version": "b9000"}, lambda s: s.launch.engine_version == "b9000"),
    (
        {"kv_type_k": "q8_0", "kv_type_v": "q8_0"},
        lambda s: s.launch.kv_type_k == s.launch.kv_type_v == "q8_0",
    ),
    ({"kv_type_k": "q8_0"}, lambda s: s.launch.kv_type_v == "q8_0"),
    ({"ubatch": 1024}, lambda s: s.launch.ubatch == 1024),
    ({"parallel": 2, "engine": "llama.cpp"}, lambda s: s.launch.parallel == 2 and s.launch.kv_unified),
    ({"ngl": 20}, lambda s: s.launch.n_gpu_layers == 20),
    ({"flash_attn": False, "engine": "llama.cpp"}, lambda s: not s.launch.flash_attn),
    ({"gpu_memory_utilization": 0.8, "engine": "vllm"}, lambda s: s.launch.gpu_memory_utilization == 0.8),
    ({"max_num_seqs": 7, "engine": "vllm"}, lambda s: s.launch.max_num_seqs == 7),
    ({"vram": 48.0}, lambda s: s.launch.vram_gib == 48.0),
    ({"weights_gib": 5.0, "quant": "Q4_K_M"}, lambda s: abs(s.weights.total_gib - 5.0) < 1e-6),
    ({"depth": 1000, "prompt": 500}, lambda s: (s.launch.depth, s.launch.prompt) == (1000, 500)),
]


@pytest.mark.parametrize(("asked", "kept"), FIXED, ids=lambda value: str(value)[:40])
def test_what_is_asked_for_is_kept(asked, kept):
    found = search(model="Qwen/Qwen3-8B", **{"ctx": 8192, **asked})
    assert found.setups
    assert all(kept(setup) for setup in found.setups)


def test_a_width_asks_for_all_formats_of_that_width():
    names = {setup.quant.name for setup in search(model=QWEN, quant="4-bit", vram=48.0).setups}
    assert {"UD-Q4_K_XL", "Q4_K_M", "IQ4_XS", "AWQ-INT4"} <= names
    assert not names & {"Q8_0", "FP8", "UD-Q3_K_XL", "UD-Q5_K_XL"}


def test_models_with_native_four_bit_experts_come_in_one_format_of_each_kind_of_file():
    found = {(setup.launch.engine, setup.quant.name) for setup in search(model="openai/gpt-oss-20b").setups}
    assert found == {("llama.cpp", "MXFP4_MOE"), ("vllm", "MXFP4")}


def test_four_bit_caches_are_a_last_resort():
    for setup in search(model="Qwen/Qwen3-8B", ctx=8192).setups:
        assert setup.launch.kv_type_k != "q4_0"


def test_a_mixture_too_large_for_the_card_puts_the_fewest_experts_on_the_host():
    alone = search(model="Qwen/Qwen3.5-122B-A10B", quant="UD-Q3_K_XL")
    assert not alone.setups
    (setup,) = search(model="Qwen/Qwen3.5-122B-A10B", quant="UD-Q3_K_XL", ram=96.0).setups
    layers = setup.launch.n_cpu_moe
    assert 0 < layers <= setup.model.n_layers
    fewer = setup.launch.model_copy(update={"n_cpu_moe": layers - 1})
    memory = account(type(setup)(fewer, setup.model, setup.quant, setup.weights, setup.gpu, setup.host))
    assert oom_probability(setup, memory) > 0.05 or memory.total_mib > memory.available_mib


def test_a_dense_model_too_large_for_the_card_keeps_as_many_layers_as_fit():
    (setup,) = search(model="meta-llama/Llama-3.3-70B-Instruct", quant="Q4_K_M", ram=64.0).setups
    assert 0 < setup.launch.n_gpu_layers < setup.model.n_layers


def test_ram_that_is_too_small_is_the_reason():
    found = search(model="Qwen/Qwen3.5-122B-A10B", quant="UD-Q3_K_XL", ram=8.0)
    assert not found.setups


def test_a_context_above_the_models_maximum_is_refused_or_left_out():
    with pytest.raises(UsageError, match="40Ki"):
        search(model="Qwen/Qwen3-8B", ctx=200_000)
    reasons = {item.config["model"]: item.reason for item in search(ctx=200_000).rejected}
    assert "at most 40Ki" in reasons["Qwen/Qwen3-8B"]


def test_vllm_is_not_proposed_where_it_does_not_run():
    for gpu in ("M4 Max (40-core GPU)", "RX 6800 XT", "GTX 1060 6GB"):
        found = search(model="Qwen/Qwen3-8B", gpu=gpu, ctx=4096, quant=None)
        assert {setup.launch.engine for setup in found.setups} <= {"llama.cpp"}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"engine": "tgi"}, "use one of"),
        ({"engine": "vllm", "ubatch": 512}, "vllm has no --ubatch"),
        ({"engine": "llama.cpp", "tensor_parallel": 2, "gpu_count": 2}, "llama.cpp has no --tp"),
        ({"ngl": 10, "max_num_seqs": 4}, "different engines"),
        ({"engine_version": "b9000"}, "needs --engine"),
        ({"engine": "llama.cpp", "engine_version": "banana"}, "cannot tell how old"),
        ({"weights_gib": 5.0}, "--quant"),
        ({"depth": 9000, "ctx": 8192}, "--depth"),
        ({"tensor_parallel": 2}, "as many GPUs"),
        ({"quant": "Q4_K_M", "weights_gib": 400.0}, "cannot be"),
        ({"kv_type_k": "q9"}, "q9"),
    ],
)
def test_contradictions_are_refused_in_one_line(asked, says):
    with pytest.raises(UsageError, match=says) as refusal:
        search(model="Qwen/Qwen3-8B", **asked)
    assert "\n" not in str(refusal.value)


def test_experts_of_a_dense_model_cannot_be_moved():
    found = search(model="Qwen/Qwen3-8B", n_cpu_moe=4)
    assert not found.setups
    assert "no experts" in found.rejected[0].reason


def test_two_cards_are_used_together():
    engines = {}
    for setup in search(model="Qwen/Qwen3-32B", gpu_count=2).setups:
        engines[setup.launch.engine] = (setup.launch.gpu_count, setup.launch.tensor_parallel)
    assert engines == {"llama.cpp": (2, 1), "vllm": (2, 2)}


def test_unknown_names_and_memory_are_usage_errors():
    with pytest.raises(UnknownNameError, match="RTX 9090"):
        search(gpu="RTX 9090")
    with pytest.raises(UnknownNameError, match="no/model"):
        search(model="no/model")
    unsized = next((name for name, gpu in CATALOG.gpus.items() if gpu.memory_gib is None), None)
    if unsized is not None:
        with pytest.raises(UsageError, match="--vram"):
            search(gpu=unsized)
        assert search(gpu=unsized, vram=64.0).setups
