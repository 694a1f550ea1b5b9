"""Parameters by class and bytes by class: sums, shapes that are known, real sizes kept exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.catalog import default_catalog
from knowledge.errors import UsageError
from knowledge.kv_types import KV_TYPES, normalise_kv_type, row_bytes
from knowledge.schema import Quant
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
    assert active == pytest.approx(model.active_params_b * 1e9, rel=0.02)


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
