"""Launch commands read back: the shell around them, each engine's grammar, the inverse of rendering."""

import os
import shlex
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from advisor.config import LaunchConfig, Setup
from advisor.engines import apply, render
from advisor.engines.other_forms import other_forms
from advisor.engines.parsing import parse_command
from advisor.engines.parsing.shell_words import simple_commands
from advisor.engines.reasons import reasons
from advisor.engines.versions import newest, parse
from advisor.launched import launched
from advisor.setups import usual_backend
from knowledge.catalog import default_catalog
from knowledge.errors import UnsupportedError, UsageError
from knowledge.weights import NATIVE_MXFP4, weight_bytes

CATALOG = default_catalog()
QWEN = "Qwen3.5-35B-A3B-UD-Q4_K_XL.gguf"
LMS = "lms load qwen3.5-35b-a3b@q4_k_m"
MLX = "mlx_lm.server --model mlx-community/Qwen3.5-35B-A3B-4bit"
TABBY = "python main.py --model-name Qwen3.5-35B-A3B-exl3-4.0bpw"


def words(text):
    """The words of the only command of a text."""
    (command,) = simple_commands(text)
    return [word.text for word in command.words]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('llama-server -m \'a b.gguf\' -a "c \\" d"', ["llama-server", "-m", "a b.gguf", "-a", 'c " d']),
        ("llama-server \\\n  -m x \\\n  -c 1 # all of it\n", ["llama-server", "-m", "x", "-c", "1"]),
        ("llama-server.exe ^\r\n -m C:\\m\\x.gguf", ["llama-server.exe", "-m", "C:\\m\\x.gguf"]),
        ("llama-server `\n -m x", ["llama-server", "-m", "x"]),
        ("$ vllm serve x > log.txt 2>&1 &", ["vllm", "serve", "x"]),
        ("vllm serve x 2>/dev/null", ["vllm", "serve", "x"]),
        ("a --json '{\"k\": 1}'", ["a", "--json", '{"k": 1}']),
        ("a -t $(nproc) -c ${C:-99}", ["a", "-t", "$(nproc)", "-c", "99"]),
        ("M=/x/y.gguf\nllama-server -m $M", ["llama-server", "-m", "/x/y.gguf"]),
        ("export M=q\nllama-server -m \"${M}.gguf\" -a '$M'", ["llama-server", "-m", "q.gguf", "-a", "$M"]),
    ],
)
def test_a_shell_would_pass_these_words(text, expected):
    assert words(text) == expected


@given(st.lists(st.text(min_size=1).filter(lambda word: "\r" not in word), min_size=1, max_size=6))
def test_what_a_shell_quotes_is_read_back(arguments):
    text = shlex.join(["llama-server", *arguments])
    assume(all(not word.startswith(("^", "`")) for word in arguments))
    (command,) = simple_commands(text)
    assert [word.text for word in command.words] == ["llama-server", *arguments]


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with suppress(UsageError):  # anything else is a defect
        parse_command(text)


@pytest.mark.parametrize("text", ["llama-server -m 'x", 'vllm serve "x', "", "   ", "# nothing"])
def test_a_broken_quote_and_an_empty_text_are_refused(text):
    with pytest.raises(UsageError):
        parse_command(text)


@pytest.mark.parametrize(
    ("text", "engine", "model"),
    [
        ("./build/bin/llama-server -m x.gguf", "llama.cpp", "x.gguf"),
        ("sudo -E nohup numactl --interleave=all /opt/llama-server -m x.gguf &", "llama.cpp", "x.gguf"),
        ("env GGML_CUDA=1 llama-cli -m x.gguf -p 'hi there'", "llama.cpp", "x.gguf"),
        ("cd /opt && source venv/bin/activate && vllm serve a/b", "vllm", "a/b"),
        ("python -u -m vllm.entrypoints.openai.api_server --model=a/b", "vllm", "a/b"),
        ("uv run vllm serve a/b", "vllm", "a/b"),
        ("bash -c 'vllm serve a/b --port 1'", "vllm", "a/b"),
        ("python3 -m sglang.launch_server --model-path a/b", "sglang", "a/b"),
        ("sglang serve --model-path a/b", "sglang", "a/b"),
        ("ExecStart=/usr/bin/llama-server -m x.gguf", "llama.cpp", "x.gguf"),
        ("me@box:~/llm$ ./llama-server -m x.gguf", "llama.cpp", "x.gguf"),
        ("ollama run qwen3.5:27b 'why is the sky blue?'", "ollama", "qwen3.5:27b"),
        ("docker exec -it ollama ollama run qwen3.5:27b", "ollama", "qwen3.5:27b"),
        ("docker run --gpus all -v /m:/m ghcr.io/ggml-org/llama.cpp:server-cuda -m /m/x.gguf",
         "llama.cpp", "/m/x.gguf"),
        ("docker run ghcr.io/ggml-org/llama.cpp:full-cuda --server -m /m/x.gguf", "llama.cpp", "/m/x.gguf"),
        ("podman run --rm -p 8000:8000 docker.io/vllm/vllm-openai:latest --model a/b", "vllm", "a/b"),
        ("docker run --shm-size 32g lmsysorg/sglang python3 -m sglang.launch_server --model-path a/b",
         "sglang", "a/b"),
        ("cd tabbyAPI && python3 main.py --model-name x", "exllamav3", "x"),
        ("/opt/tabbyAPI/start.sh --model-name=x", "exllamav3", "x"),
        ("uv run main.py --model-name x", "exllamav3", "x"),
        ("python C:\\tabbyAPI\\main.py --model-dir m --model-name x", "exllamav3", "x"),
        ("docker run ghcr.io/theroyallab/tabbyapi:latest main.py --model-name x", "exllamav3", "x"),
        ("lms server start && lms load qwen3.5-9b@q4_k_m -y", "lmstudio", "qwen3.5-9b@q4_k_m"),
        ("~/.lmstudio/bin/lms load x -c 4096", "lmstudio", "x"),
        ("lms.exe load x --ttl=60", "lmstudio", "x"),
        ("mlx_lm.server --model a/b", "mlx", "a/b"),
        ("mlx_lm server --model a/b", "mlx", "a/b"),
        ("python -m mlx_lm.server --model a/b", "mlx", "a/b"),
        ("python3 -m mlx_lm server --model=a/b", "mlx", "a/b"),
        ("uvx --from mlx-lm mlx_lm.generate --model a/b -p hi -m 5", "mlx", "a/b"),
        ("python -m mlx_lm.generate --model a/b", "mlx", "a/b"),
        ("python -m mlx_lm generate --model a/b --max-kv-size 4096", "mlx", "a/b"),
        ("docker run --entrypoint vllm -it rocm/vllm:x serve a/b", "vllm", "a/b"),
    ],
)  # fmt: skip
def test_the_program_is_found_behind_its_wrappers(text, engine, model):
    reading = parse_command(text)
    assert (reading.engine, reading.model) == (engine, model)
    assert reading.unknown == ()


