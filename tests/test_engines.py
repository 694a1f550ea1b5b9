"""Command lines: golden ones, and that no version ever gets a flag it does not have."""

import itertools
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.config import LaunchConfig, Setup
from advisor.engines import ENGINES, PROPOSED, apply, engine_named, render
from advisor.engines.command_line import CommandLine, exists
from advisor.engines.llamacpp import LONG
from advisor.engines.versions import newest, parse
from advisor.memory.llamacpp import total_context
from knowledge.catalog import default_catalog
from knowledge.errors import UnsupportedError, UsageError
from knowledge.weights import weight_bytes

CATALOG = default_catalog()
QWEN = "Qwen/Qwen3.5-35B-A3B"


def setup_of(model, quant, gpu, *, vram=None, **launch):
    spec, kind, device = CATALOG.models[model], CATALOG.quants[quant], CATALOG.gpus[gpu]
    config = LaunchConfig(
        model=model, quant=quant, gpu=gpu, vram_gib=vram or device.memory_gib, **{"ctx": 32768, **launch}
    )
    return Setup(config, spec, kind, weight_bytes(spec, kind), device)


GOLDEN = [
    (
        (QWEN, "UD-Q4_K_XL", "RTX 3090"),
        {"ctx": 262144, "kv_type_k": "q8_0", "kv_type_v": "q8_0", "parallel": 1},
        ("llama-server -hf unsloth/Qwen3.5-35B-A3B-GGUF:UD-Q4_K_XL -c 262144 -ngl 99 -fa on "
        "-ctk q8_0 -ctv q8_0 -np 1 --no-mmproj --port 8080"),
    ),
    (
        (QWEN, "UD-Q4_K_XL", "RTX 3090"),
        {"parallel": 6, "kv_unified": True, "concurrency": 6, "n_cpu_moe": 4, "ubatch": 4096},
        ("llama-server -hf unsloth/Qwen3.5-35B-A3B-GGUF:UD-Q4_K_XL -c 196608 -ngl 99 --n-cpu-moe 4 -fa on "
        "-np 6 -b 4096 -ub 4096 -kvu --kv-unified-per-slot 32768 --load-mode none --no-mmproj --port 8080"),
    ),
    (
        ("Qwen/Qwen3-32B", "Q4_K_M", "RTX 3090"),
        {"gpu_count": 2, "engine_version": "b6000"},
        "llama-server -m Qwen3-32B-Q4_K_M.gguf -c 32768 -ngl 99 -sm layer -ts 1,1 -fa --port 8080",
    ),
    (
        ("Qwen/Qwen3.6-27B", "UD-Q4_K_XL", "RTX 3090"),
        {"parallel": 1, "spec_decode": "mtp"},
        ("llama-server -hf unsloth/Qwen3.6-27B-MTP-GGUF:UD-Q4_K_XL -c 32768 -ngl 99 -fa on -np 1 "
        "--spec-type draft-mtp --spec-draft-n-max 3 --no-mmproj --port 8080"),
    ),
    (
        ("Qwen/Qwen3.5-27B", "FP8", "RTX 4090"),
        {
            "vram": 48, "engine": "vllm", "ctx": 200000, "kv_type_k": "fp8", "kv_type_v": "fp8",
            "concurrency": 6, "max_num_seqs": 6,
        },
        ("vllm serve Qwen/Qwen3.5-27B-FP8 --max-model-len 200000 --gpu-memory-utilization 0.92 "
        "--max-num-seqs 6 --kv-cache-dtype fp8 --language-model-only"),
    ),
    (
        ("Qwen/Qwen3.5-27B", "FP8", "RTX 3090"),
        {
            "engine": "vllm", "engine_version": "0.19.0", "kv_type_k": "fp8", "kv_type_v": "fp8",
            "gpu_count": 2, "tensor_parallel": 2, "max_num_seqs": 1,
        },
        ("vllm serve Qwen/Qwen3.5-27B-FP8 --max-model-len 32768 --gpu-memory-utilization 0.9 "
        "--max-num-seqs 1 --kv-cache-dtype fp8 --tensor-parallel-size 2 --attention-backend FLASHINFER "
        "--enable-prefix-caching --language-model-only"),
    ),
    (
        ("Qwen/Qwen3.5-9B", "FP8", "RTX 4090"),
        {"engine": "vllm", "prefix_caching": False, "spec_decode": "mtp", "max_num_seqs": 1},
        ("vllm serve Qwen/Qwen3.5-9B --quantization fp8 --max-model-len 32768 --gpu-memory-utilization 0.92 "
        """--max-num-seqs 1 --speculative-config '{"method":"mtp","num_speculative_tokens":2}' """
        "--no-enable-prefix-caching --language-model-only"),
    ),
    (
        ("openai/gpt-oss-20b", "MXFP4", "RTX 5090"),
        {"engine": "vllm", "max_num_seqs": 4},
        "vllm serve openai/gpt-oss-20b --max-model-len 32768 --gpu-memory-utilization 0.92 --max-num-seqs 4",
    ),
    (
        ("Qwen/Qwen3-8B", "AWQ-INT4", "RTX 4090"),
        {"engine": "vllm", "max_num_seqs": 1, "engine_version": "0.9.2"},
        "vllm serve ./Qwen3-8B-AWQ-INT4 --max-model-len 32768 --gpu-memory-utilization 0.9 --max-num-seqs 1",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("named", "launch", "command"), GOLDEN, ids=lambda value: str(value)[:60])
def test_typical_configurations_have_these_commands(named, launch, command):
    assert render(setup_of(*named, **launch))[0] == command


def test_a_file_of_ones_own_is_not_downloaded():
    setup = setup_of(QWEN, "Q4_K_M", "RTX 3090", weights_gib=19.7)
    assert "-m Qwen3.5-35B-A3B-Q4_K_M.gguf" in render(setup)[0]


def test_siblings_of_gfx1030_run_under_its_name_on_rocm_only():
    card = next(name for name, gpu in CATALOG.gpus.items() if gpu.compute_capability == "gfx1031")
    assert render(setup_of("Qwen/Qwen3-8B", "Q4_K_M", card, backend="rocm"))[1] == {
        "HSA_OVERRIDE_GFX_VERSION": "10.3.0"
    }
    assert render(setup_of("Qwen/Qwen3-8B", "Q4_K_M", card, backend="vulkan"))[1] == {}


LLAMACPP_VERSIONS = st.one_of(
    st.none(),
    st.integers(5500, 11318).map(lambda build: f"b{build}"),
    st.sampled_from(["v0.5.0", "0c1e57098"]),
)
VLLM_VERSIONS = st.sampled_from(
    [None, *(row.version for row in CATALOG.engine_versions if row.engine == "vllm")]
)


@st.composite
def setups(draw):
    if draw(st.booleans()):
        quant = draw(st.sampled_from(["Q4_K_M", "UD-Q4_K_XL", "Q8_0", "BF16"]))
        kv_type = draw(st.sampled_from(["f16", "q8_0", "q4_0"]))
        engine = {
            "engine": "llama.cpp", "engine_version": draw(LLAMACPP_VERSIONS),
            "n_cpu_moe": draw(st.integers(0, 60)), "n_gpu_layers": draw(st.none() | st.integers(0, 99)),
            "ubatch": draw(st.sampled_from([128, 512, 4096])),
        }  # fmt: skip
    else:
        quant = draw(st.sampled_from(["FP8", "AWQ-INT4", "NVFP4", "BF16"]))
        kv_type = draw(st.sampled_from(["f16", "fp8"]))
        engine = {
            "engine": "vllm", "engine_version": draw(VLLM_VERSIONS), "enforce_eager": draw(st.booleans()),
            "tensor_parallel": draw(st.sampled_from([1, 2])), "gpu_count": 2,
            "prefix_caching": draw(st.none() | st.booleans()),
        }  # fmt: skip
    return setup_of(
        draw(st.sampled_from([QWEN, "Qwen/Qwen3-8B", "Qwen/Qwen3.6-27B", "google/gemma-3-27b-it"])), quant,
        draw(st.sampled_from(["RTX 3090", "RTX 4090", "RTX 5090", "RX 6800 XT"])),
        ctx=draw(st.integers(256, 262144)), concurrency=draw(st.integers(1, 8)),
        parallel=draw(st.none() | st.integers(1, 8)), kv_unified=draw(st.none() | st.booleans()),
        kv_type_k=kv_type, kv_type_v=kv_type, spec_decode=draw(st.sampled_from(["none", "mtp"])), **engine,
    )  # fmt: skip


@given(setups())
def test_every_printed_flag_exists_in_that_version_and_stands_once(setup):
    try:
        command, _ = render(setup)
    except UnsupportedError:
        return
    words = shlex.split(command)
    engine = setup.launch.engine
    version = parse(engine, setup.launch.engine_version) if setup.launch.engine_version else newest(engine)
    flags = [LONG.get(word, word) for word in words if word.startswith("-") and not word[1:2].isdigit()]
    assert len(flags) == len(set(flags))
    assert all(exists(flag, version) for flag in flags)
    if engine == "llama.cpp":
        assert int(words[words.index("-c") + 1]) == total_context(setup.launch)
    else:
        assert int(words[words.index("--max-model-len") + 1]) == setup.launch.ctx


@pytest.mark.parametrize(
    ("setup", "says"),
    [
        (("Qwen/Qwen3-8B", "AWQ-INT4", "RTX 4090"), "AWQ-INT4"),
        (("Qwen/Qwen3-8B", "4-bit", "RTX 4090"), "4-bit"),
        (("Qwen/Qwen3-8B", "IQ4_KS", "RTX 4090"), "IQ4_KS"),
    ],
)
def test_llamacpp_refuses_formats_it_does_not_read(setup, says):
    with pytest.raises(UnsupportedError, match=says):
        render(setup_of(*setup))


@pytest.mark.parametrize(
    ("launch", "says"),
    [
        ({"engine": "vllm", "kv_type_k": "q8_0", "kv_type_v": "q8_0"}, "q8_0"),
        ({"engine": "vllm", "kv_type_k": "fp8"}, "one type"),
        ({"engine": "vllm", "n_cpu_moe": 3}, "GPU and CPU"),
        ({"engine": "tgi"}, "llama.cpp, vllm"),
        ({"engine": "vllm", "spec_decode": "mtp"}, "no draft"),
    ],
)
def test_settings_that_cannot_be_had_are_refused(launch, says):
    with pytest.raises(UnsupportedError, match=says):
        render(setup_of("Qwen/Qwen3-8B", "BF16", "RTX 4090", **launch))


def test_a_setting_that_came_later_is_refused_with_the_version_it_came_in():
    with pytest.raises(UnsupportedError, match="b6089"):
        render(setup_of(QWEN, "Q4_K_M", "RTX 3090", n_cpu_moe=4, engine_version="b6000"))


def test_engine_names_as_typed():
    assert [engine_named(text) for text in ("llama.cpp", "LLAMACPP", "llama-server", "vLLM")] == [
        "llama.cpp", "llama.cpp", "llama.cpp", "vllm",
    ]  # fmt: skip
    with pytest.raises(UnsupportedError, match="use one of"):
        engine_named("exllama")


def test_versions_are_ordered_across_the_names_llamacpp_goes_by():
    named = ["b6089", "b7079", "49bfddeca", "b8763", "f53577432", "v0.1.0", "b10791", "v0.5.0", "0c1e57098"]
    keys = [parse("llama.cpp", text).key for text in named]
    assert keys == sorted(keys)
    assert parse("llama.cpp", "v0.1.0").key == parse("llama.cpp", "4df29be4f4c3673f").key == (10454,)
    assert parse("llama.cpp", "b11312-0c1e57098").key == parse("llama.cpp", "0c1e5709").key == (11312,)
    assert (
        parse("llama.cpp", "b7079").key < parse("llama.cpp", "2026-03").key < parse("llama.cpp", "b8763").key
    )
    assert parse("vllm", "0.9.2").key < parse("vllm", "v0.10.0").key == parse("vllm", "0.10").key
    assert parse("vllm", "0.26.1rc1.dev608").key < parse("vllm", "0.26.1").key


@pytest.mark.parametrize("text", ["", "banana", "v0.99.0", "2026-13", "deadbeef1"])
def test_a_version_that_cannot_be_ordered_is_refused(text):
    with pytest.raises(UsageError, match="write for example"):
        parse("llama.cpp", text)


def test_every_version_in_the_facts_can_be_ordered():
    for flag in CATALOG.flags:
        if flag.engine in ENGINES:
            for text in filter(None, (flag.since_version, flag.deprecated_in, flag.removed_in)):
                parse(flag.engine, text)
    for rule in CATALOG.rules:
        for text in filter(None, (rule.since_version, rule.before_version)):
            parse(rule.engine, text)
    for engine in PROPOSED:
        rows = [row for row in CATALOG.engine_versions if row.engine == engine]
        keys = [parse(engine, row.version).key for row in rows]
        assert keys == sorted(keys)
        assert newest(engine).key == keys[-1]


def test_repositories_name_catalogued_models_and_existing_formats():
    for row in CATALOG.repos:
        assert row.hf_id in CATALOG.models
        assert row.quants
        assert row.source_url.startswith("https://")
    assert len({(row.hf_id, row.repo, row.quants) for row in CATALOG.repos}) == len(CATALOG.repos)


def test_a_flag_outside_the_facts_is_a_defect():
    with pytest.raises(Exception, match="not in knowledge"):
        CommandLine(["llama-server"], newest("llama.cpp")).require("--no-such-thing")


def test_rules_and_rendering_agree_on_what_is_set():
    setup = setup_of(QWEN, "FP8", "RTX 4090", vram=48, engine="vllm")
    outcome = apply(setup)
    command, _ = render(setup, outcome)
    assert all(words.split()[0] in command for words in itertools.chain(outcome.sets))
