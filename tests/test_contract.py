"""The answers as data: every key of the contract, one answer to one question, nothing heavy loaded for it."""

import json
import pkgutil
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import advisor
from advisor import service
from advisor.asking import Options, understand
from advisor.config import LaunchConfig
from advisor.memory.llamacpp import slots
from advisor.setups import options_of
from knowledge.catalog import default_catalog
from knowledge.errors import UsageError

CATALOG = default_catalog()
QWEN = {"model": "qwen3.5-35b-a3b", "gpu": "3090"}

CONFIG = (
    "model quant weights_gib gpu gpu_count vram_gib engine engine_version backend ctx depth concurrency "
    "kv_type_k kv_type_v flash_attn n_gpu_layers n_cpu_moe parallel kv_unified batch ubatch tensor_parallel "
    "spec_decode"
)
FIGURES = (
    "decode_tps decode_tps_full_context decode_tps_total prefill_tps ttft_ms memory oom_probability "
    "oom_probability_start fits "
    "basis support"
)
MEMORY = (
    "weights_mib kv_cache_mib recurrent_state_mib compute_mib output_host_mib overhead_mib total_mib "
    "available_mib"
)
EVIDENCE = (
    "source_url observed_on gpu model quant engine engine_version depth concurrency decode_tps prefill_tps "
    "vram_used_gib differs_in"
)


@pytest.fixture(autouse=True)
def _home(shipped_home, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(shipped_home))


def has(found, keys):
    assert set(keys.split()) <= set(found), set(keys.split()) - set(found)


def check_prediction(found):
    has(found, "schema_version config command env prediction evidence notes warnings why")
    has(found["config"], CONFIG)
    has(found["prediction"], FIGURES)
    has(found["prediction"]["memory"], MEMORY)
    for figure in ("decode_tps", "decode_tps_full_context", "decode_tps_total", "prefill_tps", "ttft_ms"):
        interval = found["prediction"][figure]
        assert 0 < interval["low"] <= interval["value"] <= interval["high"]
        assert interval["level"] == 0.8
    assert 0 <= found["prediction"]["oom_probability"] <= 1
    assert found["prediction"]["basis"] in {"measured", "interpolated", "extrapolated", "physics"}
    assert len(found["evidence"]) <= 5
    for run in found["evidence"]:
        has(run, EVIDENCE)
        assert run["source_url"]
    for note in found["notes"]:
        has(note, "engine version released_on claim evidence_url")
    for warning in found["warnings"]:
        has(warning, "rule text evidence_url")
    assert found["command"]
    assert found["why"]


def plain(answer):
    """The answer as a program reads it: what `--json` prints."""
    return json.loads(answer.model_dump_json())


def test_a_recommendation_has_every_key_of_the_contract():
    found = plain(service.recommend(**QWEN, ctx="256Ki"))
    has(found, "schema_version request recommendations rejected")
    assert found["request"]["ctx"] == 262144
    assert found["recommendations"]
    for item in found["recommendations"]:
        check_prediction(item)
        assert item["prediction"]["oom_probability"] <= found["request"]["max_oom"]
        assert item["prediction"]["fits"]
    for item in found["rejected"]:
        has(item, "config reason")


def test_several_gpus_are_listed_each():
    found = plain(advisor.predict(model="llama 3.3 70b instruct", quant="Q4_K_M", gpu="2x3090", ctx="16k"))
    check_prediction(found)
    memory = found["prediction"]["memory"]
    assert len(memory["per_gpu"]) == found["config"]["gpu_count"] == 2
    for device in memory["per_gpu"]:
        has(device, MEMORY)
    assert memory["total_mib"] == max(device["total_mib"] for device in memory["per_gpu"])


ASKED = [
    {**QWEN, "ctx": "256Ki"},
    {**QWEN, "ctx": 65536, "concurrency": 3, "vram_used": 1.5},
    {
        "model": "qwen3.5-27b",
        "gpu": "4090",
        "vram": 48,
        "ctx": "100k",
        "concurrency": 2,
        "goal": "throughput",
    },
    {"gpu": "rx 7900 xtx", "ctx": "32k", "goal": "speed", "top": 4},
    {"model": "qwen3.5-122b-a10b", "gpu": "4090", "ctx": "16k", "ram": 128, "max_oom": 0.5, "min_tps": 0.1},
]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_predict_answers_as_recommend_did(asked):
    found = service.recommend(**asked)
    host = {name: asked[name] for name in ("vram_used", "ram") if name in asked}
    assert found.recommendations
    for item in found.recommendations[:3]:
        again = service.predict(**options_of(item.config), **host)
        assert again.config == item.config
        assert again.prediction == item.prediction
        assert again.command == item.command