@pytest.mark.parametrize("text", [
    "./main -m x", "echo hello", "docker run ubuntu ls", "llama-bench -m x", "python main.py --epochs 3",
    "python train.py --model-name x", "lms server start", "lms chat x", "mlx_lm.convert --hf-path x",
    "python -m mlx_lm chat --model x", "mlx_lm --version",
])  # fmt: skip
def test_what_starts_no_known_engine_is_refused(text):
    with pytest.raises(UsageError, match="llama-server"):
        parse_command(text)


def test_a_container_gives_version_variables_and_devices():
    reading = parse_command(
        "docker run --gpus '\"device=0,1\"' -e LLAMA_ARG_CTX_SIZE=8192 --env=LLAMA_ARG_N_PARALLEL=2 "
        "ghcr.io/ggml-org/llama.cpp:server-cuda-b9000 -hf a/b:Q8_0"
    )
    assert (reading.version, reading.devices, reading.context) == ("b9000", 2, 8192)
    assert reading.settings["parallel"] == 2
    assert parse_command("docker run vllm/vllm-openai:v0.11.0 --model a/b").version == "0.11.0"
    assert parse_command("docker run vllm/vllm-openai:v0.11.0 --model a/b", "0.12.0").version == "0.12.0"


def settings_of(text, version=None):
    return parse_command(text, version).settings


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ("-ngl 20 -np 4 -kvu", {"n_gpu_layers": 20, "parallel": 4, "kv_unified": True, "flash_attn": True}),
        ("--gpu-layers all --no-kv-unified", {"kv_unified": False, "flash_attn": True}),
        ("--cache_type_k q8_0 -ctv Q4_0 -fa off", {
            "kv_type_k": "q8_0", "kv_type_v": "q4_0", "flash_attn": False,
        }),
        ("-c 1 -c 2 -ub 64 -b 1024", {"ubatch": 64, "batch": 1024, "flash_attn": True}),
        ("-ub 4096", {"ubatch": 2048, "flash_attn": True}),
        ("-b 256", {"batch": 256, "ubatch": 256, "flash_attn": True}),
        ("-ncmoe 12 -nkvo --swa-full", {
            "n_cpu_moe": 12, "kv_offload": False, "swa_full": True, "flash_attn": True,
        }),
        ("-ts 3,1", {"tensor_split": (3.0, 1.0), "flash_attn": True}),
        ("-ts 1,1 -sm layer", {"tensor_split": (1.0, 1.0), "flash_attn": True}),
        ("--spec-type draft-mtp", {"spec_decode": "mtp", "flash_attn": True}),
        ("--spec-type draft-mtp --spec-draft-n-max 2", {"spec_decode": "mtp:2", "flash_attn": True}),
        ("-dev none", {"n_gpu_layers": 0, "flash_attn": True}),
    ],
)  # fmt: skip
def test_llamacpp_flags_are_settings(arguments, settings):
    assert settings_of(f"llama-server -m {QWEN} {arguments}") == settings


def test_old_builds_of_llamacpp_had_other_defaults():
    reading = parse_command("llama-server -m x.gguf", "b6000")
    assert reading.settings == {"n_gpu_layers": 0, "flash_attn": False}
    assert reading.default_context == 4096
    assert not reading.fits_itself
    assert settings_of("llama-server -m x.gguf -ngl 99 -fa", "b6000")["flash_attn"] is True
    newer = parse_command("llama-server -m x.gguf")
    assert (newer.default_context, newer.fits_itself) == (None, True)
    for stated in ("-ngl 99", "--fit off", "-ncmoe 4"):
        assert not parse_command(f"llama-server -m x.gguf {stated}").fits_itself


