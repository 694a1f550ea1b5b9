"""Engines that are predicted for when they are asked for: SGLang, Ollama, LM Studio, MLX, TabbyAPI."""

import pytest

from advisor import limits, predict, recommend
from advisor.engines import ENGINES, PROPOSED
from knowledge.errors import UnsupportedError

GOLDEN = [
    (
        {"engine": "sglang", "quant": "FP8", "gpu": "4090", "concurrency": 4, "max_num_seqs": 4},
        (
            "python -m sglang.launch_server --model-path Qwen/Qwen3.5-9B --quantization fp8 "
            "--context-length 32000 --max-running-requests 4"
        ),
        {},
    ),
    (
        {"engine": "ollama", "quant": "Q4_K_M", "gpu": "3060", "parallel": 2, "kv_type": "q8_0"},
        "ollama run qwen3.5-9b:q4_k_m",
        {
            "OLLAMA_CONTEXT_LENGTH": "32000",
            "OLLAMA_KV_CACHE_TYPE": "q8_0",
            "OLLAMA_FLASH_ATTENTION": "1",
            "OLLAMA_NUM_PARALLEL": "2",
        },
    ),
    (
        {"engine": "lm studio", "quant": "Q4_K_M", "gpu": "3060", "parallel": 2},
        "lms load qwen3.5-9b@q4_k_m --context-length 32000 --gpu max --parallel 2",
        {},
    ),
    (
        {"engine": "lmstudio", "quant": "Q8_0", "gpu": "3060", "ngl": 20},
        "lms load qwen3.5-9b@q8_0 --context-length 32000 --gpu 0.625",
        {},
    ),
    (
        {"engine": "mlx-lm", "quant": "MLX-4bit", "gpu": "m4 max", "kv_type": "q8_0"},
        "mlx_lm.server --model ./Qwen3.5-9B-MLX-4bit --kv-bits 8",
        {},
    ),
    (
        {
            "engine": "mlx",
            "quant": "MLX-8bit",
            "gpu": "m4 max",
            "concurrency": 3,
            "max_num_batched_tokens": 512,
        },
        ("mlx_lm.server --model ./Qwen3.5-9B-MLX-8bit --decode-concurrency 3 --prefill-step-size 512"),
        {},
    ),
    (
        {"engine": "mlx", "quant": "BF16", "gpu": "m4 max"},
        "mlx_lm.server --model Qwen/Qwen3.5-9B",
        {},
    ),
    (
        {"engine": "tabbyapi", "quant": "EXL3-4.0bpw", "gpu": "3060", "kv_type_k": "q8", "kv_type_v": "q6"},
        (
            "python main.py --model-name Qwen3.5-9B-EXL3-4.0bpw --max-seq-len 32000 --cache-size 32000 "
            "--cache-mode 8,6"
        ),
        {},
    ),
    (
        {
            "engine": "exllamav3",
            "quant": "EXL3-6.0bpw",
            "gpu": "2x3090",
            "concurrency": 6,
            "tensor_parallel": 2,
            "max_num_batched_tokens": 4096,
            "spec": "mtp",
        },
        (
            "python main.py --model-name Qwen3.5-9B-EXL3-6.0bpw --max-seq-len 32000 --cache-size 192000 "
            "--max-batch-size 6 --chunk-size 4096 --tensor-parallel true --draft-mode mtp"
        ),
        {},
    ),
]


@pytest.fixture(autouse=True)
def home(shipped_home, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(shipped_home))


def test_ollamas_tag_is_made_from_a_modelfile():
    found = predict(model="qwen3.5-9b", ctx="32k", engine="ollama", quant="Q4_K_M", gpu="3060")
    (form,) = found.other_forms
    assert (form.name, form.text) == (
        "Modelfile", "FROM hf.co/unsloth/Qwen3.5-9B-GGUF:Q4_K_M\nPARAMETER num_ctx 32000",
    )  # fmt: skip


def test_tabbyapis_flags_can_stand_in_a_file():
    asked = {"kv_type": "q4", "spec": "mtp"}
    found = predict(
        model="qwen3.5-9b", ctx="32k", engine="exllamav3", quant="EXL3-4.0bpw", gpu="3060", **asked
    )
    (form,) = found.other_forms
    assert form.text == (
        "model:\n  model_name: Qwen3.5-9B-EXL3-4.0bpw\n  max_seq_len: 32000\n  cache_size: 32000\n"
        "  cache_mode: 4,4\ndraft_model:\n  draft_mode: mtp"
    )


