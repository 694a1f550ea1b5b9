"""Release notes and explanations: they speak of this configuration, and of nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor import service
from advisor.config import Interval, LaunchConfig, PredictedFigures, Setup
from advisor.engines.rules import parse_condition
from advisor.engines.traits import NOT_STATED, setup_facts
from advisor.explain import why
from advisor.memory import account
from advisor.notes import notes_for
from knowledge.catalog import default_catalog
from knowledge.weights import weight_bytes

CATALOG = default_catalog()
HYBRID, DENSE = "Qwen/Qwen3.5-35B-A3B", "Qwen/Qwen3-8B"
LATER, LATEST = "Qwen/Qwen3.6-35B-A3B", "Qwen/Qwen3.8-27B"


def setup_of(model=DENSE, quant="Q4_K_M", gpu="RTX 4090", **launch):
    spec, kind, device = CATALOG.models[model], CATALOG.quants[quant], CATALOG.gpus[gpu]
    config = LaunchConfig(
        model=model, quant=quant, gpu=gpu, vram_gib=device.memory_gib, **{"ctx": 32768, **launch}
    )
    return Setup(config, spec, kind, weight_bytes(spec, kind), device)


def claims(setup, limit=1000):
    return " | ".join(note.claim for note in notes_for(setup, CATALOG, limit))


def vllm(model=DENSE, quant="FP8", gpu="RTX 4090", **launch):
    return setup_of(model, quant, gpu, engine="vllm", **launch)


FP8_KV = {"kv_type_k": "fp8", "kv_type_v": "fp8"}
TOUCHING = [
    ("Mamba prefix caching supported", vllm("Qwen/Qwen3.5-27B"), vllm(DENSE)),
    ("NVFP4 NaN on desktop Blackwell", vllm(gpu="RTX 5090"), vllm()),
    ("NVFP4 KV cache support", vllm(gpu="RTX 5090", **FP8_KV), vllm(gpu="RTX 5090")),
    ("ROCm beats Vulkan", setup_of(gpu="RX 6800 XT"), setup_of()),
    ("mixed KV silently ran attention on CPU", setup_of(kv_type_k="q8_0"), setup_of()),
    ("MTP runs 118-170", setup_of(LATER, spec_decode="mtp"), setup_of(LATER)),
    ("Experts of the first N layers", setup_of(HYBRID, n_cpu_moe=4), setup_of(HYBRID)),
    ("CUTLASS FP4 kernel", vllm(LATEST, gpu="RTX 5090"), vllm(LATEST)),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "hit", "miss"), TOUCHING, ids=[row[0] for row in TOUCHING])
def test_a_note_is_shown_where_it_applies_and_not_beside_it(claim, hit, miss):
    assert claim in claims(hit)
    assert claim not in claims(miss)


def test_notes_are_of_the_engine_newest_first_and_limited():
    notes = notes_for(vllm("Qwen/Qwen3.5-27B", **FP8_KV), CATALOG, 1000)
    dates = [note.released_on for note in notes if note.released_on]
    assert dates == sorted(dates, reverse=True)
    assert {note.engine for note in notes} == {"vllm"}
    assert all(note.evidence_url for note in notes)
    assert notes_for(vllm("Qwen/Qwen3.5-27B", **FP8_KV), CATALOG, 3) == notes[:3]
    assert notes_for(setup_of(), CATALOG, 0) == []


def test_every_note_says_where_it_applies_in_known_facts():
    facts = setup_facts(setup_of())
    for note in CATALOG.release_notes:
        for term in parse_condition(note.applies_to):
            assert term.fact in facts or term.fact in NOT_STATED, note.claim
            term.holds(facts)


def figures_of(setup, decode=100.0, full=50.0):
    def interval(value):
        return Interval(value=value, low=value, high=value)

    return PredictedFigures(
        decode_tps=interval(decode), decode_tps_full_context=interval(full), decode_tps_total=None,
        prefill_tps=None, ttft_ms=None, memory=account(setup), oom_probability=0.0,
        oom_probability_start=0.0, fits=True,
        basis="physics", support=0,
    )  # fmt: skip


def explained(**launch):
    setup = setup_of(**launch)
    return why(setup, figures_of(setup))


def test_the_explanation_names_what_limits_and_what_the_context_costs():
    text = explained(model=HYBRID, gpu="RTX 5090", ctx=262144, parallel=1)
    assert "3B of 34.7B parameters active" in text.replace("2.95B", "3B")
    assert "256Ki tokens cost 5,120 MiB of KV cache and 63 MiB of recurrent state" in text
    assert "then reading the KV cache" in text
    assert "100 tok/s become 50.0" in text


def test_a_narrow_cache_is_explained_by_what_the_wide_one_would_need():
    assert "The cache is" not in explained(model=DENSE, ctx=8192)
    assert "would stay free" in explained(model=DENSE, ctx=8192, kv_type_k="q8_0", kv_type_v="q8_0")
    tight = explained(
        model=HYBRID, quant="UD-Q4_K_XL", gpu="RTX 3090", ctx=262144, kv_type_k="q8_0", kv_type_v="q8_0"
    )
    assert "because f16 would lack" in tight


def test_a_narrow_cache_is_said_to_be_slower_where_it_is():
    narrow = {"model": HYBRID, "quant": "IQ4_XS", "ctx": 65536, "kv_type_k": "q8_0", "kv_type_v": "q8_0"}
    assert "costs speed at depth here" in explained(gpu="RTX 3090", backend="cuda", **narrow)
    assert "is read faster" in explained(gpu="RX 7900 XTX", backend="vulkan", **narrow)


def test_what_lies_in_host_ram_is_said():
    text = explained(model=HYBRID, n_cpu_moe=30)
    assert "lie in host RAM" in text
    assert "reading what lies in host RAM" in text


@given(
    st.sampled_from([HYBRID, DENSE, "zai-org/GLM-4.7-Flash", "google/gemma-3-27b-it", "openai/gpt-oss-20b"]),
    st.integers(256, 131072),
    st.integers(1, 8),
    st.sampled_from(["f16", "q8_0", "q4_0"]),
)
def test_every_explanation_is_a_few_plain_sentences(model, ctx, concurrency, kv_type):
    text = explained(model=model, ctx=ctx, concurrency=concurrency, kv_type_k=kv_type, kv_type_v=kv_type)
    assert text.endswith(".")
    assert 2 <= text.count(". ") + 1 <= 5
    assert "nan" not in text
    assert "inf" not in text


def test_without_a_speed_nothing_is_said_about_it():
    setup = setup_of()
    silent = figures_of(setup).model_copy(update={"decode_tps": None})
    assert "decoding" not in why(setup, silent)


@pytest.mark.parametrize(
    "words",
    [
        "mamba prefix caching",
        "streaming input",
        "async scheduling pipeline",
        "FlashInfer MLA",
        "FP4 quantization",
    ],
)
def test_the_five_notes_of_the_first_day_are_found_with_their_release(words):
    found = service.notes(words, engine="vllm").notes
    first = [note for note in found if note.version == "0.15.0"]
    assert first
    assert {note.released_on for note in first} == {"2026-01-29"}


@pytest.mark.parametrize("words", ["mamba", "async scheduling", "FlashInfer", "FP4"])
def test_what_later_versions_changed_of_them_is_found_too(words):
    assert service.notes(words, engine="vllm", since="0.16").notes
