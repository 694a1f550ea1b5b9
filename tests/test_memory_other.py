"""MLX and ExLlama: sizes against published figures, monotonicity, and what they refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.config import Host, LaunchConfig, Setup
from advisor.memory import ENGINES, account
from advisor.risk import risk_of
from knowledge.catalog import default_catalog
from knowledge.errors import UnsupportedError
from knowledge.names.quant import resolve_quant
from knowledge.weights import weight_bytes

CATALOG = default_catalog()
OTHER = {"mlx": ("M4 Pro", "MLX-8bit", 48.0), "exllamav3": ("RTX 3090", "EXL3-4.0bpw", 24.0)}
DRAFTING = {
    "quant": "EXL3-5.0bpw", "ctx": 262144, "kv_type_k": "q4_0", "kv_type_v": "q4_0", "spec_decode": "mtp",
}  # fmt: skip


def setup(engine, name="Qwen/Qwen3.5-9B", **launch):
    gpu, quant, gib = OTHER[engine]
    gpu = next(known for known in CATALOG.gpus if known.startswith(gpu))
    model, form = CATALOG.models[name], resolve_quant(launch.pop("quant", quant), CATALOG)
    config = LaunchConfig(
        model=name, quant=form.name, gpu=gpu, engine=engine, **({"vram_gib": gib, "ctx": 2176} | launch)
    )
    return Setup(config, model, form, weight_bytes(model, form), CATALOG.gpus[gpu], Host(headless=True))


@pytest.mark.parametrize(
    ("engine", "model", "launch", "measured_mib"),
    [
        # peak memory that mlx_lm.benchmark printed (data/observations/llmfit_localmaxxing_cache.csv)
        ("mlx", "Qwen/Qwen3.5-4B", {}, 6347),
        ("mlx", "Qwen/Qwen3.5-9B", {}, 11448),
        ("mlx", "google/gemma-4-26B-A4B-it", {"quant": "MLX-4bit"}, 16118),
        # a 32B of 4.0 bits with 8,192 tokens (data/memory/memory_cases.csv)
        ("exllamav3", "Qwen/Qwen3-32B", {"ctx": 8192}, 18665),
        ("exllamav3", "Qwen/Qwen3-32B", {"ctx": 8192, "kv_type_k": "q4_0", "kv_type_v": "q4_0"}, 16827),
        ("exllamav3", "Qwen/Qwen3-32B", {"ctx": 8192, "kv_type_k": "q4_0", "kv_type_v": "q8_0"}, 17097),
        # TabbyAPI with the model's own drafts, 25.65 GiB (data/observations/depth_and_concurrency.csv)
        ("exllamav3", "Qwen/Qwen3.8-27B", DRAFTING, 26266),
    ],
)
def test_published_sizes(engine, model, launch, measured_mib):
    assert account(setup(engine, model, **launch)).total_mib == pytest.approx(measured_mib, rel=0.08)


@given(engine=st.sampled_from(sorted(OTHER)), ctx=st.integers(256, 200_000), more=st.integers(0, 60_000))
def test_more_context_never_needs_less(engine, ctx, more):
    base = account(setup(engine, ctx=ctx))
    assert account(setup(engine, ctx=ctx + more)).total_mib >= base.total_mib
    assert account(setup(engine, ctx=ctx, kv_type_k="q4_0")).total_mib <= base.total_mib
    risk = risk_of(setup(engine, ctx=ctx), base)
    assert 0 < risk.start <= risk.full <= 1


@pytest.mark.parametrize("engine", sorted(OTHER))
def test_types_they_lack_are_refused(engine):
    with pytest.raises(UnsupportedError, match="KV cache type"):
        account(setup(engine, kv_type_k="turbo3"))
    assert engine in ENGINES


EXL3_27B = {"name": "Qwen/Qwen3.8-27B", "ctx": 32768}
FLASH_NEXT = {
    "name": "Qwen/Qwen3.8-Flash-Next", "quant": "EXL3-3.05bpw", "ctx": 262144, "kv_type_k": "q4_0",
    "kv_type_v": "q4_0", "gpu_count": 2, "vram_gib": 20.0,
}  # fmt: skip


def exl3(**launch):
    return account(setup("exllamav3", **{**EXL3_27B, **launch}))


def test_exllamas_parts_are_those_of_a_measured_server():
    """Two 3080s of 20 GB, 26 of 48 layers' experts on the host (tabbyAPI issues 473 and 477)."""
    before, after = exl3(**FLASH_NEXT, spec_decode="mtp"), exl3(**FLASH_NEXT, spec_decode="mtp", n_cpu_moe=26)
    plain = exl3(**FLASH_NEXT)
    assert 2 * plain.kv_cache_mib == pytest.approx(1.65 * 1024, rel=0.05)
    assert 2 * after.recurrent_state_mib == pytest.approx(2.26 * 1024, rel=0.05)
    assert (after.host_mib - before.host_mib) / 26 == pytest.approx(909.4, rel=0.02)
    assert 2 * (before.weights_mib - after.weights_mib) == pytest.approx(after.host_mib - before.host_mib)


def test_exllamas_cache_is_what_it_was_told_to_keep():
    base = exl3()
    assert exl3(concurrency=4).kv_cache_mib == 4 * base.kv_cache_mib
    assert exl3(concurrency=4, cache_tokens=32768).kv_cache_mib == base.kv_cache_mib
    assert exl3(cache_tokens=65536).kv_cache_mib == 2 * base.kv_cache_mib
    # 2 to 8 bits and half a bit of scales
    for kind, bits in (("q8_0", 8), ("q7", 7), ("q6", 6), ("q5_0", 5), ("q4_0", 4), ("q3", 3), ("q2", 2)):
        both = exl3(kv_type_k=kind, kv_type_v=kind).kv_cache_mib
        assert both == pytest.approx(base.kv_cache_mib * (bits + 0.5) / 16)
        assert exl3(kv_type_v=kind).kv_cache_mib == pytest.approx((base.kv_cache_mib + both) / 2)


def test_exllamas_states_are_those_of_every_job():
    one = exl3(max_num_seqs=1).recurrent_state_mib
    assert exl3().recurrent_state_mib == 4 * one
    assert exl3(max_num_seqs=1, spec_decode="mtp:2").recurrent_state_mib == 3 * one
    assert exl3(name="Qwen/Qwen3-32B").recurrent_state_mib == 0
    assert exl3(max_num_batched_tokens=512).compute_mib < exl3().compute_mib


def test_exllama_fills_cards_in_order_up_to_their_limits():
    first, second = exl3(gpu_count=2, tensor_split=(6.0, 20.0)).per_gpu
    assert first.total_mib - first.overhead_mib == pytest.approx(6 * 1024)
    assert first.available_mib == pytest.approx(6 * 1024 + first.overhead_mib)
    assert first.weights_mib + second.weights_mib == pytest.approx(exl3().weights_mib)
    # what the limits do not hold is missing on the last card
    scarce = exl3(gpu_count=2, tensor_split=(6.0, 6.0))
    assert scarce.total_mib > scarce.available_mib
    split = exl3(gpu_count=2, tensor_split=(6.0, 18.0), tensor_parallel=2).per_gpu
    assert split[1].weights_mib == pytest.approx(3 * split[0].weights_mib)


def test_exllama_counts_what_is_loaded_beside_the_model():
    assert exl3(mmproj_gib=1.0, draft_gib=0.5).weights_mib == exl3().weights_mib + 1536