@pytest.mark.parametrize(("asked", "command", "environment"), GOLDEN, ids=lambda value: str(value)[:30])
def test_each_has_its_own_command_and_figures(asked, command, environment):
    found = predict(model="qwen3.5-9b", ctx="32k", **asked)
    assert (found.command, found.env) == (command, environment)
    figures = found.prediction
    assert figures.fits
    assert figures.decode_tps.low < figures.decode_tps.value < figures.decode_tps.high
    assert figures.memory.total_mib < figures.memory.available_mib
    assert found.config.engine in ENGINES


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"engine": "mlx", "quant": "MLX-4bit", "gpu": "4090"}, "Apple silicon"),
        ({"engine": "mlx", "quant": "Q4_K_M", "gpu": "m4 max"}, "cannot run Q4_K_M"),
        ({"engine": "mlx", "quant": "MLX-4bit", "gpu": "m4 max", "ngl": 20}, "mlx has no --ngl"),
        ({"engine": "mlx", "quant": "MLX-4bit", "gpu": "m4 max", "kv_type": "fp8"}, "KV cache"),
        (
            {"engine": "lmstudio", "quant": "Q4_K_M", "gpu": "4090", "kv_type": "q8_0"},
            "no flag for cache types",
        ),
        ({"engine": "lmstudio", "quant": "Q4_K_M", "gpu": "4090", "ubatch": 256}, "lmstudio has no --ubatch"),
        ({"engine": "lmstudio", "quant": "MLX-4bit", "gpu": "m4 max"}, "GGUF files only"),
        (
            {"engine": "mlx", "quant": "MLX-4bit", "gpu": "m4 max", "kv_type": "q8_0", "concurrency": 3},
            "served one at a time",
        ),
        ({"engine": "ollama", "quant": "FP8", "gpu": "4090"}, "cannot run FP8"),
        ({"engine": "ollama", "quant": "Q4_K_M", "gpu": "4090", "max_num_seqs": 4}, "ollama has no"),
        ({"engine": "sglang", "quant": "FP8", "gpu": "4090", "ubatch": 256}, "sglang has no --ubatch"),
        ({"engine": "sglang", "quant": "FP8", "gpu": "4090+3090"}, "SGLang splits evenly"),
        ({"engine": "sglang", "quant": "FP8", "gpu": "4090", "spec": "mtp"}, "speculation by SGLang"),
        ({"engine": "exllamav3", "quant": "Q4_K_M", "gpu": "3090"}, "cannot run Q4_K_M"),
        ({"engine": "exllamav3", "quant": "EXL3-4.0bpw", "gpu": "7900 xtx"}, "on NVIDIA cards, not on"),
        ({"engine": "exllamav3", "quant": "EXL3-4.0bpw", "gpu": "4090+3090"}, "cards that differ"),
        ({"engine": "exllamav3", "quant": "EXL3-4.0bpw", "gpu": "t4"}, "before Ampere"),
        ({"engine": "exllamav3", "quant": "EXL3-4.0bpw", "gpu": "3090", "ubatch": 256}, "has no --ubatch"),
        ({"engine": "exllamav3", "quant": "EXL3-4.0bpw", "gpu": "3090", "kv_type": "fp8"}, "no KV cache"),
        ({"engine": "exllamav3", "quant": "EXL3-4.0bpw", "gpu": "3090", "kv_type_k": "q8"}, "no KV cache"),
        (
            {"engine": "exllamav3", "quant": "EXL3-4.0bpw", "gpu": "4x3090", "tensor_parallel": 2},
            "every card it uses",
        ),
        ({"engine": "tabby", "quant": "FP8", "gpu": "4090"}, "use one of: llama.cpp, vllm, sglang"),
    ],
)
def test_what_an_engine_cannot_is_one_line(asked, says):
    with pytest.raises(UnsupportedError) as refused:
        predict(model="qwen3.5-9b", ctx="32k", **asked)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("engine", "gpu"),
    [("sglang", "4090"), ("ollama", "4090"), ("lmstudio", "4090"), ("mlx", "m4 max"), ("exllamav3", "4090")],
)
def test_they_are_ranked_when_asked_for(engine, gpu):
    found = recommend(model="qwen3.5-9b", gpu=gpu, ctx="32k", engine=engine).recommendations
    assert found
    assert {item.config.engine for item in found} == {engine}


def test_nobody_is_offered_what_was_not_asked_for():
    found = recommend(model="qwen3.5-9b", gpu="4090", ctx="32k", top=30).recommendations
    assert {item.config.engine for item in found} <= set(PROPOSED)


@pytest.mark.parametrize("engine", ["ollama", "lmstudio", "llama.cpp"])
def test_users_have_slots_of_their_own(engine):
    """More users need more cache, with every engine that has slots."""
    found = limits(model="qwen3.5-9b", gpu="4090", quant="Q4_K_M", ctx="32k", engine=engine).users[0]
    assert found.config.parallel == found.users == found.config.concurrency
    assert str(found.users) in f"{found.command} {found.env}"
    assert found.users < 40


@pytest.mark.parametrize(
    ("engine", "quant", "model", "gpu", "ruled_out"),
    [
        ("mlx", "MLX-4bit", "qwen3.5-9b", "m4 max", 0),
        ("mlx", "MLX-4bit", "gemma-3-27b-it", "m4 max", 2),
        ("lmstudio", "Q4_K_M", "qwen3.5-9b", "3060", 0),
    ],
)
def test_limits_of_engines_without_many_flags(engine, quant, model, gpu, ruled_out):
    found = limits(model=model, gpu=gpu, quant=quant, ctx="16k", engine=engine)
    assert [item.bounded_by for item in found.contexts].count("rule") == ruled_out
    assert all(item.command or item.reason for item in (*found.contexts, *found.users))
    assert found.users[0].users > 1
    # a quantized cache of MLX is served to one user at a time
    assert all(item.users in {None, 1} for item in found.users[1:])


@pytest.mark.parametrize(
    ("engine", "quant"), [("exllamav3", "EXL3-4.0bpw"), ("sglang", "FP8"), ("ollama", "Q4_K_M")]
)
def test_smaller_cards_are_found_for_engines_that_have_to_be_asked_for(engine, quant):
    found = limits(model="qwen3.5-9b", gpu="4090", quant=quant, ctx="32k", engine=engine).cards
    assert found
    assert min(card.memory_gib for card in found) < 24