def test_llamacpp_reads_its_variables_and_flags_count_more():
    reading = parse_command("LLAMA_ARG_CTX_SIZE=8192 LLAMA_ARG_FLASH_ATTN=off llama-server -m x.gguf -c 4096")
    assert reading.context == 4096
    assert reading.settings["flash_attn"] is False
    (unknown,) = parse_command("LLAMA_ARG_CTX_SIZES=1 llama-server -m x.gguf").unknown
    assert unknown.nearest[0] == "LLAMA_ARG_CTX_SIZE"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"llama-server -m {QWEN} -c", "-c has no value"),
        (f"llama-server -m {QWEN} -c -ngl 99", "-c has no value"),
        (f"llama-server -m {QWEN} -c 32k", "not a whole number"),
        (f"llama-server -m {QWEN} -c $CTX", "write the variable's value"),
        (f"llama-server -m {QWEN} -ctk q3_0", "no cache type"),
        (f"llama-server -m {QWEN} -ts a,b", "no list of parts"),
        (f"llama-server -m {QWEN} -ot '(=CPU'", "no regular expression"),
        ("vllm serve a/b --max-model-len", "has no value"),
        ("vllm serve a/b --max-model-len --port 1", "has no value"),
        ("vllm serve a/b --max-model-len lots", "not a whole number"),
        ("vllm serve a/b --max-num-seqs 0", "from 1"),
        ("vllm serve a/b --gpu-memory-utilization 90", "from 0 to 1"),
        ("vllm serve a/b --kv-cache-dtype q9", "unknown"),
        ("vllm serve a/b --speculative-config {method:mtp}", "no JSON"),
        ("vllm serve a/b --max 3", "beginning of several flags"),
        ("python -m sglang.launch_server --model-path a/b --tp two", "not a whole number"),
        (f"{TABBY} --cache-size 1000", "write --cache-size 1024"),
        (f"{TABBY} --cache-mode 9,4", "--cache-mode '9,4' is unknown"),
        (f"{TABBY} --cache-mode fp8", "unknown"),
        (f"{TABBY} --gpu-split 20,24", "write one number per card"),
        (f"{TABBY} --tensor-parallel", "has no value"),
        (f"{TABBY} --tensor-parallel maybe", "neither on nor off"),
        (f"{TABBY} --draft-mode eagle", "use model, mtp, ngram"),
        (f"{TABBY} --max-batch-size 0", "from 1"),
        (f"{TABBY} --config my.yml", "everything from my.yml"),
        (f"{LMS} -c", "-c has no value"),
        (f"{LMS} -c 0", "from 1"),
        (f"{LMS} --gpu auto", "write off, max or a number"),
        (f"{LMS} --gpu 1.5", "no share of the layers"),
        (f"{LMS} --parallel many", "not a whole number"),
        (f"{MLX} --kv-bits 3", "not counted here"),
        (f"{MLX} --kv-bits 8 --kv-group-size 32", "not counted here"),
        (f"{MLX} --decode-concurrency 0", "from 1"),
        (f"{MLX} --prompt 3", "beginning of several flags"),
        (f"{MLX} --prefill-step-size", "has no value"),
        ("OLLAMA_KV_CACHE_TYPE=q5 ollama run x", "unknown"),
        ("OLLAMA_NUM_PARALLEL=two ollama run x", "not a whole number"),
    ],
)
def test_values_of_the_wrong_type_are_refused(text, says):
    with pytest.raises(UsageError, match=says):
        parse_command(text)


@pytest.mark.parametrize(
    ("text", "flag", "nearest"),
    [
        (f"llama-server -m {QWEN} --ctx-sze 5", "--ctx-sze", "--ctx-size"),
        (f"llama-server -m {QWEN} --ctx-size=5", "--ctx-size=5", "--ctx-size"),
        (f"llama-server -m {QWEN} stray", "stray", None),
        (f"llama-server -m {QWEN} —ctx-size 5", "—ctx-size", "--ctx-size"),
        (f"llama-server -m {QWEN} –c 5", "–c", "-c"),
        ("vllm serve a/b --max-model-length 5", "--max-model-length", "--max-model-len"),
        ("vllm serve a/b --gpu-layers 3", "--gpu-layers", None),
        ("sglang serve --model-path a/b --context-len-x 5", "--context-len-x", "--context-length"),
        (f"{TABBY} --max-seq-length 5", "--max-seq-length", "--max-seq-len"),
        (f"{TABBY} --max_seq_len 5", "--max_seq_len", "--max-seq-len"),
        (f"{TABBY} stray", "stray", None),
        (f"{LMS} --context 4096", "--context", "--context-length"),
        (f"{LMS} --context_length 4096", "--context_length", "--context-length"),
        (f"{LMS} --gpus max", "--gpus", "--gpu"),
        (f"{LMS} stray", "stray", None),
        (f"{MLX} --max-kv-size 4096", "--max-kv-size", None),
        (f"{MLX} --kv-bit-width 8", "--kv-bit-width", "--kv-bits"),
        (f"{MLX} --decode_concurrency 2", "--decode_concurrency", "--decode-concurrency"),
        (f"{MLX} stray", "stray", None),
        ("OLLAMA_KV_CACHE=q8_0 ollama run x", "OLLAMA_KV_CACHE", "OLLAMA_KV_CACHE_TYPE"),
    ],
)  # fmt: skip
def test_unknown_flags_are_reported_with_the_nearest(text, flag, nearest):
    (unknown,) = parse_command(text).unknown
    assert unknown.flag == flag
    assert nearest is None or unknown.nearest[0] == nearest


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (f"llama-server -m {QWEN} --n-cpu-ffn 3", "b8763"),
        (f"llama-server -m {QWEN} --no-mmap", "b11318"),
        (f"llama-server -m {QWEN} --draft-max 8", "b11318"),
        (f"{MLX} --kv-bits 8", "0.31.1"),
        (f"{MLX} --prefill-step-size 512", "0.30.7"),
        ("mlx_lm.generate --model a/b --image x.png", "0.31.3"),
        ("vllm serve a/b --max-num-active-seqs 4", "0.20.0"),
        ("vllm serve a/b --num-scheduler-steps 4", "0.33.0"),
        ("vllm serve a/b --disable-prefix-caching", "0.32.0"),
    ],
)
def test_a_flag_that_the_version_lacks_is_reported(text, version):
    (unknown,) = parse_command(text, version).unknown
    assert version in unknown.reason


