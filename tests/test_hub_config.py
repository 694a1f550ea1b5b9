"""config.json of well-known models, as published, maps to the shape that the catalog has."""

import pytest

from knowledge.catalog import default_catalog
from knowledge.config_json import Config
from knowledge.config_quant import elements_of, stated_format
from knowledge.model_config import config_shape
from knowledge.names.quant import match_quant
from knowledge.safetensors_header import StoredTensor
from knowledge.safetensors_model import llama_arch_of
from knowledge.tensor_parts import hf_part

CATALOG = default_catalog()


def deepseek(**more):
    return {
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "kv_lora_rank": 512,
        "first_k_dense_replace": 1, **more,
    }  # fmt: skip


def moe_layers(n, dense):
    return [int(index >= dense) for index in range(n)]


PUBLISHED = {
    "meta-llama/Llama-3.1-8B-Instruct": {
        "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
        "max_position_embeddings": 131072, "num_attention_heads": 32, "num_hidden_layers": 32,
        "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False,
    },
    "Qwen/Qwen2.5-0.5B-Instruct": {
        "architectures": ["Qwen2ForCausalLM"], "hidden_size": 896, "intermediate_size": 4864,
        "max_position_embeddings": 32768, "max_window_layers": 21, "num_attention_heads": 14,
        "num_hidden_layers": 24, "num_key_value_heads": 2, "sliding_window": 32768,
        "use_sliding_window": False, "vocab_size": 151936, "tie_word_embeddings": True,
    },
    "Qwen/Qwen3-8B": {
        "architectures": ["Qwen3ForCausalLM"], "head_dim": 128, "hidden_size": 4096,
        "intermediate_size": 12288, "max_position_embeddings": 40960, "num_attention_heads": 32,
        "num_hidden_layers": 36, "num_key_value_heads": 8, "sliding_window": None,
        "use_sliding_window": False, "vocab_size": 151936,
    },
    "Qwen/Qwen3-30B-A3B": {
        "architectures": ["Qwen3MoeForCausalLM"], "decoder_sparse_step": 1, "head_dim": 128,
        "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960,
        "mlp_only_layers": [], "moe_intermediate_size": 768, "num_attention_heads": 32, "num_experts": 128,
        "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4, "sliding_window": None,
        "vocab_size": 151936,
    },
    "Qwen/Qwen3-Next-80B-A3B-Instruct": {
        "architectures": ["Qwen3NextForCausalLM"], "full_attention_interval": 4, "head_dim": 256,
        "hidden_size": 2048, "intermediate_size": 5120, "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
        "linear_value_head_dim": 128, "max_position_embeddings": 262144, "mlp_only_layers": [],
        "moe_intermediate_size": 512, "num_attention_heads": 16, "num_experts": 512,
        "num_experts_per_tok": 10, "num_hidden_layers": 48, "num_key_value_heads": 2,
        "shared_expert_intermediate_size": 512, "vocab_size": 151936,
    },
    "Qwen/Qwen3.5-35B-A3B": {
        "architectures": ["Qwen3_5MoeForConditionalGeneration"], "vision_config": {"depth": 27},
        "text_config": {
            "head_dim": 256, "hidden_size": 2048, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
            "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_value_head_dim": 128,
            "layer_types": [*["linear_attention"] * 3, "full_attention"] * 10,
            "max_position_embeddings": 262144, "moe_intermediate_size": 512, "mtp_num_hidden_layers": 1,
            "num_attention_heads": 16, "num_experts": 256, "num_experts_per_tok": 8, "num_hidden_layers": 40,
            "num_key_value_heads": 2, "shared_expert_intermediate_size": 512, "vocab_size": 248320,
        },
    },
    "google/gemma-2-9b-it": {
        "architectures": ["Gemma2ForCausalLM"], "head_dim": 256, "hidden_size": 3584,
        "intermediate_size": 14336, "max_position_embeddings": 8192, "num_attention_heads": 16,
        "num_hidden_layers": 42, "num_key_value_heads": 8, "sliding_window": 4096, "vocab_size": 256000,
    },
    "google/gemma-3-27b-it": {
        "architectures": ["Gemma3ForConditionalGeneration"], "vision_config": {"hidden_size": 1152},
        "text_config": {
            "head_dim": 128, "hidden_size": 5376, "intermediate_size": 21504, "model_type": "gemma3_text",
            "num_attention_heads": 32, "num_hidden_layers": 62, "num_key_value_heads": 16,
            "sliding_window": 1024,
        },
    },
    "google/gemma-3-4b-it": {
        "architectures": ["Gemma3ForConditionalGeneration"], "vision_config": {"hidden_size": 1152},
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
            "num_hidden_layers": 34, "sliding_window": 1024,
        },
    },
    "deepseek-ai/DeepSeek-V2-Lite": deepseek(
        architectures=["DeepseekV2ForCausalLM"], hidden_size=2048, intermediate_size=10944,
        max_position_embeddings=163840, moe_intermediate_size=1408, moe_layer_freq=1, n_routed_experts=64,
        n_shared_experts=2, num_attention_heads=16, num_experts_per_tok=6, num_hidden_layers=27,
        num_key_value_heads=16, q_lora_rank=None, vocab_size=102400,
    ),
    "openai/gpt-oss-20b": {
        "architectures": ["GptOssForCausalLM"], "experts_per_token": 4, "head_dim": 64, "hidden_size": 2880,
        "intermediate_size": 2880, "layer_types": ["sliding_attention", "full_attention"] * 12,
        "max_position_embeddings": 131072, "num_attention_heads": 64, "num_experts_per_tok": 4,
        "num_hidden_layers": 24, "num_key_value_heads": 8, "num_local_experts": 32, "sliding_window": 128,
        "vocab_size": 201088,
    },
    "mistralai/Mixtral-8x7B-Instruct-v0.1": {
        "architectures": ["MixtralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
        "max_position_embeddings": 32768, "num_attention_heads": 32, "num_experts_per_tok": 2,
        "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8, "sliding_window": None,
        "vocab_size": 32000,
    },
    "zai-org/GLM-4.5-Air": {
        "architectures": ["Glm4MoeForCausalLM"], "first_k_dense_replace": 1, "head_dim": 128,
        "hidden_size": 4096, "intermediate_size": 10944, "max_position_embeddings": 131072,
        "moe_intermediate_size": 1408, "n_routed_experts": 128, "n_shared_experts": 1,
        "num_attention_heads": 96, "num_experts_per_tok": 8, "num_hidden_layers": 46,
        "num_key_value_heads": 8, "num_nextn_predict_layers": 1, "vocab_size": 151552,
    },
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B": {
        "architectures": ["NemotronHForCausalLM"], "conv_kernel": 4, "head_dim": 128, "hidden_size": 2688,
        "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
        "intermediate_size": 1856, "mamba_head_dim": 64, "mamba_num_heads": 64,
        "max_position_embeddings": 262144, "moe_intermediate_size": 1856,
        "moe_shared_expert_intermediate_size": 3712, "n_groups": 8, "n_routed_experts": 128,
        "n_shared_experts": 1, "num_attention_heads": 32, "num_experts_per_tok": 6, "num_hidden_layers": 52,
        "num_key_value_heads": 2, "ssm_state_size": 128, "vocab_size": 131072,
    },
    "ibm-granite/granite-4.0-h-tiny": {
        "architectures": ["GraniteMoeHybridForCausalLM"], "hidden_size": 1536, "intermediate_size": 512,
        "layer_types": [*["mamba"] * 5, "attention", *["mamba"] * 9, "attention", *["mamba"] * 9,
                        "attention", *["mamba"] * 9, "attention", *["mamba"] * 4],
        "mamba_d_conv": 4, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1,
        "mamba_n_heads": 48, "max_position_embeddings": 131072, "num_attention_heads": 12,
        "num_experts_per_tok": 6, "num_hidden_layers": 40, "num_key_value_heads": 4, "num_local_experts": 64,
        "shared_intermediate_size": 1024, "vocab_size": 100352,
    },
    "moonshotai/Kimi-Linear-48B-A3B-Instruct": {
        "architectures": ["KimiLinearForCausalLM"], "first_k_dense_replace": 1, "head_dim": 72,
        "hidden_size": 2304, "intermediate_size": 9216, "kv_lora_rank": 512,
        "linear_attn_config": {
            "full_attn_layers": [4, 8, 12, 16, 20, 24, 27], "head_dim": 128,
            "kda_layers": [n for n in range(1, 27) if n % 4], "num_heads": 32, "short_conv_kernel_size": 4,
        },
        "model_max_length": 1048576, "moe_intermediate_size": 1024, "num_attention_heads": 32,
        "num_experts": 256, "num_experts_per_token": 8, "num_hidden_layers": 27, "num_key_value_heads": 32,
        "num_shared_experts": 1, "q_lora_rank": None, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
        "v_head_dim": 128, "vocab_size": 163840,
    },
    "LiquidAI/LFM2-1.2B": {
        "architectures": ["Lfm2ForCausalLM"], "full_attn_idxs": [2, 5, 8, 10, 12, 14], "hidden_size": 2048,
        "intermediate_size": 8192, "max_position_embeddings": 128000, "num_attention_heads": 32,
        "num_hidden_layers": 16, "num_key_value_heads": 8, "vocab_size": 65536,
    },
    "CohereLabs/c4ai-command-r7b-12-2024": {
        "architectures": ["Cohere2ForCausalLM"], "head_dim": 128, "hidden_size": 4096,
        "intermediate_size": 14336, "max_position_embeddings": 132096, "num_attention_heads": 32,
        "num_hidden_layers": 32, "num_key_value_heads": 8, "sliding_window": 4096,
        "sliding_window_pattern": 4, "vocab_size": 256000,
    },
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": {
        "architectures": ["Llama4ForConditionalGeneration"], "vision_config": {},
        "text_config": {
            "attention_chunk_size": 8192, "head_dim": 128, "hidden_size": 5120,
            "interleave_moe_layer_step": 2, "intermediate_size": 8192, "intermediate_size_mlp": 16384,
            "max_position_embeddings": 1048576, "num_attention_heads": 40, "num_experts_per_tok": 1,
            "num_hidden_layers": 48, "num_key_value_heads": 8, "num_local_experts": 128,
            "vocab_size": 202048,
        },
    },
    "XiaomiMiMo/MiMo-V2-Flash": {
        "architectures": ["MiMoV2FlashForCausalLM"], "head_dim": 192, "hidden_size": 4096,
        "hybrid_layer_pattern": [int(i != 0 and i % 6 != 5) for i in range(48)],
        "intermediate_size": 16384, "max_position_embeddings": 262144, "moe_intermediate_size": 2048,
        "moe_layer_freq": moe_layers(48, 1), "n_routed_experts": 256, "num_attention_heads": 64,
        "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4,
        "sliding_window": 128, "swa_num_key_value_heads": 8, "v_head_dim": 128, "vocab_size": 152576,
    },
    "google/gemma-4-26B-A4B-it": {
        "architectures": ["Gemma4ForConditionalGeneration"], "vision_config": {},
        "text_config": {
            "enable_moe_block": True, "global_head_dim": 512, "head_dim": 256, "hidden_size": 2816,
            "intermediate_size": 2112, "layer_types": [*["sliding_attention"] * 5, "full_attention"] * 5,
            "max_position_embeddings": 262144, "moe_intermediate_size": 704, "num_attention_heads": 16,
            "num_experts": 128, "num_global_key_value_heads": 2, "num_hidden_layers": 30,
            "num_key_value_heads": 8, "num_kv_shared_layers": 0, "sliding_window": 1024,
            "top_k_experts": 8, "vocab_size": 262144,
        },
    },
}  # fmt: skip
"""The fields that decide a shape; what decides nothing (activations, token ids) is left out."""

