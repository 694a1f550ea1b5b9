"""Parameters by class and bytes by class: sums, shapes that are known, real sizes kept exactly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.catalog import default_catalog
from knowledge.errors import UsageError
from knowledge.kv_types import KV_TYPES, normalise_kv_type, row_bytes
from knowledge.schema import ModelSpec, Quant
from knowledge.tensors import parameter_counts
from knowledge.weights import weight_bytes

MODELS = default_catalog().models
F16 = Quant(
    name="F16", family="float", bpw=16, embed_bpw=16, output_bpw=16, attn_bpw=16, expert_bpw=16, norm_bpw=16,
    source_url="https://example.org",
)  # fmt: skip


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.hf_id)
def test_classes_sum_to_the_stated_parameters(model):
    counts = parameter_counts(model)
    assert counts.total == pytest.approx(model.total_params_b * 1e9, rel=1e-9)
    assert all(getattr(counts, name) >= 0 for name in counts.__dataclass_fields__)


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.hf_id)
def test_classes_explain_the_active_parameters(model):
    counts = parameter_counts(model)
    active = counts.active(model.n_experts_used, model.n_experts)
    # Some sources count the looked-up embeddings of an untied model as active, some do not.
    stated = model.active_params_b * 1e9
    assert min(abs(active / stated - 1), abs((active + counts.token_embd) / stated - 1)) <= 0.02


SHAPES = st.fixed_dictionaries(
    {
        "total_params_b": st.floats(0.05, 2000),
        "active_share": st.floats(0.01, 1),
        "n_layers": st.integers(0, 120),
        "layers_full": st.integers(0, 60),
        "layers_sliding": st.integers(0, 60),
        "layers_linear": st.integers(0, 60),
        "layers_mamba2": st.integers(0, 60),
        "layers_mla": st.integers(0, 60),
        "layers_mlp_only": st.integers(0, 60),
        "n_heads": st.integers(0, 128),
        "n_kv_heads": st.integers(0, 128),
        "head_dim_k": st.sampled_from([0, 64, 128, 256]),
        "head_dim_v": st.sampled_from([0, 64, 128, 256]),
        "ssm_num_heads": st.none() | st.integers(1, 128),
        "ssm_head_dim": st.none() | st.integers(1, 128),
        "linear_num_value_heads": st.none() | st.integers(1, 64),
        "linear_value_head_dim": st.none() | st.integers(1, 128),
        "kv_lora_rank": st.none() | st.integers(1, 1024),
        "hidden_size": st.integers(0, 16384),
        "intermediate_size": st.none() | st.integers(1, 60000),
        "moe_intermediate_size": st.none() | st.integers(1, 10000),
        "shared_expert_intermediate_size": st.none() | st.integers(1, 10000),
        "n_experts": st.integers(0, 512),
        "n_experts_used": st.integers(0, 32),
        "n_shared_experts": st.integers(0, 2),
        "n_dense_layers": st.integers(0, 120),
        "n_kv_shared_layers": st.integers(0, 20),
        "vocab_size": st.integers(0, 300_000),
        "tie_embeddings": st.booleans(),
    }
)


@given(shape=SHAPES, quant=st.sampled_from(list(default_catalog().quants.values())))
def test_no_shape_breaks_the_sum(shape, quant):
    shape = dict(shape)
    active = shape.pop("active_share") * shape["total_params_b"]
    model = ModelSpec(
        hf_id="a/b", family="x", architecture="X", active_params_b=active, basis="derived",
        source_url="https://example.org", **shape,
    )  # fmt: skip
    counts = parameter_counts(model)
    assert counts.total == pytest.approx(model.total_params_b * 1e9, rel=1e-6)
    assert all(getattr(counts, name) >= 0 for name in counts.__dataclass_fields__)
    weights = weight_bytes(model, quant)
    parts = (weights.token_embd, weights.output, weights.dense, weights.experts, weights.per_layer_embedding)
    assert all(math.isfinite(part) and part >= 0 for part in parts)
    assert 1.0 <= 8 * weights.total / (model.total_params_b * 1e9) <= 33
    assert weight_bytes(model, quant, weights.total_gib * 1.1).total_gib == pytest.approx(
        weights.total_gib * 1.1
    )


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.hf_id)
def test_sixteen_bits_are_two_bytes_a_parameter(model):
    weights = weight_bytes(model, F16)
    assert weights.basis == "computed"
    # gpt-oss and DeepSeek-V4 are published with 4-bit experts, and those stay.
    wide = weights.total - weights.experts + 2 * parameter_counts(model).routed_experts
    assert wide == pytest.approx(2e9 * model.total_params_b, rel=1e-9)
    assert weights.experts <= 2 * parameter_counts(model).routed_experts * (1 + 1e-9)


@given(model=st.sampled_from(list(MODELS.values())), scale=st.floats(0.5, 2.0))
def test_a_real_size_is_kept_exactly(model, scale):
    computed = weight_bytes(model, F16)
    given_size = weight_bytes(model, F16, computed.total_gib * scale)
    assert given_size.total_gib == pytest.approx(computed.total_gib * scale)
    assert given_size.basis == "given"
    parts = (given_size.token_embd, given_size.output, given_size.dense, given_size.experts)
    assert min(parts) >= 0


def test_an_impossible_size_is_refused():
    with pytest.raises(UsageError, match=r"cannot be Llama-3.3-70B-Instruct in F16"):
        weight_bytes(MODELS["meta-llama/Llama-3.3-70B-Instruct"], F16, 3.0)


def test_known_shapes():
    llama = parameter_counts(MODELS["meta-llama/Llama-3.1-8B-Instruct"])
    assert llama.token_embd == llama.output == 128256 * 4096
    assert llama.attention == pytest.approx(32 * 4096 * (32 + 8 + 8 + 32) * 128, rel=1e-4)
    assert llama.dense_ffn == pytest.approx(32 * 3 * 4096 * 14336, rel=1e-4)
    moe = parameter_counts(MODELS["Qwen/Qwen3.5-35B-A3B"])
    assert moe.routed_experts == pytest.approx(40 * 256 * 3 * 2048 * 512, rel=1e-4)
    assert moe.dense_ffn == 0
    assert moe.mixers > 0
    tied = parameter_counts(MODELS["meta-llama/Llama-3.2-1B-Instruct"])
    assert tied.output == 0
    assert tied.tied


@pytest.mark.parametrize("kind", KV_TYPES)
def test_every_kv_type_names_itself(kind):
    assert normalise_kv_type(kind) == kind
    assert normalise_kv_type(f" {kind.upper()} ") == kind


@given(kind=st.sampled_from(list(KV_TYPES)), n=st.integers(1, 10_000))
def test_a_longer_row_is_never_smaller(kind, n):
    assert row_bytes(kind, n) <= row_bytes(kind, n + 1)
    assert row_bytes(kind, n) >= n * KV_TYPES[kind].bits / 8


def test_rows_of_the_accounting():
    assert row_bytes("f16", 1024) == 2048
    assert row_bytes("q8_0", 1024) == 1024 * 34 / 32
    assert row_bytes("q4_0", 1024) == 1024 * 18 / 32
    assert normalise_kv_type("fp8/e4m3") == "fp8"
    assert normalise_kv_type("int8_per_token_head + drafter bf16") == "int8"
    assert normalise_kv_type("-") is None
    assert normalise_kv_type("Q4_K_M") is None


@pytest.mark.parametrize(
    ("hf_id", "device_mib", "host_mib"),
    [
        # llama.cpp's own accounting of uniform Q4_K files (head Q6_K, odd rows Q5_0 or Q8_0), b. 0c1e57098:
        # the device holds everything but the token embeddings.
        ("Qwen/Qwen3.5-35B-A3B", 18518.45, 272.81),
        ("Qwen/Qwen3.5-27B", 14067.4, 682.0),
        ("Qwen/Qwen3-30B-A3B", 16330.2, 166.9),
        ("meta-llama/Llama-3.1-8B-Instruct", 4156.0, 281.8),
        ("zai-org/GLM-4.5-Air", 61216.7, 333.0),
        ("deepseek-ai/DeepSeek-V2-Lite", 8954.3, 112.5),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", 42820.1, 166.9),
    ],
)
def test_bytes_agree_with_llama_cpp(hf_id, device_mib, host_mib):
    uniform = Quant(
        name="Q4_K", family="k-quant", bpw=4.5, attn_bpw=4.5, expert_bpw=4.5, embed_bpw=4.5,
        output_bpw=6.5625, block=256, fallback_bpw=5.5, source_url="https://example.org",
    )  # fmt: skip
    weights = weight_bytes(MODELS[hf_id], uniform)
    assert (weights.output + weights.dense + weights.experts) / 2**20 == pytest.approx(device_mib, rel=1e-3)
    assert weights.token_embd / 2**20 == pytest.approx(host_mib, rel=1e-3)