def test_tabbyapis_flags_are_settings():
    reading = parse_command(
        f"{TABBY} --max-seq-len 32768 --cache-size=65536 --cache-mode 8,4 --max-batch-size 2 --port 5001 "
        "--chunk-size 1024 --gpu-split 20 0 24.5 --cpu-moe-offload-layers 3 --draft-mode mtp "
        "--draft-num-tokens 2 --vision True --tensor-parallel False"
    )
    assert reading.unknown == ()
    assert (reading.context, reading.devices, reading.loads_projector) == (32768, 2, True)
    assert not reading.splits_tensors
    assert reading.settings == {
        "cache_tokens": 65536, "kv_type_k": "q8_0", "kv_type_v": "q4_0", "max_num_seqs": 2,
        "max_num_batched_tokens": 1024, "tensor_split": (20.0, 24.5), "n_cpu_moe": 3, "spec_decode": "mtp:2",
    }  # fmt: skip
    # what argparse would refuse is reported, and understood all the same
    assert parse_command(f"{TABBY} --cache_mode Q6").settings == {"kv_type_k": "q6", "kv_type_v": "q6"}
    assert parse_command(f"{TABBY} --draft-model-name tiny-exl3-4.0bpw").draft == "tiny-exl3-4.0bpw"
    split = parse_command(f"{TABBY} --cpu-moe-split-experts 40 --draft-mode ngram")
    assert [remark.rule for remark in split.remarks] == ["not-counted", "draft"]


def tabbys(arguments, gpu="4090", **options):
    return launched(parse_command(f"{TABBY} {arguments}"), {"gpu": gpu, **options}, CATALOG)


def test_tabbyapis_cache_is_one_for_all_sequences():
    def cache(arguments, **options):
        launch = tabbys(arguments, **options).setup.launch
        return launch.ctx, launch.cache_tokens

    assert cache("") == (262144, None)
    assert cache("--max-seq-len 8192 --cache-size 8192") == (8192, None)
    assert cache("--max-seq-len 8192 --cache-size 32768") == (8192, 32768)
    assert cache("--max-seq-len 8192 --cache-size 32768", concurrency=4) == (8192, None)
    assert cache("--max-seq-len 8192", concurrency=4) == (8192, 8192)
    assert cache("--max-seq-len -1 --cache-size 4096") == (4096, None)
    cut = tabbys("--max-seq-len 8192 --cache-size 4096", concurrency=2)
    assert (cut.setup.launch.ctx, cut.setup.launch.cache_tokens) == (4096, 4096)
    assert [remark.rule for remark in cut.remarks if "cache" in remark.text] == ["context", "cache"]
    assert "1 of 2 full contexts" in cut.remarks[-1].text


def test_tabbyapi_splits_tensors_over_the_cards_there_are():
    assert tabbys("--tensor-parallel true", "4x3090").setup.launch.tensor_parallel == 4
    assert tabbys("--tensor-parallel true").setup.launch.tensor_parallel == 1
    assert tabbys("--tensor-parallel no", "4x3090").setup.launch.tensor_parallel == 1
    # limits are kept, alike or not
    assert tabbys("--gpu-split 10 10", "2x3090").setup.launch.tensor_split == (10, 10)
    assert tabbys("--gpu-split 0 20", "2x3090").setup.launch.gpu_count == 1


def test_exl3_folders_are_named_as_people_name_them():
    for name, quant in (
        ("Qwen3.5-35B-A3B-exl3_3.05bpw_h5_ng5", "EXL3-3.05bpw"),
        ("turboderp_Qwen3.5-35B-A3B-exl3-4.00bpw-h6", "EXL3-4.0bpw"),
        ("Qwen3.5-35B-A3B-EXL3-2.5bpw", "EXL3-2.5bpw"),
    ):
        launch = launched(parse_command(f"python main.py --model-name {name}"), {"gpu": "4090"}, CATALOG)
        assert (launch.setup.model.hf_id, launch.setup.quant.name) == ("Qwen/Qwen3.5-35B-A3B", quant), name
    with pytest.raises(UsageError, match=r"such as EXL3-4\.0bpw"):
        launched(parse_command("python main.py --model-name Qwen3.5-35B-A3B"), {"gpu": "4090"}, CATALOG)


def lms(arguments, gpu="4090", **options):
    return launched(parse_command(f"{LMS} {arguments}"), {"gpu": gpu, **options}, CATALOG)


def test_lm_studio_places_a_share_of_the_layers():
    def layers(share):
        return lms(f"--gpu {share} -c 4096").setup.launch.n_gpu_layers

    assert CATALOG.models["Qwen/Qwen3.5-35B-A3B"].n_layers == 40
    assert [layers(share) for share in ("max", "1", "off", "0", "0.5")] == [None, None, 0, 0, 20]
    assert layers("0.51") == 21  # a begun layer counts as a whole: rather too much than too little
    assert not parse_command(f"{LMS} --gpu max").fits_itself
    assert parse_command(LMS).fits_itself
    assert [r.rule for r in parse_command(f"{LMS} --estimate-only").remarks] == ["not-loaded"]
    (said,) = lms("").remarks
    assert "what the app is set to" in said.text


def mlx(arguments, gpu="m4 max", **options):
    return launched(parse_command(f"{MLX} {arguments}"), {"gpu": gpu, **options}, CATALOG)


def test_mlx_serves_as_many_as_it_can_batch():
    def users(arguments, **options):
        found = mlx(arguments, **options)
        return found.setup.launch.concurrency, "users" in [remark.rule for remark in found.remarks]

    assert users("") == (1, False)
    assert users("--decode-concurrency 4") == (4, False)
    assert users("--decode-concurrency 4", concurrency=6) == (4, True)
    assert users("", concurrency=40) == (32, True)
    assert users("--kv-bits 8", concurrency=2) == (1, True)
    alone = mlx("--decode-concurrency 4 --kv-bits 8")
    assert (alone.setup.launch.concurrency, alone.setup.launch.kv_type_v) == (1, "q8_0")
    assert "one-at-a-time" in [remark.rule for remark in alone.remarks]
    one = parse_command("mlx_lm.generate --model a/b --draft-model mlx-community/Qwen3-0.6B-4bit")
    assert (one.most_at_once, one.draft) == (1, "mlx-community/Qwen3-0.6B-4bit")


