"""The model catalog: shapes that explain their parameters, quality figures on one scale."""

from __future__ import annotations

import re

import pytest

from knowledge.catalog import default_catalog
from knowledge.tensors import _by_shape

CATALOG = default_catalog()
MODELS = list(CATALOG.models.values())
IDS = [model.hf_id for model in MODELS]

TOTAL_TOLERANCE = 0.012
ACTIVE_TOLERANCE = 0.025
APPROXIMATE = {
    # hf_id: (tolerance of the total, tolerance of the active parameters); why the shape cannot say it all
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": (0.012, 0.20),  # dense and routed layers alternate
    "google/gemma-4-E2B-it": (0.14, 0.27),  # feed-forward twice as wide in the layers that share a cache
    "google/gemma-3n-E2B-it": (0.025, 0.04),  # alternating updates (AltUp, LAuReL) have no column
    "google/gemma-3n-E4B-it": (0.025, 0.025),
    "deepseek-ai/DeepSeek-V4-Flash": (0.03, 0.6),  # compressed attention, counted as full and sliding
    "deepseek-ai/DeepSeek-V4-Pro": (0.03, 0.9),
    "moonshotai/Kimi-K3": (1.0, 0.5),  # latent experts are smaller than their width says
    "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B": (3.0, 1.2),  # latent experts
    "nvidia/NVIDIA-Nemotron-Labs-3-Puzzle-75B-A9B": (6.0, 2.0),  # latent experts, fewer in some layers
    "meta-models/Muse-Glimmer-30B": (0.055, 0.055),  # output gate of the attention
    "arcee-ai/Trinity-Mini": (0.015, 0.09),  # output gate of the attention
}
BASES = {"inferred", "derived", "two_sources", "single_source+recalled_count"}
SIZE_IN_NAME = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)B(?![a-z])", re.IGNORECASE)


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_the_shape_explains_the_parameters(model):
    counts = _by_shape(model)
    total_tolerance, active_tolerance = APPROXIMATE.get(model.hf_id, (TOTAL_TOLERANCE, ACTIVE_TOLERANCE))
    assert counts.total / 1e9 == pytest.approx(model.total_params_b, rel=total_tolerance)
    active = counts.active(model.n_experts_used, model.n_experts) / 1e9
    assert active == pytest.approx(model.active_params_b, rel=active_tolerance)


def test_no_exception_outlives_its_reason():
    for hf_id in APPROXIMATE:
        model = CATALOG.models[hf_id]
        counts = _by_shape(model)
        active = counts.active(model.n_experts_used, model.n_experts) / 1e9
        exact = (
            abs(counts.total / 1e9 / model.total_params_b - 1) <= TOTAL_TOLERANCE
            and abs(active / model.active_params_b - 1) <= ACTIVE_TOLERANCE
        )
        assert not exact, hf_id


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_the_name_states_the_parameters(model):
    """Names round, and some count the towers: a quarter either way, or half a billion for small ones."""
    if model.architecture == "Llama4ForConditionalGeneration":  # named by active parameters
        return
    for size in SIZE_IN_NAME.findall(model.name):
        assert float(size) == pytest.approx(model.total_params_b, rel=0.12, abs=0.7)


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_layers_are_counted_once(model):
    kinds = (
        model.layers_full, model.layers_sliding, model.layers_linear, model.layers_mamba2,
        model.layers_mla, model.layers_conv, model.layers_mlp_only,
    )  # fmt: skip
    both_caches = model.architecture == "DeepseekV4ForCausalLM"
    assert sum(kinds) == (model.layers_full + model.n_layers if both_caches else model.n_layers)
    if model.layers_full or model.layers_sliding:
        assert min(model.n_heads, model.n_kv_heads, model.head_dim_k, model.head_dim_v) > 0
        assert model.n_heads % model.n_kv_heads == 0
    if model.layers_sliding:
        assert model.sliding_window
    if model.layers_mla:
        assert model.kv_lora_rank
        assert model.qk_rope_head_dim
    if model.layers_mamba2:
        assert model.ssm_num_heads
        assert model.ssm_state_size
    if model.is_moe:
        assert model.n_experts_used <= model.n_experts
        assert model.moe_intermediate_size
    assert model.active_params_b <= model.total_params_b
    assert model.vocab_size
    assert model.max_context


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_every_model_says_where_it_is_from(model):
    assert model.source_url
    assert model.basis in BASES or model.basis.endswith("+param_check"), model.basis
    if model.basis == "derived":
        assert model.notes


def test_moe_shapes_that_speed_depends_on():
    expected = {
        # hf_id: layers, experts, used, width of an expert, dense layers
        "Qwen/Qwen3.5-35B-A3B": (40, 256, 8, 512, 0),
        "openai/gpt-oss-120b": (36, 128, 4, 2880, 0),
        "rednote-hilab/dots.llm1.inst": (62, 128, 6, 1408, 1),
        "deepseek-ai/DeepSeek-V2.5-1210": (60, 160, 6, 1536, 1),
        "poolside/Laguna-XS-2.1": (40, 256, 8, 512, 1),
        "poolside/Laguna-S-2.1": (48, 256, 10, 1024, 1),
        "arcee-ai/Trinity-Mini": (32, 128, 8, 1024, 2),
        "mistralai/Mixtral-8x7B-Instruct-v0.1": (32, 8, 2, 14336, 0),
    }
    for hf_id, shape in expected.items():
        model = CATALOG.models[hf_id]
        found = (
            model.n_layers, model.n_experts, model.n_experts_used, model.moe_intermediate_size,
            model.n_dense_layers,
        )  # fmt: skip
        assert found == shape, hf_id


def test_quality_is_one_scale_for_known_models():
    assert CATALOG.quality.keys() <= CATALOG.models.keys()
    assert {row.metric for row in CATALOG.quality.values()} == {"aa41_equiv"}
    assert all(row.value <= 100 for row in CATALOG.quality.values())
    assert all(row.basis.startswith(("measured", "mapped")) for row in CATALOG.quality.values())
    best = CATALOG.quality["deepseek-ai/DeepSeek-V4-Pro"].value
    assert CATALOG.quality["Qwen/Qwen3.5-0.8B"].value < CATALOG.quality["Qwen/Qwen3.5-27B"].value < best