def test_a_prediction_is_the_same_every_time():
    asked = {**QWEN, "quant": "Q4_K_M", "ctx": "64k"}
    assert service.predict(**asked) == service.predict(**asked)


def test_the_default_of_llama_server_at_a_full_context_does_not_fit_where_a_narrower_cache_does():
    asked = {**QWEN, "quant": "Q4_K_M", "weights_gib": 18.35, "ctx": 262144}
    assert not service.predict(**asked).prediction.fits
    assert service.predict(**asked, kv_type="q8_0").prediction.fits


def test_the_format_may_stand_behind_the_model_and_the_engine_follows_from_it():
    assert service.predict(model="qwen3.5 27b fp8", gpu="a100 80gb", ctx="32k").config.engine == "vllm"
    found = service.predict(model="unsloth/Qwen3.5-9B-GGUF:UD-Q4_K_XL", gpu="3060 12gb", ctx="32k")
    assert (found.config.quant, found.config.engine) == ("UD-Q4_K_XL", "llama.cpp")


def test_a_fine_tune_is_launched_from_its_own_files_with_a_warning():
    found = service.predict(model="someone/Qwen3.5-9B-Pirate-Tales", quant="Q4_K_M", gpu="3090", ctx="8k")
    assert found.config.model == "Qwen/Qwen3.5-9B"
    assert "Pirate" in found.command
    assert "base-model" in {warning.rule for warning in found.warnings}


def test_the_backend_is_the_usual_one_of_the_vendor():
    backends = {
        gpu: service.predict(
            model="qwen3.5-9b", quant="Q4_K_M", gpu=gpu, ctx="8k", ram=64, **more
        ).config.backend
        for gpu, more in (("3090", {}), ("6800 xt", {}), ("arc b580", {}), ("m4 max", {"vram": 64}))
    }
    assert backends == {"3090": "cuda", "6800 xt": "vulkan", "arc b580": "vulkan", "m4 max": "metal"}


def test_without_a_context_the_default_is_stated_in_the_answer():
    assert service.predict(**QWEN, quant="Q4_K_M").config.ctx == 32768


def test_options_that_nobody_knows_are_refused():
    with pytest.raises(UsageError, match="ctx"):
        service.predict(**QWEN, quant="Q4_K_M", ctxx=5)


WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["0", "-1", "1e400", "nan", "inf", "٣", "1_0", "auto", "5%", "q4_0", "\x00", "9" * 40]),
    st.integers(), st.floats(), st.booleans(),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(Options.__annotations__)), WORDS)
def test_whatever_is_written_in_an_option_is_understood_or_refused_in_a_line(option, word):
    with suppress(UsageError):  # anything else is a defect
        assert understand({"gpu": "3090", "model": "qwen3.5-9b", option: word}, CATALOG).request.ctx >= 1


@given(st.builds(
    LaunchConfig, model=st.just("Qwen/Qwen3.5-9B"), quant=st.just("Q4_K_M"), gpu=st.just("RTX 3090"),
    vram_gib=st.sampled_from([24.0, 22.5]), ctx=st.integers(4096, 200_000), depth=st.integers(0, 4096),
    prompt=st.integers(1, 4096), concurrency=st.integers(1, 9), n_gpu_layers=st.none() | st.integers(0, 99),
    parallel=st.none() | st.integers(1, 9), ubatch=st.integers(32, 2048), backend=st.just("vulkan"),
    kv_unified=st.none() | st.booleans(), flash_attn=st.booleans(),
).filter(lambda launch: launch.parallel is not None or launch.concurrency <= slots(launch)[0]))  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_configuration_is_asked_for_by_its_own_options(launch):
    # more users than the server's own slots are given a slot each, where none were asked for
    asked = understand(options_of(launch), CATALOG)
    assert service.exact_setup(asked, CATALOG).launch == launch


def test_a_question_can_be_asked_twice():
    """A submodule of the same name would take the function's place on first use."""
    modules = {module.name for module in pkgutil.iter_modules(advisor.__path__)}
    assert not modules & set(advisor.__all__)
    command = "llama-server -hf unsloth/Qwen3-8B-GGUF:Q4_K_M -c 8192"
    assert advisor.check(command, gpu="4090") == advisor.check(command, gpu="4090")