def test_mlx_is_told_how_long_requests_get():
    assert mlx("").setup.launch.ctx == 262144
    assert mlx("", ctx="16Ki").setup.launch.ctx == 16384
    assert mlx("", ctx="16Ki", depth="8Ki").setup.launch.depth == 8192
    with pytest.raises(UsageError, match="depth"):
        mlx("", ctx="4Ki", depth="8Ki")


def test_mlxs_formats_are_named_as_people_name_them():
    for name, quant in (
        ("mlx-community/Qwen3.5-35B-A3B-8bit", "MLX-8bit"),
        ("mlx-community/Qwen3.5-35B-A3B-4bit-DWQ", "MLX-4bit-DWQ"),
        ("./Qwen3.5-35B-A3B-MLX-3bit", "MLX-3bit"),
        ("mlx-community/Qwen3.5-35B-A3B-bf16", "BF16"),
        ("Qwen/Qwen3.5-35B-A3B", "BF16"),
    ):
        setup = launched(parse_command(f"mlx_lm.server --model {name}"), {"gpu": "m4 max"}, CATALOG).setup
        assert (setup.model.hf_id, setup.quant.name) == ("Qwen/Qwen3.5-35B-A3B", quant), name


@pytest.mark.parametrize(
    ("text", "gpu", "says"),
    [
        ("lms load qwen3.5-9b", "4090", "such as Q4_K_M"),
        ("lms load qwen3.5-9b@4bit", "m4 max", "GGUF files only"),
        ("lms load mlx-community/Qwen3.5-9B-MLX-4bit", "m4 max", "GGUF files only"),
        ("lms load qwen3.5-9b@q4_k_m", "4090+3090", "differ"),
        ("mlx_lm.server --model mlx-community/Qwen3.5-9B-MLX", "m4 max", "such as MLX-4bit"),
        ("mlx_lm.server --model Qwen3.5-9B-Q4_K_M.gguf", "m4 max", "MLX does not read Q4_K_M"),
        ("mlx_lm.server --model openai/gpt-oss-20b", "m4 max", "MLX does not read MXFP4"),
        ("mlx_lm.server --model Qwen/Qwen3.5-9B", "4090", "Apple silicon"),
        ("mlx_lm.server", "m4 max", "names no model"),
    ],
)
def test_what_is_not_counted_for_an_engine_is_one_line(text, gpu, says):
    with pytest.raises(UsageError, match=says):
        launched(parse_command(text), {"gpu": gpu}, CATALOG)


@pytest.mark.parametrize("flag", ["--disable-prefix-caching", "--no-enable-prefix-caching"])
def test_both_off_forms_of_vllm_switch_off(flag):
    parsed = parse_command(f"vllm serve a/b {flag}", "0.33.0")
    assert parsed.unknown == ()
    assert parsed.settings["prefix_caching"] is False


def test_vllm_reads_arguments_as_argparse_does():
    reading = parse_command(
        "vllm serve a/b --max_model_len=32K -tp 2 -pp=2 --gpu-memory-util 0.9 --max-num-seqs 8 -O3 "
        "--kv-cache-dtype fp8_e5m2 --no-enable-prefix-caching --served-model-name x y --enforce-eager "
        "--max-num-batched-tokens 4k --cpu-offload-gb 4 --compilation-config.level 3 --trust-remote-code "
        """--speculative-config '{"method":"qwen3_next_mtp","num_speculative_tokens":2}'"""
    )
    assert reading.unknown == ()
    assert (reading.context, reading.devices) == (32768, 4)
    assert reading.settings == {
        "gpu_memory_utilization": 0.9, "max_num_seqs": 8, "max_num_batched_tokens": 4000,
        "cpu_offload_gib": 4.0, "prefix_caching": False, "enforce_eager": True, "kv_type_k": "fp8",
        "kv_type_v": "fp8", "tensor_parallel": 2, "spec_decode": "mtp",
    }  # fmt: skip
    assert parse_command("vllm serve a/b --max-model-len auto").longest_that_fits
    assert parse_command("vllm serve a/b --config f.yaml").remarks[0].rule == "not-read"


def test_models_are_named_as_people_write_them():
    for text, quant in (
        (f"llama-server -m /models/{QWEN}", "UD-Q4_K_XL"),
        ("llama-server -m C:\\m\\Qwen3.5-35B-A3B-Q8_0-00001-of-00002.gguf", "Q8_0"),
        ("llama-server -m /m/Qwen3.5-35B-A3B-GGUF/model-q6_k.gguf", "Q6_K"),
        ("llama-server -hf unsloth/Qwen3.5-35B-A3B-GGUF:UD-Q4_K_XL", "UD-Q4_K_XL"),
        ("llama-server -hf unsloth/Qwen3.5-35B-A3B-GGUF", "Q4_K_M"),
        ("ollama run qwen3.5:35b-a3b-q8_0", "Q8_0"),
        ("ollama run qwen3.5:35b-a3b", "Q4_K_M"),
        ("vllm serve Qwen/Qwen3.5-35B-A3B-FP8", "FP8"),
        ("vllm serve Qwen/Qwen3.5-35B-A3B", "BF16"),
        ("vllm serve Qwen/Qwen3.5-35B-A3B --quantization fp8", "FP8"),
    ):
        launch = launched(parse_command(text), {"gpu": "h200"}, CATALOG).setup.launch
        assert (launch.model, launch.quant) == ("Qwen/Qwen3.5-35B-A3B", quant), text
    gpt = launched(parse_command("llama-server -hf ggml-org/gpt-oss-20b-GGUF"), {"gpu": "4090"}, CATALOG)
    assert gpt.setup.launch.quant == "MXFP4_MOE"


