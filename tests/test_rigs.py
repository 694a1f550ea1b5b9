"""Cards that differ in one machine: their names, what they are together, and what lies on each."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import advisor
from knowledge.catalog import default_catalog
from knowledge.errors import UnknownNameError, UnsupportedError, UsageError
from knowledge.names.rig import device, resolve_rig

CATALOG = default_catalog()
CARDS = [
    gpu for gpu in CATALOG.gpus.values()
    if gpu.kind == "gpu" and gpu.vendor == "NVIDIA" and gpu.memory_gib and gpu.bandwidth_gbps
]  # fmt: skip
MODEL = {"model": "qwen3-8b", "quant": "Q4_K_M", "ctx": 16384}


def rig(*names):
    return resolve_rig(" + ".join(names), CATALOG)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(CARDS), min_size=2, max_size=6))
def test_a_rig_is_named_by_its_cards_and_lies_between_them(cards):
    found = rig(*(card.name for card in cards))
    assert found.count == len(cards)
    if len({card.name for card in cards}) == 1:
        assert found.gpu is cards[0]
        return
    again = resolve_rig(found.gpu.name, CATALOG)
    assert again.gpu == found.gpu == device(found.gpu.name, CATALOG)
    assert found.gpu.memory_each_gib == tuple(card.memory_gib for card in cards)
    rates = [card.bandwidth_gbps for card in cards]
    assert min(rates) <= found.gpu.bandwidth_gbps * (1 + 1e-9)
    assert found.gpu.bandwidth_gbps <= max(rates) * (1 + 1e-9)


def test_the_rate_of_a_rig_is_that_of_reading_each_card_in_turn():
    found = rig("RTX 3090", "RTX 3060 12GB").gpu
    fast, slow = CATALOG.gpus["RTX 3090"], CATALOG.gpus["RTX 3060 12GB"]
    seconds = 24 / fast.bandwidth_gbps + 12 / slow.bandwidth_gbps
    assert found.bandwidth_gbps == pytest.approx(36 / seconds)
    assert found.fp8_tflops is None
    assert found.compute_capability == "8.6"
    assert rig("RTX 4090", "RTX 3090").gpu.compute_capability == "8.6"


@pytest.mark.parametrize("text", ["3090+3060 12gb", "3090, 3060", "rtx 3090 + nvidia geforce rtx 3060"])
def test_spellings(text):
    assert resolve_rig(text, CATALOG).gpu.name == "RTX 3090 + RTX 3060 12GB"


def test_sizes_and_counts_within_names_stay():
    found = resolve_rig("2x3090+4090 48gb", CATALOG)
    assert found.count == 3
    assert found.gpu.memory_each_gib == (24, 24, 48)
    assert resolve_rig("3090,3090", CATALOG).count == 2
    assert resolve_rig("3090+3090", CATALOG, 23.5).vram_gib == 23.5


@pytest.mark.parametrize(
    ("text", "vram", "error", "said"),
    [
        ("3090+foo", None, UnknownNameError, "foo"),
        ("3090+", None, UnknownNameError, "3090+"),
        ("+", None, UnknownNameError, "unknown GPU"),
        ("3090+7900xtx", None, UsageError, "AMD and NVIDIA"),
        ("3090+m4 max", None, UsageError, "M4 Max"),
        ("3090+3060", 24.0, UsageError, "one size"),
        ("16x3090+3060", None, UsageError, "17 cards"),
    ],
)
def test_what_is_no_rig(text, vram, error, said):
    with pytest.raises(error, match=said.replace("+", r"\+")):
        resolve_rig(text, CATALOG, vram)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(CARDS), min_size=2, max_size=4))
def test_what_lies_on_the_cards_is_what_lies_on_one(cards):
    one = advisor.predict(**MODEL, gpu="B200", engine="llama.cpp").prediction.memory
    memory = advisor.predict(
        **MODEL, gpu=" + ".join(c.name for c in cards), engine="llama.cpp"
    ).prediction.memory
    for part in ("weights_mib", "kv_cache_mib"):
        assert sum(getattr(card, part) for card in memory.per_gpu) == pytest.approx(getattr(one, part))


def test_a_larger_card_holds_more_and_a_token_waits_for_both():
    mixed = advisor.predict(**MODEL, gpu="3090+3060")
    fast, slow = advisor.predict(**MODEL, gpu="3090"), advisor.predict(**MODEL, gpu="3060 12gb")
    large, small = mixed.prediction.memory.per_gpu
    assert large.weights_mib > 1.6 * small.weights_mib
    rates = [answer.prediction.decode_tps.value for answer in (slow, mixed, fast)]
    assert rates == sorted(rates)
    assert mixed.config.vram_per_gpu_gib == (24, 12)
    assert "-sm layer" in mixed.command
    assert "-ts" not in mixed.command


def test_a_command_of_recommend_is_checked_alike():
    best = advisor.recommend(model="qwen3.6-27b", gpu="3090+3060", ctx=32768, top=1).recommendations[0]
    checked = advisor.check(best.command, gpu="3090+3060")
    assert checked.prediction.memory == best.prediction.memory
    assert checked.prediction.oom_probability == best.prediction.oom_probability


def test_an_uneven_split_moves_layers():
    even = advisor.check(
        "llama-server -hf unsloth/Qwen3-8B-GGUF:Q4_K_M -c 8192 -ngl 99 -ts 1,1", gpu="3090+3060"
    )
    large, small = even.prediction.memory.per_gpu
    assert large.weights_mib == pytest.approx(small.weights_mib, rel=0.2)


def test_layers_run_at_the_rate_of_the_card_that_they_lie_on():
    line = "llama-server -hf unsloth/Qwen3-8B-GGUF:Q4_K_M -c 8192 -ngl 99 -ts {}"
    rates = [
        advisor.check(line.format(split), gpu="3090+3060").prediction.decode_tps.value
        for split in ("0,1", "1,1", "2,1", "5,1", "40,1")
    ]
    assert rates == sorted(rates)
    assert rates[-1] > 1.8 * rates[0]


def test_servers_that_split_evenly_refuse():
    with pytest.raises(UnsupportedError, match="evenly"):
        advisor.predict(model="qwen3-8b", quant="BF16", ctx=4096, gpu="3090+3060", engine="vllm")
    with pytest.raises(UsageError, match="evenly"):
        advisor.check("vllm serve Qwen/Qwen3-8B -tp 2", gpu="3090+3060")
    with pytest.raises(UsageError, match="uses 1 of the 2"):
        advisor.check("llama-server -hf unsloth/Qwen3-8B-GGUF:Q4_K_M -sm none", gpu="3090+3060")


@pytest.mark.parametrize(
    ("line", "gpu", "change"),
    [
        ("-m Qwen3.6-27B-Q6_K.gguf -c 131072 -ngl 99 -ts 1,1", "3090+3060", "layers split 4"),
        ("-m Qwen3.6-27B-Q6_K.gguf -c 65536 -ngl 99 -np 1 -ts 1,1", "3090+3060", "by the cards' memory"),
        ("-m Qwen3.6-27B-Q6_K.gguf -c 131072 -ngl 99 -np 1 -ts 5,1", "2x3090", "by the cards' memory"),
    ],
)
def test_another_split_is_offered_and_fits(line, gpu, change):
    before = advisor.check(f"llama-server {line}", gpu=gpu)
    assert before.verdict == "oom"
    fix = before.fixes[0]
    assert change in fix.change
    after = advisor.check(fix.command, gpu=gpu)
    assert after.verdict == "fits"
    assert after.prediction.oom_probability == fix.oom_probability
    assert after.prediction.decode_tps == fix.decode_tps