LEFT_OPEN = {
    "hf_id", "aliases", "family", "total_params_b", "active_params_b", "tie_embeddings", "released",
    "licence", "basis", "source_url", "source_url_2", "notes", "has_mtp",
}  # fmt: skip
"""What no config.json says, or what the tensors say."""
PADDED = {"vocab_size": 512}
DIFFERS = {
    "moonshotai/Kimi-Linear-48B-A3B-Instruct": {"max_context"},  # only `model_max_length`, a tokenizer's word
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": {"multimodal"},  # catalogued as the text model
}


def shape_of(config):
    read = Config(config)
    return config_shape(read, llama_arch_of(read, CATALOG))


@pytest.mark.parametrize("hf_id", PUBLISHED)
def test_a_published_config_maps_to_the_catalogued_shape(hf_id):
    known = CATALOG.models[hf_id].model_dump()
    shape = shape_of(PUBLISHED[hf_id])
    assert shape["hidden_size"] == known["hidden_size"]
    different = {
        name: (shape.get(name), value)
        for name, value in known.items()
        if name not in LEFT_OPEN | DIFFERS.get(hf_id, set())
        and (shape.get(name) or 0) != (value or 0)
        and not abs((shape.get(name) or 0) - (value or 0) if name in PADDED else 1e9) <= PADDED.get(name, 0)
    }
    assert different == {}


AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128}


def compressed(bits, kind, inputs=None, form="pack-quantized"):
    group = {"weights": {"num_bits": bits, "type": kind}, "input_activations": inputs}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group}}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"torch_dtype": "bfloat16"}, "BF16"),
        ({"dtype": "float16"}, "F16"),
        ({"quantization_config": AWQ}, "AWQ-INT4"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 8}}, "GPTQ-INT8"),
        ({"quantization_config": {"quant_method": "auto-round", "bits": 4}}, "AutoRound-INT4"),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}, "FP8"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "MXFP4"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "NVFP4"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "bnb-nf4"),
        ({"quantization_config": compressed(8, "float", {"dynamic": True})}, "FP8-dynamic"),
        ({"quantization_config": compressed(8, "float", {"dynamic": False})}, "FP8"),
        ({"quantization_config": compressed(4, "float", form="nvfp4-pack-quantized")}, "NVFP4"),
        ({"quantization_config": compressed(4, "int")}, "W4A16"),
        ({"quantization_config": compressed(8, "int", {"dynamic": True})}, "W8A8-INT8"),
        ({"compression_config": compressed(8, "int")}, "W8A16"),
        ({"quantization": {"bits": 4, "group_size": 64}}, "MLX-4bit"),
        ({"text_config": {"dtype": "bfloat16"}}, "BF16"),
    ],
)
def test_the_format_is_the_one_that_the_quantizer_states(values, expected):
    found = stated_format(Config({"architectures": ["x"], **values}), ())
    assert found == expected
    assert match_quant(found, CATALOG).name == expected