def test_contexts_that_are_not_stated_are_the_engines_own():
    def context(text, **options):
        return launched(parse_command(text), {"gpu": "3090", **options}, CATALOG).setup.launch.ctx

    assert context(f"llama-server -m {QWEN}") == 262144
    assert context(f"llama-server -m {QWEN} -c 0 -np 4") == 65536
    assert context(f"llama-server -m {QWEN} -c 65536", concurrency=4) == 16384
    assert context(f"llama-cli -m {QWEN} -c 65536") == 65536
    assert context("vllm serve Qwen/Qwen3-8B") == 40960
    assert context("ollama run qwen3:8b") == 32768
    assert context("ollama run qwen3:8b", vram=12) == 4096


def test_devices_are_those_that_the_command_uses():
    def count(text, gpu):
        return launched(parse_command(text), {"gpu": gpu}, CATALOG).setup.launch.gpu_count

    assert count("vllm serve Qwen/Qwen3-8B -tp 2", "3090") == 2
    assert count("vllm serve Qwen/Qwen3-8B", "2x3090") == 1
    assert count(f"llama-server -m {QWEN}", "2x3090") == 2
    assert count(f"llama-server -m {QWEN} -sm none", "2x3090") == 1
    assert count(f"CUDA_VISIBLE_DEVICES=1 llama-server -m {QWEN}", "2x3090") == 1
    with pytest.raises(UsageError, match="uses 4 devices"):
        count("vllm serve Qwen/Qwen3-8B -tp 4", "2x3090")


# parse(render(config)) = config, for configurations whose settings the command states


def versions_of(engine):
    """Every version that the facts speak of."""
    flags = [flag for flag in CATALOG.engine_flags if flag.engine == engine]
    named = {row.version for row in CATALOG.engine_versions if row.engine == engine}
    return named | {text for flag in flags for text in (flag.missing_in, flag.gone_in) if text}


MODELS = sorted(CATALOG.models)
GGUF = ("Q4_K_M", "UD-Q4_K_XL", "Q8_0", "IQ4_XS", "Q2_K")
CARDS = ("RTX 3090", "RTX 4090", "RTX 5090", "RX 7900 XTX")
LLAMACPP_VERSIONS = st.none() | st.integers(5500, 11318).map(lambda build: f"b{build}")
VLLM_VERSIONS = st.none() | st.sampled_from(
    [row.version for row in CATALOG.engine_versions if row.engine == "vllm"]
)


SGLANG_VERSIONS = st.none() | st.sampled_from(sorted(versions_of("sglang")))


def setup_of(model, quant, gpu, **launch):
    spec, kind, device = CATALOG.models[model], CATALOG.quants[quant], CATALOG.gpus[gpu]
    settings = {"vram_gib": device.memory_gib, "backend": usual_backend(launch["engine"], device), **launch}
    config = LaunchConfig(model=model, quant=quant, gpu=gpu, **settings)
    return Setup(config, spec, kind, weight_bytes(spec, kind), device)


def read_back(setup):
    """The launch that the rendered command means, on the same device and for the same use."""
    launch = setup.launch
    command, env = render(setup)
    text = " ".join([*(f"{name}={shlex.quote(value)}" for name, value in env.items()), command])
    reading = parse_command(text, launch.engine_version)
    assert reading.unknown == ()
    options = {
        "gpu": launch.gpu, "gpu_count": launch.gpu_count, "vram": launch.vram_gib,
        "concurrency": launch.concurrency, "prompt": launch.prompt, "backend": launch.backend,
    }  # fmt: skip
    if launch.engine == "mlx":  # whose command cannot say it
        options["ctx"] = launch.ctx
    return launched(reading, options, CATALOG).setup.launch


@st.composite
def llamacpp_setups(draw, versions=LLAMACPP_VERSIONS):
    model = draw(st.sampled_from(MODELS))
    spec = CATALOG.models[model]
    quant = "MXFP4_MOE" if spec.architecture in NATIVE_MXFP4 else draw(st.sampled_from(GGUF))
    version = draw(versions)
    build = (parse("llama.cpp", version) if version else newest("llama.cpp")).key[0]
    parallel = draw(st.none() | st.integers(1, 8))
    unified = [None, False] if parallel is None else [None] if parallel == 1 or build < 6200 else [None, True]
    ubatch = draw(st.sampled_from([64, 512, 1024, 4096]))
    count = draw(st.integers(1, 3))
    split = draw(st.none() | st.tuples(*[st.integers(1, 9).map(float)] * count)) if count > 1 else None
    speculates = spec.has_mtp and build >= 9372
    return setup_of(
        model, quant, draw(st.sampled_from(CARDS)), engine="llama.cpp", engine_version=version,
        ctx=draw(st.integers(2048, 200_000)), concurrency=draw(st.integers(1, 8)),
        kv_type_k=draw(st.sampled_from(["f16", "bf16", "q8_0", "q5_1", "q4_0"])),
        kv_type_v=draw(st.sampled_from(["f16", "q8_0", "iq4_nl", "q4_0"])),
        flash_attn=draw(st.booleans()), n_gpu_layers=draw(st.none() | st.integers(0, spec.n_layers)),
        n_cpu_moe=draw(st.integers(0, spec.n_layers)) if spec.is_moe else 0,
        parallel=parallel, kv_unified=draw(st.sampled_from(unified)), ubatch=ubatch,
        batch=max(ubatch, draw(st.sampled_from([2048, 512]))), gpu_count=count,
        tensor_split=split if split and len(set(split)) > 1 else None,
        spec_decode=draw(st.sampled_from(["none", "mtp", "mtp:2"])) if speculates else "none",
        swa_full=draw(st.booleans()), kv_offload=draw(st.booleans()),
    )  # fmt: skip


