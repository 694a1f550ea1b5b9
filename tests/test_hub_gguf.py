"""GGUF headers of well-known models, written by the gguf package at their real size, are understood.

The files are sparse: the header is whole and the tensors are holes, so that gigabytes cost nothing.
"""

import math
import os

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import advisor
from knowledge.byte_source import LocalFile
from knowledge.catalog import default_catalog
from knowledge.errors import ModelFileError, UnsupportedError, UsageError
from knowledge.gguf_header import BLOCKS, read_gguf_header
from knowledge.gguf_model import FILE_TYPES
from knowledge.hub import read_path
from knowledge.names.place import existing_path
from knowledge.names.quant import match_quant

CATALOG = default_catalog()
Q = gguf.GGMLQuantizationType
LLAMA = CATALOG.models["meta-llama/Llama-3.1-8B-Instruct"]


def write(path, arch, stated, tensors, *, kind=Q.Q8_0, kinds=None):
    """A GGUF file whose tensors, named with their rows innermost first, are holes."""
    writer = gguf.GGUFWriter(path, arch)
    for key, value in stated.items():
        name = key if key.startswith("general.") else f"{arch}.{key}"
        if isinstance(value, list):
            writer.add_array(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        else:
            writer.add_uint32(name, value)
    writer.add_token_list(["a", "b", "c"])
    end = 0
    for name, dims in tensors.items():
        chosen = (kinds or {}).get(name, kind if len(dims) > 1 and dims[0] % 32 == 0 else Q.F32)
        block, size = gguf.GGML_QUANT_SIZES[chosen]
        n_bytes = math.prod(dims) // block * size
        writer.add_tensor_info(name, tuple(reversed(dims)), np.dtype(np.float32), n_bytes, raw_dtype=chosen)
        end = -(-end // 32) * 32 + n_bytes
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    os.truncate(path, -(-path.stat().st_size // 32) * 32 + end)
    return path


def stated(model, **more):
    return {
        "block_count": model.n_layers, "context_length": model.max_context,
        "embedding_length": model.hidden_size, "attention.head_count": model.n_heads,
        "attention.head_count_kv": model.n_kv_heads, "attention.key_length": model.head_dim_k,
        "attention.value_length": model.head_dim_v, **more,
    }  # fmt: skip


def attention(model, *, gate=1, kv=None, dim=None, own_v=True):
    hidden, kv, k, v = (
        model.hidden_size,
        kv or model.n_kv_heads,
        dim or model.head_dim_k,
        dim or model.head_dim_v,
    )
    found = {
        "attn_norm.weight": [hidden], "attn_q.weight": [hidden, gate * model.n_heads * k],
        "attn_k.weight": [hidden, kv * k], "attn_output.weight": [model.n_heads * v, hidden],
    }  # fmt: skip
    return found | ({"attn_v.weight": [hidden, kv * v]} if own_v else {})


def dense(model, width=None, gated=True):
    hidden, width = model.hidden_size, width or model.intermediate_size
    found = {
        "ffn_norm.weight": [hidden],
        "ffn_up.weight": [hidden, width],
        "ffn_down.weight": [width, hidden],
    }
    return found | ({"ffn_gate.weight": [hidden, width]} if gated else {})


def experts(model, gated=True):
    hidden, width, n = model.hidden_size, model.moe_intermediate_size, model.n_experts
    found = {
        "ffn_norm.weight": [hidden], "ffn_gate_inp.weight": [hidden, n],
        "ffn_up_exps.weight": [hidden, width, n], "ffn_down_exps.weight": [width, hidden, n],
    }  # fmt: skip
    if gated:
        found["ffn_gate_exps.weight"] = [hidden, width, n]
    if model.n_shared_experts:
        shared = model.shared_expert_intermediate_size
        found |= {"ffn_up_shexp.weight": [hidden, shared], "ffn_down_shexp.weight": [shared, hidden]}
        if gated:
            found["ffn_gate_shexp.weight"] = [hidden, shared]
    return found


def delta_net(model):
    hidden, heads = model.hidden_size, model.linear_num_value_heads
    value = heads * model.linear_value_head_dim
    width = value + 2 * model.linear_num_key_heads * model.linear_key_head_dim
    return {
        "attn_norm.weight": [hidden], "attn_qkv.weight": [hidden, width], "attn_gate.weight": [hidden, value],
        "ssm_conv1d.weight": [4, width], "ssm_dt.bias": [heads], "ssm_a": [heads],
        "ssm_beta.weight": [hidden, heads], "ssm_alpha.weight": [hidden, heads],
        "ssm_norm.weight": [model.linear_value_head_dim], "ssm_out.weight": [value, hidden],
    }  # fmt: skip


def mamba(model):
    hidden, heads = model.hidden_size, model.ssm_num_heads
    inner, states = heads * model.ssm_head_dim, 2 * model.ssm_groups * model.ssm_state_size
    return {
        "attn_norm.weight": [hidden], "ssm_in.weight": [hidden, 2 * inner + states + heads],
        "ssm_conv1d.weight": [4, inner + states], "ssm_a": [1, heads], "ssm_d": [1, heads],
        "ssm_norm.weight": [inner], "ssm_out.weight": [inner, hidden],
    }  # fmt: skip


def latent(model):
    hidden, heads, rank = model.hidden_size, model.n_heads, model.kv_lora_rank
    nope, rope = model.qk_nope_head_dim, model.qk_rope_head_dim
    return {
        "attn_norm.weight": [hidden], "attn_q.weight": [hidden, heads * (nope + rope)],
        "attn_kv_a_mqa.weight": [hidden, rank + rope], "attn_kv_a_norm.weight": [rank],
        "attn_k_b.weight": [nope, rank, heads], "attn_v_b.weight": [rank, model.head_dim_v, heads],
        "attn_output.weight": [heads * model.head_dim_v, hidden],
    }  # fmt: skip


def short_conv(model):
    hidden = model.hidden_size
    return {
        "attn_norm.weight": [hidden], "shortconv.conv.weight": [3, hidden],
        "shortconv.in_proj.weight": [hidden, 3 * hidden], "shortconv.out_proj.weight": [hidden, hidden],
    }  # fmt: skip


def kda(model):
    hidden, inner, head = model.hidden_size, model.n_heads * 128, 128
    return {
        **{f"attn_{side}.weight": [hidden, inner] for side in "qkv"},
        **{f"ssm_conv1d_{side}.weight": [4, 1, inner] for side in "qkv"},
        "attn_norm.weight": [hidden], "attn_output.weight": [inner, hidden],
        "ssm_f_a.weight": [hidden, head], "ssm_f_b.weight": [head, inner],
        "ssm_g_a.weight": [hidden, head], "ssm_g_b.weight": [head, inner],
        "ssm_beta.weight": [hidden, model.n_heads], "ssm_a": [1, model.n_heads], "ssm_dt.bias": [inner],
    }  # fmt: skip


def stack(model, *layers):
    tensors = {
        "token_embd.weight": [model.hidden_size, model.vocab_size],
        "output_norm.weight": [model.hidden_size],
    }
    if not model.tie_embeddings:
        tensors["output.weight"] = [model.hidden_size, model.vocab_size]
    return tensors | {
        f"blk.{index}.{name}": dims for index, layer in enumerate(layers) for name, dims in layer.items()
    }


def llama(model):
    layer = attention(model) | dense(model)
    return stated(model, feed_forward_length=model.intermediate_size), stack(model, *[layer] * model.n_layers)


def qwen3moe(model):
    layer = attention(model) | experts(model)
    more = {"expert_count": model.n_experts, "expert_used_count": model.n_experts_used}
    return stated(model, **more), stack(model, *[layer] * model.n_layers)


def gpt_oss(model):
    told, tensors = qwen3moe(model)
    return told | {"attention.sliding_window": 128}, tensors


def qwen35moe(model):
    full, linear = attention(model, gate=2) | experts(model), delta_net(model) | experts(model)
    more = {
        "expert_count": model.n_experts, "expert_used_count": model.n_experts_used, "ssm.conv_kernel": 4,
        "ssm.state_size": 128, "ssm.group_count": 16, "ssm.time_step_rank": 32, "ssm.inner_size": 4096,
        "full_attention_interval": 4,
    }  # fmt: skip
    return stated(model, **more), stack(model, *[linear, linear, linear, full] * (model.n_layers // 4))


def gemma3(model):
    told, tensors = llama(model)
    return told | {"attention.sliding_window": model.sliding_window}, tensors


def deepseek2(model):
    more = {
        "attention.head_count_kv": 1, "attention.key_length": 576, "attention.value_length": 512,
        "attention.key_length_mla": 192, "attention.value_length_mla": 128, "attention.kv_lora_rank": 512,
        "rope.dimension_count": 64, "expert_count": 64, "expert_used_count": 6, "expert_shared_count": 2,
        "leading_dense_block_count": 1,
    }  # fmt: skip
    routed = latent(model) | experts(model)
    return stated(model) | more, stack(model, latent(model) | dense(model), *[routed] * (model.n_layers - 1))


def kimi_linear(model):
    more = {
        "attention.head_count_kv": [int(n % 4 == 3 or n == 26) for n in range(27)],
        "attention.key_length": 576, "attention.value_length": 512, "attention.key_length_mla": 192,
        "attention.value_length_mla": 128, "attention.kv_lora_rank": 512, "rope.dimension_count": 64,
        "kda.head_dim": 128, "ssm.conv_kernel": 4, "expert_count": 256, "expert_used_count": 8,
        "expert_shared_count": 1,
    }  # fmt: skip
    mixers = [latent(model) if n % 4 == 3 or n == 26 else kda(model) for n in range(27)]
    layers = [mixer | (experts(model) if n else dense(model)) for n, mixer in enumerate(mixers)]
    return stated(model) | more, stack(model, *layers)


def nemotron_h_moe(model):
    pattern = "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
    kinds = {"M": mamba(model), "*": attention(model), "E": experts(model, gated=False)}
    more = {
        "attention.head_count_kv": [2 * (letter == "*") for letter in pattern], "expert_count": 128,
        "expert_used_count": 6, "ssm.conv_kernel": 4, "ssm.state_size": 128, "ssm.group_count": 8,
        "ssm.time_step_rank": 64, "ssm.inner_size": 4096,
    }  # fmt: skip
    return stated(model) | more, stack(model, *[kinds[letter] for letter in pattern])


def granitehybrid(model):
    more = {
        "attention.head_count_kv": [4 * (n in (5, 15, 25, 35)) for n in range(40)], "expert_count": 64,
        "expert_used_count": 6, "ssm.conv_kernel": 4, "ssm.state_size": 128, "ssm.group_count": 1,
        "ssm.time_step_rank": 48, "ssm.inner_size": 3072,
    }  # fmt: skip
    layers = [
        (attention(model) if n in (5, 15, 25, 35) else mamba(model)) | experts(model) for n in range(40)
    ]
    return stated(model) | more, stack(model, *layers)


def falcon_h1(model):
    more = {
        "ssm.conv_kernel": 4, "ssm.state_size": 128, "ssm.group_count": 1, "ssm.time_step_rank": 24,
        "ssm.inner_size": 1536,
    }  # fmt: skip
    layer = attention(model) | mamba(model) | dense(model)
    return stated(model, **more), stack(model, *[layer] * model.n_layers)


def lfm2(model):
    full = (2, 5, 8, 10, 12, 14)
    told = stated(model) | {"attention.head_count_kv": [8 * (n in full) for n in range(16)]}
    layers = [(attention(model) if n in full else short_conv(model)) | dense(model) for n in range(16)]
    return told, stack(model, *layers)


def glm4moe(model):
    routed = attention(model) | experts(model)
    draft = routed | {"nextn.eh_proj.weight": [2 * model.hidden_size, model.hidden_size]}
    told = stated(model) | {
        "block_count": 47, "nextn_predict_layers": 1, "expert_count": 128, "expert_used_count": 8,
        "expert_shared_count": 1,
    }  # fmt: skip
    return told, stack(model, attention(model) | dense(model), *[routed] * 45, draft)


def gemma4(model):
    full = [n % 6 == 5 for n in range(30)]
    told = stated(model) | {
        "attention.key_length": 512, "attention.value_length": 512, "attention.key_length_swa": 256,
        "attention.value_length_swa": 256, "attention.head_count_kv": [2 if flag else 8 for flag in full],
        "attention.sliding_window": 1024, "attention.sliding_window_pattern": [not flag for flag in full],
        "expert_count": 128, "expert_used_count": 8,
    }  # fmt: skip
    layers = [
        attention(model, kv=2 if flag else 8, dim=512 if flag else 256, own_v=not flag)
        | dense(model)
        | experts(model)
        for flag in full
    ]
    return told, stack(model, *layers)


def mimo2(model):
    full = [n == 0 or n % 6 == 5 for n in range(48)]
    told = stated(model) | {
        "attention.head_count_kv": [4 if flag else 8 for flag in full], "attention.sliding_window": 128,
        "attention.sliding_window_pattern": [not flag for flag in full], "expert_count": 256,
        "expert_used_count": 8,
    }  # fmt: skip
    layers = [
        attention(model, kv=4 if flag else 8) | (experts(model) if n else dense(model))
        for n, flag in enumerate(full)
    ]
    return told, stack(model, *layers)


MADE = {
    "meta-llama/Llama-3.1-8B-Instruct": llama,
    "Qwen/Qwen3-30B-A3B": qwen3moe,
    "Qwen/Qwen3.5-35B-A3B": qwen35moe,
    "google/gemma-3-27b-it": gemma3,
    "deepseek-ai/DeepSeek-V2-Lite": deepseek2,
    "moonshotai/Kimi-Linear-48B-A3B-Instruct": kimi_linear,
    "openai/gpt-oss-20b": gpt_oss,
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B": nemotron_h_moe,
    "ibm-granite/granite-4.0-h-tiny": granitehybrid,
    "tiiuae/Falcon-H1-0.5B-Instruct": falcon_h1,
    "LiquidAI/LFM2-1.2B": lfm2,
    "zai-org/GLM-4.5-Air": glm4moe,
    "google/gemma-4-26B-A4B-it": gemma4,
    "XiaomiMiMo/MiMo-V2-Flash": mimo2,
}


def made(hf_id, folder, suffix="Q8_0"):
    model = CATALOG.models[hf_id]
    told, tensors = MADE[hf_id](model)
    return write(folder / f"{model.name}-{suffix}.gguf", model.llama_arch, told, tensors)


@pytest.mark.parametrize("hf_id", MADE)
def test_a_catalogued_model_is_recognised_by_its_header(hf_id, tmp_path):
    path = made(hf_id, tmp_path)
    found = read_path(path, CATALOG)
    assert (found.catalogued, found.model.hf_id) == (True, hf_id)
    assert found.quant.name == "Q8_0"
    assert found.path == str(path)
    with_draft = found.weights.total + found.weights.draft
    data = sum(tensor.size for tensor in read_gguf_header(LocalFile(path)).tensors)
    assert with_draft == data


@pytest.mark.parametrize("hf_id", MADE)
def test_the_shape_is_the_catalogs_where_the_catalog_does_not_have_it(hf_id, tmp_path, monkeypatch):
    monkeypatch.setattr("knowledge.real_model._equal_in", lambda *_: None)
    found, known = read_path(made(hf_id, tmp_path), CATALOG).model, CATALOG.models[hf_id]
    said = {
        name: (getattr(found, name), value)
        for name, value in known.model_dump().items()
        if name.startswith(("layers_", "n_", "head_", "global_", "swa_", "kv_", "q", "linear_", "ssm_"))
        and (getattr(found, name) or 0) != (value or 0)
    }
    assert said == {}
    assert found.tie_embeddings == known.tie_embeddings
    assert found.total_params_b == pytest.approx(known.total_params_b, rel=0.02)
    assert found.active_params_b == pytest.approx(known.active_params_b, rel=0.04)
    assert found.basis == "read"


@pytest.mark.parametrize("hf_id", MADE)
def test_a_shape_outside_the_catalog_is_predicted_alike(hf_id, tmp_path, monkeypatch):
    asked = {"model": str(made(hf_id, tmp_path)), "gpu": "b200", "ctx": 8192}
    known = advisor.predict(**asked).prediction
    monkeypatch.setattr("knowledge.real_model._equal_in", lambda *_: None)
    unknown = advisor.predict(**asked).prediction
    assert unknown.memory == known.memory
    assert unknown.decode_tps.value == pytest.approx(known.decode_tps.value, rel=0.01)
    assert unknown.prefill_tps.value == pytest.approx(known.prefill_tps.value, rel=0.05)
    assert unknown.basis in {"extrapolated", "physics"}


def test_the_mixture_of_q4_k_m_has_the_published_size(tmp_path):
    model = CATALOG.models["meta-llama/Llama-3.1-8B-Instruct"]
    told, tensors = llama(model)
    more = [n < 4 or n >= 28 or (n - 4) % 3 == 2 for n in range(32)]
    kinds = {name: Q.Q4_K for name, dims in tensors.items() if len(dims) == 2} | {"output.weight": Q.Q6_K}
    for index, wide in enumerate(more):
        kinds |= {f"blk.{index}.{name}.weight": Q.Q6_K for name in ("attn_v", "ffn_down") if wide}
    path = write(tmp_path / "any.gguf", "llama", told | {"general.file_type": 15}, tensors, kinds=kinds)
    found = read_path(path, CATALOG)
    # https://huggingface.co/bartowski/Meta-Llama-3.1-8B-Instruct-GGUF: 4.92 GB with 7.8 MB of header
    assert found.weights.total == pytest.approx(4_912_900_000, rel=1e-4)
    assert found.quant.name == "Q4_K_M"
    prediction = advisor.predict(model=str(path), gpu="3090", ctx=8192)
    assert prediction.command.startswith(f"llama-server -m {path} ")
    assert prediction.config.model == model.hf_id
    assert prediction.prediction.basis in {"measured", "interpolated"}  # the catalogued model's runs
    assert prediction.prediction.memory.weights_mib == pytest.approx(
        (found.weights.total - found.weights.token_embd) / 2**20
    )
    found = advisor.recommend(model=str(path), gpu="3090", ctx=8192)
    assert found.recommendations
    assert {item.config.path for item in found.recommendations} == {str(path)}


def test_a_fine_tune_is_called_by_its_own_name(tmp_path):
    told, tensors = llama(LLAMA)
    for name, called in (("Shiny-Tune-8B", "Shiny-Tune-8B"), (LLAMA.name, None)):
        path = write(tmp_path / f"{name}-Q8_0.gguf", "llama", told, tensors)
        prediction = advisor.predict(model=str(path), gpu="3090", ctx=8192)
        said = [item.text for item in prediction.warnings if item.rule == "base-model"]
        assert said == (
            [f"{called} has the shape of {LLAMA.name}, whose runs stand in for its own"] * bool(called)
        )
        assert f"-m {path} " in prediction.command


def test_draft_layers_are_told_apart(tmp_path):
    model = CATALOG.models["zai-org/GLM-4.5-Air"]
    told, tensors = glm4moe(model)
    whole = read_path(write(tmp_path / "whole-Q8_0.gguf", "glm4moe", told, tensors), CATALOG)
    assert whole.weights.draft > 0
    assert whole.model.has_mtp
    plain, drafting = (
        advisor.predict(model=whole.path, gpu="b200", ctx=8192, spec=spec).prediction.memory.weights_mib
        for spec in ("none", "mtp")
    )
    assert drafting - plain == pytest.approx(whole.weights.draft / 2**20)
    stripped = {name: dims for name, dims in tensors.items() if not name.startswith("blk.46.")}
    without = read_path(write(tmp_path / "less-Q8_0.gguf", "glm4moe", told, stripped), CATALOG)
    assert without.weights.total == whole.weights.total
    assert (without.weights.draft, without.model.has_mtp) == (0, False)
    with pytest.raises(UnsupportedError, match="no draft"):
        advisor.predict(model=str(tmp_path / "less-Q8_0.gguf"), gpu="b200", spec="mtp")


def without(tensors, *names):
    return {name: dims for name, dims in tensors.items() if name not in names}


@pytest.mark.parametrize(
    ("arch", "change", "said"),
    [
        ("llama", {"attention.head_count": 0}, "head_count is missing"),
        ("llama", {"block_count": 0}, "block_count is missing"),
        ("llama", {"block_count": 33}, "has 32 of 33 layers"),
        ("llama", {"embedding_length": 0}, "embedding_length is missing"),
        ("llama", {"attention.head_count_kv": [8] * 31}, "has 31 values"),
        ("llama", {"attention.head_count_kv": [8] * 31 + [4]}, "different numbers of KV heads"),
        ("llama", {"attention.head_count_kv": [-8] * 32}, "is damaged"),
        ("bert", {}, "architecture 'bert' is not supported"),
        ("newarch", {"attention.sliding_window": 512}, "which layers have the window"),
    ],
)
def test_what_is_not_said_is_not_assumed(arch, change, said, tmp_path):
    told, tensors = llama(LLAMA)
    path = write(tmp_path / "x-Q8_0.gguf", arch, told | change, tensors)
    with pytest.raises((ModelFileError, UnsupportedError), match=said):
        read_path(path, CATALOG)


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        (("token_embd.weight",), "no token embeddings"),
        (tuple(f"blk.7.{name}" for name in attention(LLAMA) | dense(LLAMA)), "31 of 32 layers"),
    ],
)
def test_a_part_that_is_missing_is_said(left_out, said, tmp_path):
    told, tensors = llama(LLAMA)
    path = write(tmp_path / "x-Q8_0.gguf", "llama", told, without(tensors, *left_out))
    with pytest.raises(ModelFileError, match=said):
        read_path(path, CATALOG)


def test_a_format_that_nothing_says_has_to_be_given(tmp_path):
    told, tensors = llama(LLAMA)
    path = write(tmp_path / "weights.gguf", "llama", told, tensors)
    with pytest.raises(UsageError, match="do not say their format — add --quant"):
        advisor.predict(model=str(path), gpu="3090")
    assert advisor.predict(model=str(path), gpu="3090", quant="q8_0", ctx=4096).config.quant == "Q8_0"
    with pytest.raises(UsageError, match="read from the files"):
        advisor.predict(model=str(path), gpu="3090", quant="q8_0", weights_gib=8)


def test_a_projector_is_no_model(tmp_path):
    path = write(tmp_path / "mmproj-F16.gguf", "clip", {"block_count": 2}, {"v.blk.0.x.weight": [32, 32]})
    with pytest.raises(ModelFileError, match="is a vision projector of"):
        read_path(path, CATALOG)


def test_what_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qwen3.5-9b").mkdir()
    assert existing_path("qwen3.5-9b") is None  # a folder without a model does not hide a catalogued name
    (tmp_path / "qwen3.5-9b" / "config.json").touch()
    assert existing_path("qwen3.5-9b") is not None
    assert existing_path("x\0y") is None
    assert existing_path("y" * 100_000) is None
    with pytest.raises(UsageError, match="no regular file"):
        advisor.predict(model=os.devnull, gpu="3090")


def test_tensor_types_and_formats_are_those_of_the_gguf_package():
    sizes = {int(kind): (kind.name, *size) for kind, size in gguf.GGML_QUANT_SIZES.items()}
    assert {number: BLOCKS[number] for number in sizes if number in BLOCKS} == {
        number: size for number, size in sizes.items() if number in BLOCKS
    }
    types = {int(kind): kind.name.split("_", 1)[1] for kind in gguf.LlamaFileType if kind < 1024}
    assert {number: types[number] for number in FILE_TYPES} == FILE_TYPES
    assert all(match_quant(name, CATALOG) for name in FILE_TYPES.values())


KEYS = st.text("abcdefgh.", min_size=1, max_size=20).filter(lambda key: "general" not in key)
SCALARS = st.one_of(st.booleans(), st.integers(-(2**31), 2**31 - 1), st.text(min_size=1))
LISTS = st.lists(st.integers(-100, 100), min_size=1, max_size=50) | st.lists(
    st.text(max_size=9), min_size=1, max_size=9
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, SCALARS | LISTS, max_size=12), st.lists(st.integers(1, 4), max_size=4))
def test_whatever_the_gguf_package_writes_is_read_back(tmp_path, values, shape):
    path = tmp_path / "any.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in values.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_int32(key, value)
        else:
            writer.add_string(key, value)
    if shape:
        writer.add_tensor("t", np.zeros(shape, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_gguf_header(LocalFile(path))
    kept = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in values.items()
        if not (isinstance(value, list) and isinstance(value[0], str))
    }
    assert {key: value for key, value in header.metadata.items() if not key.startswith("general.")} == kept
    assert [tensor.size for tensor in header.tensors] == ([2 * math.prod(shape)] if shape else [])
