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
        ("exllamav3", "Qwen/Qwen3-32B", {"ctx": 8192, "kv_type_k": "q4_0"}, 16962),
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