@st.composite
def paged_setups(draw, engine, versions):
    model = draw(st.sampled_from(MODELS))
    spec = CATALOG.models[model]
    native = spec.architecture in NATIVE_MXFP4
    quant = "MXFP4" if native else draw(st.sampled_from(["BF16", "FP8", "AWQ-INT4", "GPTQ-INT4"]))
    kinds = {"vllm": ["f16", "fp8", "int8", "nvfp4"], "sglang": ["f16", "fp8"]}[engine]
    kind = draw(st.sampled_from(kinds))
    tensor, stages = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 2]))
    vllm = engine == "vllm"
    return setup_of(
        model, quant, draw(st.sampled_from(CARDS)), engine=engine,
        engine_version=draw(versions),
        ctx=draw(st.integers(2048, 200_000)), concurrency=draw(st.integers(1, 8)),
        kv_type_k=kind, kv_type_v=kind, tensor_parallel=tensor, gpu_count=tensor * stages,
        gpu_memory_utilization=draw(st.sampled_from([0.5, 0.85, 0.9, 0.95])),
        max_num_seqs=draw(st.integers(1, 512)),
        max_num_batched_tokens=draw(st.none() | st.integers(512, 16384)),
        enforce_eager=draw(st.booleans()), cpu_offload_gib=draw(st.sampled_from([0.0, 4.0, 12.5])),
        prefix_caching=draw(st.booleans()) if vllm else draw(st.sampled_from([None, False])),
        spec_decode=draw(st.sampled_from(["none", "mtp", "mtp:3"])) if vllm and spec.has_mtp else "none",
    )  # fmt: skip


@st.composite
def ollama_setups(draw):
    model = draw(st.sampled_from(MODELS))
    native = CATALOG.models[model].architecture in NATIVE_MXFP4
    kind = draw(st.sampled_from(["f16", "q8_0", "q4_0"]))
    return setup_of(
        model, "MXFP4_MOE" if native else draw(st.sampled_from(GGUF)), draw(st.sampled_from(CARDS)),
        engine="ollama", ctx=draw(st.integers(2048, 200_000)), concurrency=draw(st.integers(1, 4)),
        parallel=draw(st.none() | st.integers(1, 8)), kv_type_k=kind, kv_type_v=kind,
        flash_attn=draw(st.booleans()), gpu_count=draw(st.integers(1, 2)),
    )  # fmt: skip


EXL3_TYPES = ("q8_0", "q7", "q6", "q5_0", "q4_0", "q3", "q2")


