"""Where llama.cpp puts things: splits over even and uneven cards, the host, projectors and drafters."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.config import Host, LaunchConfig, Setup
from advisor.memory import account
from advisor.memory.placement import place
from knowledge.catalog import default_catalog
from knowledge.names.quant import resolve_quant
from knowledge.weights import weight_bytes

CATALOG = default_catalog()


def setup(name="Qwen/Qwen3-32B", quant="Q4_K_M", gpu="RTX 3090", **launch):
    model, form = CATALOG.models[name], resolve_quant(quant, CATALOG)
    config = LaunchConfig(
        model=name, quant=quant, gpu=gpu, **({"vram_gib": 24.0, "ctx": 32768, "parallel": 1} | launch)
    )
    return Setup(config, model, form, weight_bytes(model, form), CATALOG.gpus[gpu], Host(headless=True))


def layers(case):
    return [round(share * case.model.n_layers) for share in place(case).shares]


def test_layers_go_where_the_split_says():
    """As llama.cpp counts: 64 layers and the output are 65 places, each by its position in the split."""
    assert layers(setup(gpu_count=2)) == [33, 31]  # the output is the 65th place, on the last card
    assert layers(setup(gpu_count=2, tensor_split=(3.0, 1.0))) == [49, 15]
    assert layers(setup(gpu_count=2, tensor_split=(1.0,))) == [64, 0]
    assert layers(setup(gpu_count=2, vram_per_gpu_gib=(24.0, 12.0))) == [44, 20]
    assert place(setup(gpu_count=2, tensor_split=(1.0,))).output_on == 0


@given(
    split=st.lists(st.floats(0, 10), min_size=2, max_size=4).filter(lambda parts: sum(parts) > 0.1),
    ngl=st.none() | st.integers(0, 70),
)
def test_a_split_conserves_weights_and_cache(split, ngl):
    count = len(split)
    one = account(setup(n_gpu_layers=ngl))
    many = account(setup(gpu_count=count, tensor_split=tuple(split), n_gpu_layers=ngl))
    for part in ("weights_mib", "kv_cache_mib"):
        assert sum(getattr(card, part) for card in many.per_gpu) == pytest.approx(getattr(one, part))
    assert many.host_mib == pytest.approx(one.host_mib)
    assert many.total_mib in {card.total_mib for card in many.per_gpu}


def test_the_card_with_the_least_room_is_named():
    uneven = account(setup(gpu_count=2, vram_per_gpu_gib=(24.0, 12.0), tensor_split=(1.0, 1.0)))
    assert uneven.available_mib == pytest.approx(min(card.available_mib for card in uneven.per_gpu))


def test_what_else_lies_on_the_card():
    plain = account(setup())
    projector = account(setup(mmproj_gib=0.9))
    assert projector.weights_mib - plain.weights_mib == pytest.approx(0.9 * 1024)
    assert projector.growth_mib > plain.growth_mib == 0
    drafter = account(setup(draft_gib=1.0))
    assert drafter.weights_mib - plain.weights_mib == pytest.approx(1024)
    assert drafter.kv_cache_mib > plain.kv_cache_mib
    host_cache = account(setup(kv_offload=False))
    assert host_cache.kv_cache_mib == 0
    assert host_cache.host_mib - plain.host_mib == pytest.approx(plain.kv_cache_mib)
    two = account(setup(gpu_count=2, mmproj_gib=0.9, draft_gib=1.0))
    bare = account(setup(gpu_count=2))
    added = [a.weights_mib - b.weights_mib for a, b in zip(two.per_gpu, bare.per_gpu, strict=True)]
    assert added == pytest.approx([0.9 * 1024, 1024])  # the first card reads images, the last one drafts


def test_a_full_window_costs_a_full_cache():
    gemma = setup("google/gemma-3-27b-it")
    wide = replace(gemma, launch=gemma.launch.model_copy(update={"swa_full": True}))
    full = gemma.model.layers_full + gemma.model.layers_sliding
    per_layer = account(wide).kv_cache_mib / full
    assert account(gemma).kv_cache_mib < account(wide).kv_cache_mib
    assert account(gemma).kv_cache_mib > gemma.model.layers_full * per_layer


def test_shared_memory_holds_the_host_buffer_too():
    """Vulkan's host buffer is the same pool on an APU; on a card it is not."""
    name = "Qwen/Qwen3-30B-A3B"
    apu = setup(name, gpu="Strix Halo (Radeon 8060S)", vram_gib=110.0, backend="vulkan")
    rocm = replace(apu, launch=apu.launch.model_copy(update={"backend": "rocm"}))
    lookup = apu.weights.token_embd / 1024**2
    difference = account(apu).overhead_mib - account(rocm).overhead_mib
    assert difference == pytest.approx(lookup + 120 - 250)
    card = setup(name, gpu="RX 7900 XTX", backend="vulkan")
    assert account(card).overhead_mib == pytest.approx(120)