@pytest.mark.parametrize(
    "stated",
    [
        {"quant_method": "new"},
        {"quant_method": 5},
        {"quant_method": "modelopt", "quant_algo": "W4A8"},
        {"quant_method": "compressed-tensors"},
        {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 3}}}},
    ],
)
def test_a_quantizer_that_is_not_known_states_nothing(stated):
    assert stated_format(Config({"architectures": ["x"], "quantization_config": stated}), ()) is None


def test_without_a_stated_type_the_stored_one_counts():
    tensors = [StoredTensor("a", "BF16", (4,), 8), StoredTensor("b", "F32", (1,), 4)]
    assert stated_format(Config({"architectures": ["x"]}), tensors) == "BF16"


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "size", "expected"),
    [
        ("q.qweight", "I32", (512, 4096), 512 * 4096 * 4, 4096 * 4096),
        ("q.weight_packed", "I32", (4096, 512), 512 * 4096 * 4, 4096 * 4096),
        ("q.weight", "U8", (4096, 2048), 4096 * 2048, 4096 * 4096),
        ("experts.gate_up_proj_blocks", "U8", (32, 90, 16), 32 * 90 * 16, 2 * 32 * 90 * 16),
        ("q.weight", "F8_E4M3", (4096, 4096), 4096 * 4096, 4096 * 4096),
        ("q.qzeros", "I32", (32, 512), 32 * 512 * 4, 0),
        ("q.scales", "F16", (32, 4096), 32 * 4096 * 2, 0),
        ("q.weight_scale_inv", "F32", (32, 32), 4096, 0),
        ("experts.down_proj_scales", "U8", (32, 90), 32 * 90, 0),
        ("q.g_idx", "I32", (4096,), 16384, 0),
    ],
)
def test_packed_words_are_counted_as_the_weights_in_them(name, dtype, shape, size, expected):
    assert elements_of(StoredTensor(name, dtype, shape, size), 4) == expected


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.embed_tokens.weight", "token_embd"),
        ("model.language_model.embed_tokens.weight", "token_embd"),
        ("backbone.embeddings.weight", "token_embd"),
        ("lm_head.weight", "output"),
        ("language_model.lm_head.weight", "output"),
        ("model.layers.3.self_attn.q_proj.weight", "dense"),
        ("model.layers.3.mlp.gate.weight", "dense"),
        ("model.layers.3.mlp.shared_expert.up_proj.weight", "dense"),
        ("model.layers.3.mlp.shared_experts.up_proj.weight", "dense"),
        ("model.layers.3.mlp.experts.7.up_proj.weight", "experts"),
        ("model.layers.3.block_sparse_moe.experts.7.w1.weight", "experts"),
        ("model.layers.3.block_sparse_moe.input_linear.weight", "experts"),
        ("backbone.layers.3.mixer.experts.7.up_proj.weight", "experts"),
        ("model.layers.4.self_attn.q_proj.weight", "draft"),
        ("model.layers.4.mlp.experts.7.up_proj.weight", "draft"),
        ("mtp.layers.0.mlp.experts.7.up_proj.weight", "draft"),
        ("model.visual.blocks.20.attn.qkv.weight", "vision"),
        ("vision_tower.vision_model.encoder.layers.20.mlp.fc1.weight", "vision"),
        ("multi_modal_projector.linear_1.weight", "vision"),
        ("model.language_model.embed_tokens_per_layer.weight", "per_layer_embedding"),
        ("model.language_model.layers.2.per_layer_input_gate.weight", "dense"),
        ("model.norm.weight", "dense"),
    ],
)
def test_a_tensor_belongs_to_the_part_that_its_name_says(name, part):
    assert hf_part(name, 4) == part