@st.composite
def exllama_setups(draw):
    model = draw(st.sampled_from(MODELS))
    spec = CATALOG.models[model]
    count = draw(st.integers(1, 4))
    whole = draw(st.booleans())
    ctx, users = draw(st.integers(2048, 200_000)), draw(st.integers(1, 8))
    needed = -(-users * ctx // 256) * 256
    other = st.integers(-(-ctx // 256), 4 * needed // 256).map(lambda pages: pages * 256)
    cache = draw(st.none() | other.filter(lambda cells: cells != needed))
    split = draw(st.none() | st.tuples(*[st.integers(2, 48).map(lambda half: half / 2)] * count))
    return setup_of(
        model, draw(st.sampled_from([f"EXL3-{bits}bpw" for bits in ("8.0", "4.5", "2.5")])),
        draw(st.sampled_from(["RTX 3090", "RTX 4090", "RTX 5090"])), engine="exllamav3",
        ctx=ctx, concurrency=users, cache_tokens=cache,
        kv_type_k="f16" if whole else draw(st.sampled_from(EXL3_TYPES)),
        kv_type_v="f16" if whole else draw(st.sampled_from(EXL3_TYPES)),
        gpu_count=count, tensor_parallel=draw(st.sampled_from([1, count])),
        tensor_split=split if count > 1 else None,
        n_cpu_moe=draw(st.integers(0, spec.n_layers)) if spec.is_moe else 0,
        max_num_seqs=draw(st.none() | st.integers(1, 128)),
        max_num_batched_tokens=draw(st.none() | st.integers(1, 32).map(lambda pages: 256 * pages)),
        spec_decode=draw(st.sampled_from(["none", "mtp", "mtp:3"])) if spec.has_mtp else "none",
    )  # fmt: skip


@st.composite
def lmstudio_setups(draw):
    model = draw(st.sampled_from(MODELS))
    spec = CATALOG.models[model]
    native = spec.architecture in NATIVE_MXFP4
    return setup_of(
        model, "MXFP4_MOE" if native else draw(st.sampled_from(GGUF)), draw(st.sampled_from(CARDS)),
        engine="lmstudio", ctx=draw(st.integers(2048, 200_000)), concurrency=draw(st.integers(1, 8)),
        parallel=draw(st.none() | st.integers(1, 8)), gpu_count=draw(st.integers(1, 2)),
        n_gpu_layers=draw(st.none() | st.integers(0, spec.n_layers - 1)),
    )  # fmt: skip


MLX_FORMATS = sorted(name for name, quant in CATALOG.quants.items() if "mlx" in quant.engines
                     and quant.family != "generic")  # fmt: skip
MLX_VERSIONS = st.none() | st.sampled_from(sorted(versions_of("mlx-lm") | {"0.32.2"}))


@st.composite
def mlx_setups(draw):
    kind = draw(st.sampled_from(["f16", "q8_0", "q4_0"]))
    return setup_of(
        draw(st.sampled_from(MODELS)), draw(st.sampled_from(MLX_FORMATS)),
        draw(st.sampled_from(["M4 Max (40-core GPU)", "M4 Pro", "M3 Ultra"])), engine="mlx",
        vram_gib=draw(st.sampled_from([24.0, 64.0])), engine_version=draw(MLX_VERSIONS),
        ctx=draw(st.integers(2048, 200_000)), concurrency=draw(st.integers(1, 8)), kv_type_k=kind,
        kv_type_v=kind, max_num_batched_tokens=draw(st.none() | st.integers(64, 8192)),
    )  # fmt: skip


ANY_SETUP = st.one_of(
    lmstudio_setups(),
    mlx_setups(),
    exllama_setups(),
    llamacpp_setups(),
    paged_setups("vllm", VLLM_VERSIONS),
    paged_setups("sglang", SGLANG_VERSIONS),
    ollama_setups(),
)
EXAMPLES = int(os.environ.get("ADVISOR_EXAMPLES", "5"))
"""Configurations for every version of every engine; .ci/run asks for a thousand."""
VERSIONS = [
    (engine, version)
    for engine in ("llama.cpp", "vllm", "sglang")
    for version in sorted(versions_of(engine), key=lambda text: parse(engine, text).key)
]


@given(ANY_SETUP)
def test_a_rendered_command_means_the_configuration_it_was_made_from(setup):
    try:
        back = read_back(setup)
    except UnsupportedError:
        reject()  # this version cannot express it: there is no command to read back
    assert back == setup.launch


@given(st.one_of(lmstudio_setups(), mlx_setups()))
def test_what_lm_studio_and_mlx_cannot_say_is_all_that_is_refused(setup):
    """The round trip above cannot hold by refusing."""
    launch = setup.launch
    quantized = launch.kv_type_k != "f16"
    lacks = launch.engine == "mlx" and (
        (quantized and (launch.concurrency > 1 or setup.model.layers_sliding > 0))
        or launch.engine_version not in {None, "0.32.2"}
    )
    try:
        back = read_back(setup)
    except UnsupportedError:
        assert lacks
    else:
        assert back == launch


@given(paged_setups("vllm", VLLM_VERSIONS))
def test_a_container_means_the_same_as_the_command(setup):
    try:
        command, _ = render(setup)
    except UnsupportedError:
        reject()
    for form in other_forms(setup, command):
        inside, outside = parse_command(form.text), parse_command(command, setup.launch.engine_version)
        assert (inside.settings, inside.model) == (outside.settings, outside.model)
        assert inside.version == (setup.launch.engine_version or newest("vllm").text)


@given(exllama_setups())
def test_a_config_file_says_what_the_command_says(setup):
    command, _ = render(setup)
    (form,) = other_forms(setup, command)
    words, section = ["python", "main.py"], ""
    for line in form.text.splitlines():
        if not line.startswith(" "):
            section = line
            continue
        key, _, value = line.strip().partition(": ")
        words += [f"--{key.replace('_', '-')}", *value.strip("[]").split(", ")]
        assert section == ("draft_model:" if key.startswith("draft_") else "model:")
    assert words == shlex.split(command)


@given(llamacpp_setups())
def test_a_measuring_run_is_of_the_build_that_was_read_and_of_no_other(setup):
    try:
        command, _ = render(setup)
    except UnsupportedError:
        reject()
    forms = other_forms(setup, command)
    assert bool(forms) == (setup.launch.engine_version in {None, newest("llama.cpp").text})
    for form in forms:
        words = shlex.split(form.text)
        assert words[0] == "llama-bench"
        assert words[words.index("-ngl") + 1] == shlex.split(command)[shlex.split(command).index("-ngl") + 1]
        *_, deepest = words[words.index("-d") + 1].split(",")
        assert int(deepest) < setup.launch.ctx


@given(ANY_SETUP)
def test_every_flag_of_a_command_has_its_reason(setup):
    rules = apply(setup)
    try:
        command, env = render(setup, rules)
    except UnsupportedError:
        reject()
    given_reasons = reasons(setup, command, env, rules)
    flags = [word for word in shlex.split(command) if word.startswith("-") and word != "-m"]
    named = [one.flag for one in given_reasons if one.flag != "-m"]
    assert named == [*env, *(flag for flag in flags if not flag[1:2].isdigit())]
    assert all(one.reason for one in given_reasons)


@pytest.mark.parametrize(("engine", "version"), VERSIONS)
def test_every_version_gets_only_flags_that_it_has(engine, version):
    only = st.just(version)
    setups = llamacpp_setups(only) if engine == "llama.cpp" else paged_setups(engine, only)
    rendered = 0

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
    @given(setups)
    def holds(setup):
        nonlocal rendered
        try:
            back = read_back(setup)
        except UnsupportedError:
            return
        rendered += 1
        assert back == setup.launch

    holds()
    assert rendered or EXAMPLES < 100


@pytest.mark.parametrize("model", MODELS)
def test_every_models_name_survives_the_round_trip(model):
    spec = CATALOG.models[model]
    native = spec.architecture in NATIVE_MXFP4
    for engine, quants in (
        ("llama.cpp", ["MXFP4_MOE"] if native else GGUF),
        ("vllm", ["MXFP4"] if native else ["BF16", "FP8", "AWQ-INT4", "NVFP4"]),
        ("ollama", ["MXFP4_MOE"] if native else ["Q4_K_M", "Q8_0"]),
        ("exllamav3", ["EXL3-4.0bpw", "EXL3-2.5bpw"]),
        ("lmstudio", ["MXFP4_MOE"] if native else GGUF),
        ("mlx", ["MLX-4bit", "MLX-4bit-DWQ", "MLX-8bit", "BF16", "F16"]),
    ):
        for quant in quants:
            limit = 1 if engine == "mlx" else 4  # no more than there are users
            card = "M4 Max (40-core GPU)" if engine == "mlx" else "RTX 5090"
            setup = setup_of(
                model,
                quant,
                card,
                engine=engine,
                vram_gib=32.0,
                ctx=4096,
                max_num_seqs=limit,
                gpu_memory_utilization=0.9,
            )
            back = read_back(setup)
            assert (back.model, back.quant) == (model, quant)
