"""Speed as physics: what must hold for every device, model and load, whatever was fitted."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.asking import understand
from advisor.memory.kv_cache import attention_rows
from advisor.service import exact_setup
from advisor.speed.ageing import AGEING_PER_YEAR, unfused
from advisor.speed.builds import assumed_year, build_year, year_of
from advisor.speed.coefficients import Coefficients, group_path
from advisor.speed.device import bandwidth_bytes_per_s, issue_bytes_per_s, peak_flop_per_s
from advisor.speed.figures import speed_figures
from advisor.speed.intervals import Support, Widths, regime
from advisor.speed.model import ARTEFACT, Query, first_token_seconds, load_model, speculation_key
from advisor.speed.rates import attention_flop_per_s, product_flop_per_s, unpack_ops, vector_bytes_per_s
from advisor.speed.roofline import (
    DECODE_PARTS,
    PREFILL_PARTS,
    decode_parts,
    pipelined,
    prefill_parts,
    split_of,
)
from advisor.speed.work import work_of
from advisor.training.fit import DECODE_RANGES, PREFILL_RANGES
from knowledge.catalog import default_catalog
from knowledge.errors import UnsupportedError
from knowledge.kv_types import row_bytes

CATALOG = default_catalog()
MODEL = load_model(ARTEFACT)


def setup_of(**options):
    asked = understand(
        {"ctx": "64k", "gpu": "3090", "quant": "Q4_K_M", "model": "qwen3.5-9b", **options}, CATALOG
    )
    return exact_setup(asked, CATALOG)


def timed(parts, names):
    return dict(zip(names, parts, strict=True))


MOE = {"model": "qwen3.5-35b-a3b"}
SETUPS = [
    setup_of(),
    setup_of(**MOE),
    setup_of(**MOE, gpu="4090", vram=48, quant="FP8"),
    setup_of(model="gemma-3-27b-it", gpu="2x3090"),
    setup_of(model="gpt-oss-20b", quant="MXFP4", gpu="5060 ti 16gb"),
    setup_of(model="llama 3.1 8b instruct", gpu="m4 max", vram=64, quant="Q8_0"),
    setup_of(**MOE, gpu="3060 12gb", n_cpu_moe=30, ram=64),
    setup_of(model="glm-4.7-flash", gpu="7900 xtx"),
]
SETUP = st.sampled_from(SETUPS)
DEPTH = st.integers(0, 250_000)


@given(SETUP, DEPTH, DEPTH)
@settings(max_examples=60, deadline=None)
def test_decoding_never_gets_faster_with_depth(setup, one, other):
    shallow, deep = sorted((one, other))
    steps = MODEL.decode_seconds([Query(setup, depth=float(shallow)), Query(setup, depth=float(deep))])
    assert steps[0] <= steps[1]


@given(SETUP, st.integers(1, 64), st.integers(1, 64), DEPTH)
@settings(max_examples=60, deadline=None)
def test_more_sequences_make_a_step_longer_but_no_sequence_free(setup, one, other, depth):
    few, many = sorted((one, other))
    steps = MODEL.decode_seconds([Query(setup, float(n), float(depth)) for n in (1, few, many)])
    assert steps[0] <= steps[1] <= steps[2] * (1 + 1e-12)
    # A crowd shares the weights, so that a step of n never takes as long as n steps of the fewer.
    assert steps[2] <= steps[1] * many / few * 1.0001 or few == 1


@given(SETUP, st.integers(1, 60_000), st.integers(1, 60_000), st.sampled_from([256, 512, 2048]))
@settings(max_examples=60, deadline=None)
def test_longer_prompts_take_longer(setup, one, other, chunk):
    short, long = sorted((one, other))
    seconds = MODEL.prefill_seconds(
        [Query(setup, prompt=float(n), chunk=float(chunk)) for n in (short, long)]
    )
    assert seconds[0] <= seconds[1] * (1 + 1e-9)


@given(SETUP, DEPTH, st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_no_part_of_a_step_is_negative_or_unknown(setup, depth, sequences):
    step = decode_parts(setup, sequences, depth, year=2026.0)
    prompt = prefill_parts(setup, 512, depth, 512, year=2026.0)
    assert (len(step), len(prompt)) == (len(DECODE_PARTS), len(PREFILL_PARTS))
    assert (len(DECODE_RANGES), len(PREFILL_RANGES)) == (len(DECODE_PARTS), len(PREFILL_PARTS))
    assert all(math.isfinite(part) and part >= 0 for part in (*step, *prompt))
    assert sum(step) > 0


@pytest.mark.parametrize("setup", SETUPS, ids=lambda s: f"{s.model.name} on {s.gpu.name}")
def test_no_answer_beats_the_memory_of_its_devices(setup):
    """Bandwidth ÷ bytes bounds a single sequence without speculation (SPEED, traps)."""
    figures = speed_figures([setup], MODEL)[0]
    work, split = work_of(setup), split_of(setup)
    on_device = work.dense * (1 - split.host_dense) + work.output
    on_device += work.experts * work.expert_share(1) * (1 - split.host_experts)
    bound = bandwidth_bytes_per_s(setup.gpu) * split.ways / on_device
    assert figures.decode_tps.value < bound
    assert figures.decode_tps.low < figures.decode_tps.value < figures.decode_tps.high
    assert figures.decode_tps_full_context.value <= figures.decode_tps.value


@given(st.sampled_from(list(CATALOG.models.values())), st.integers(1, 600))
@settings(max_examples=80, deadline=None)
def test_tokens_touch_between_the_experts_of_one_and_all(model, tokens):
    setup = setup_of()
    work = work_of(type(setup)(setup.launch, model, setup.quant, setup.weights, setup.gpu))
    if not model.is_moe:
        assert work.expert_share(tokens) == 0
        return
    one = model.n_experts_used / model.n_experts
    assert work.expert_share(1) == pytest.approx(one)
    assert one * 0.999 <= work.expert_share(tokens) <= 1
    assert work.expert_share(tokens) <= min(1, tokens * one) * 1.000001


@pytest.mark.parametrize("name", ["qwen3.5-9b", "gemma-3-27b-it", "glm-4.7-flash", "llama 3.1 8b instruct"])
def test_the_cache_that_is_read_is_the_cache_that_is_kept(name):
    """One answer: bytes per token of traffic equal the rows that memory accounts for."""
    setup = setup_of(model=name, kv_type="q8_0")
    kept = sum(
        row.layers * (row_bytes("q8_0", row.k_elements) + row_bytes("q8_0", row.v_elements))
        for row in attention_rows(setup.model)
        if not row.windowed
    )
    work = work_of(setup)
    assert work.kv_per_token == pytest.approx(kept)
    assert work.kv_bytes(4000) - work.kv_bytes(3999) >= kept * 0.999


def test_layers_that_share_a_cache_still_read_it():
    setup = setup_of(model="gemma-4-e4b-it")
    alone = sum(row.layers for row in attention_rows(setup.model))
    assert setup.model.n_kv_shared_layers > 0
    assert alone < setup.model.layers_full + setup.model.layers_sliding
    full = next(row for row in attention_rows(setup.model) if not row.windowed)
    per_layer = row_bytes("f16", full.k_elements) + row_bytes("f16", full.v_elements)
    assert work_of(setup).kv_per_token == pytest.approx(setup.model.layers_full * per_layer)


def test_a_windowed_layer_reads_no_more_than_its_window():
    work = work_of(setup_of(model="gemma-3-27b-it"))
    assert work.window > 0
    far, near = work.kv_bytes(work.window + 5000), work.kv_bytes(work.window)
    assert far - near == pytest.approx(5000 * work.kv_per_token)
    assert work.prefill_attention_flop(8000) > 2 * work.prefill_attention_flop(4000)


def test_blocks_are_pairs_of_mixer_and_feed_forward():
    nano = work_of(setup_of(model="nemotron-3-nano-30b-a3b"))
    assert nano.blocks == 26  # 52 layers, each of them half a block
    assert work_of(setup_of()).blocks == CATALOG.models["Qwen/Qwen3.5-9B"].n_layers


def test_experts_on_the_host_are_read_from_its_memory():
    device, host = (setup_of(**MOE, gpu="3090", n_cpu_moe=n, ram=64) for n in (0, 40))
    before, after = (timed(decode_parts(setup, 1, 0), DECODE_PARTS) for setup in (device, host))
    assert before["host"] == 0 < after["host"]
    assert after["experts"] == pytest.approx(0)
    faster = setup_of(**MOE, gpu="3090", n_cpu_moe=40, ram=64, ram_bandwidth=180)
    assert timed(decode_parts(faster, 1, 0), DECODE_PARTS)["host"] == pytest.approx(after["host"] / 3)


def test_tensor_parallel_halves_reading_and_adds_links():
    one = setup_of(model="qwen3.5-27b", quant="FP8", gpu="h100", engine="vllm")
    two = setup_of(model="qwen3.5-27b", quant="FP8", gpu="2xh100", engine="vllm")
    alone, shared = (timed(decode_parts(setup, 4, 1000), DECODE_PARTS) for setup in (one, two))
    assert shared["weights"] == pytest.approx(alone["weights"] / 2)
    assert alone["link"] == 0 < shared["link"]


def test_older_builds_are_slower_and_an_unknown_age_is_the_reference():
    setup = setup_of(model="llama 3.1 8b instruct")
    old, new, unknown, reference = (
        sum(decode_parts(setup, 1, 0, year=year)) for year in (2025.2, 2026.9, math.nan, 2026.0)
    )
    assert old > reference > new
    assert unknown == reference


def test_wide_memory_is_not_reached_by_few_multiprocessors():
    def reached(gpu, quant="Q4_K_M", year=2026.9):
        setup = setup_of(model="llama 3.1 8b instruct", quant=quant, gpu=gpu)
        return vector_bytes_per_s(setup, year) / bandwidth_bytes_per_s(setup.gpu)

    assert reached("A100 SXM 80GB") < 0.6
    assert reached("RTX 4090") > 0.9
    assert reached("H100 SXM", "F16") > reached("H100 SXM", "F16", 2024.5) == reached("H100 SXM")
    apple = CATALOG.gpus["M4 Max (40-core GPU)"]
    assert issue_bytes_per_s(apple, floats=False, year=2026.9) == math.inf
    assert reached("M4 Max (40-core GPU)") == 1


def test_one_token_over_a_quantized_cache_pays_for_every_query_head():
    """CUDA kernels of llama.cpp: slower than over 16 bits at depth on an H100, not elsewhere."""

    def step(depth, cache, sequences=1, **options):
        setup = setup_of(model="llama 3.1 8b instruct", kv_type=cache, **{"gpu": "h100", **options})
        return timed(decode_parts(setup, sequences, depth), DECODE_PARTS)

    narrow, wide = step(60_000, "q8_0"), step(60_000, "f16")
    assert narrow["kv"] < wide["kv"]
    assert narrow["kv"] + narrow["vector_attention"] > wide["kv"] + wide["vector_attention"]
    assert wide["vector_attention"] == step(0, "q8_0")["vector_attention"] == 0
    assert step(60_000, "q8_0", sequences=4)["vector_attention"] == 0
    assert step(60_000, "q8_0", gpu="7900 xtx")["vector_attention"] == 0
    assert step(60_000, "q8_0", gpu="7900 xtx", backend="rocm")["vector_attention"] > 0


def test_a_few_sequences_pay_for_tiles_of_quantized_weights():
    """Linearly up to eight tokens, for a whole tile beyond; nothing for floats or for one token."""

    def tiles(sequences, **options):
        setup = setup_of(**{"gpu": "3090", "model": "llama 3.1 8b instruct", "ctx": "8k", **options})
        return timed(decode_parts(setup, sequences, 1000), DECODE_PARTS)["tiles"]

    assert tiles(1) == 0
    assert 0 < tiles(8) == tiles(16) == tiles(30)
    assert tiles(5) < tiles(8)
    assert tiles(16, quant="F16") == tiles(16, gpu="7900 xtx") == 0
    assert tiles(16, gpu="h100") < tiles(16)


def test_prompts_in_blocks_do_not_profit_from_instructions_of_hoppers_own():
    def rate(gpu, quant):
        return product_flop_per_s(setup_of(model="llama 3.1 8b instruct", quant=quant, gpu=gpu))

    hopper, ampere = CATALOG.gpus["H100 SXM"], CATALOG.gpus["A100 SXM 80GB"]
    assert rate("H100 SXM", "Q4_K_M") < 0.6 * hopper.int8_tops * 1e12
    assert rate("A100 SXM 80GB", "Q4_K_M") == pytest.approx(ampere.int8_tops * 1e12, rel=0.01)
    assert rate("H100 SXM", "F16") == hopper.int8_tops * 1e12 / 2


def test_narrow_activations_run_at_the_rate_the_device_has_for_them():
    hopper, ampere = CATALOG.gpus["H100 SXM"], CATALOG.gpus["A100 SXM 80GB"]
    assert peak_flop_per_s(hopper, 8) == hopper.fp8_tflops * 1e12
    assert peak_flop_per_s(ampere, 8) == peak_flop_per_s(ampere, 16)


def test_a_device_of_unknown_bandwidth_is_refused():
    gpu = CATALOG.gpus["RTX 3090"].model_copy(update={"bandwidth_gbps": None})
    with pytest.raises(UnsupportedError, match="bandwidth"):
        bandwidth_bytes_per_s(gpu)


def test_formats_cost_what_unpacking_them_takes():
    ops = {name: unpack_ops(CATALOG.quants[name]) for name in ("BF16", "Q8_0", "Q4_K_M", "Q3_K_M", "IQ4_XS")}
    assert ops["BF16"] == 0 < ops["Q8_0"] < ops["Q4_K_M"] < ops["Q3_K_M"] == ops["IQ4_XS"]


def test_the_deepest_group_that_was_fitted_answers():
    setup = setup_of()
    path = group_path(setup, "one")
    assert path == (
        "step", "one", "one/gpu", "one/gpu/llama.cpp", "one/gpu/llama.cpp/cuda",
        "one/gpu/llama.cpp/cuda/Ampere", "one/gpu/llama.cpp/cuda/Ampere/RTX 3090",
    )  # fmt: skip
    factors = Coefficients({"step": (1.0,), "one/gpu/llama.cpp": (3.0,)}, {"step": 9, "one/gpu/llama.cpp": 4})
    assert factors.of(setup, "one") == (3.0,)
    assert factors.of(setup, "many") == (1.0,)
    again = Coefficients.from_arrays(factors.to_arrays("x"), "x")
    assert (again.factors, again.counts) == (dict(factors.factors), dict(factors.counts))
    with pytest.raises(KeyError):
        Coefficients({}, {}).of(setup, "prompt")


def test_prompts_that_come_together_wait_and_steady_ones_hardly_do():
    assert (
        first_token_seconds(1.0, 0.1, 1, burst=True) == first_token_seconds(1.0, 0.1, 1, burst=False) == 1.1
    )
    burst, steady = (first_token_seconds(1.0, 0.1, 9, burst=kind) for kind in (True, False))
    assert burst == pytest.approx(5.1)
    assert 1.1 < steady < burst


def test_total_throughput_is_that_of_every_sequence():
    setup = setup_of(model="qwen3.5-27b", quant="FP8", gpu="4090", vram=48, concurrency=6)
    figures = speed_figures([setup], MODEL)[0]
    assert figures.decode_tps_total.value == pytest.approx(6 * figures.decode_tps.value)


def test_an_interval_is_as_wide_as_its_figure_regime_and_support_were_off():
    widths = Widths({"decode/seen": 0.3, "decode/seen/cpu": 0.7})
    assert widths.of("decode", "seen", "plain") == 0.3
    assert widths.of("decode", "seen", "cpu") == 0.7
    interval = Widths.interval(100.0, 0.3)
    assert interval.low * interval.high == pytest.approx(100.0**2)
    assert Widths.from_arrays(widths.to_arrays()).half == widths.half


def test_the_hardest_condition_names_the_regime():
    plain = {"cpu": False, "offloaded": False, "sequences": 1, "devices": 1, "depth": 0, "speculative": False}
    cases = [
        ({}, "plain"), ({"depth": 20_000}, "deep"), ({"devices": 2}, "several"), ({"sequences": 4}, "few"),
        ({"sequences": 16}, "batch"), ({"sequences": 4, "devices": 2}, "batch"),
        ({"sequences": 4, "offloaded": True}, "offload"), ({"cpu": True, "devices": 2}, "cpu"),
        ({"cpu": True, "speculative": True}, "speculative"),
    ]  # fmt: skip
    for changed, expected in cases:
        assert regime(**{**plain, **changed}) == expected


@pytest.mark.parametrize(
    ("counts", "basis", "count"),
    [
        ((3, 9, 40, 50), "measured", 3), ((0, 9, 40, 50), "interpolated", 9),
        ((0, 0, 40, 50), "interpolated", 40),
        ((0, 0, 0, 50), "extrapolated", 0), ((0, 0, 40, 0), "extrapolated", 0), ((0, 0, 0, 0), "physics", 0),
    ],
)  # fmt: skip
def test_the_basis_says_what_stands_behind_a_figure(counts, basis, count):
    support = Support(*counts)
    assert (support.basis, support.count) == (basis, count)


def test_builds_have_dates():
    assert year_of("2026-01-15") == pytest.approx(2026.04, abs=0.01)
    assert math.isnan(year_of(""))
    assert build_year("llama.cpp", "b9000") > build_year("llama.cpp", "b4000")
    assert build_year("vllm", "0.20.1") == build_year("vllm", "v0.20.0") > build_year("vllm", "0.12.0")
    assert build_year("vllm", "a fork") is None
    assert build_year("llama.cpp", "TheTom turbo") is None
    assert assumed_year(setup_of(model="qwen3.5-9b")) > assumed_year(
        setup_of(model="llama 3.1 8b instruct", gpu="3090")
    )


def test_sparse_attention_looks_at_what_it_picks():
    """DeepSeek-V3.2 on vLLM: at 100,000 tokens the work of its pick, and a little for the index."""
    sparsely = setup_of(model="deepseek-v3.2", quant="FP8", gpu="8xh200", engine="vllm")
    sparse, also, dense = (
        work_of(replace(sparsely, launch=sparsely.launch.model_copy(update={"engine": engine})))
        for engine in ("vllm", "tensorrt-llm", "lmdeploy")
    )
    assert also == sparse
    assert sparse.attention_flop(2048) == dense.attention_flop(2048)
    assert sparse.attention_flop(100_000) < 0.11 * dense.attention_flop(100_000)
    assert sparse.attention_flop(100_001) > sparse.attention_flop(100_000)
    assert sparse.kv_bytes(100_000) < 0.11 * dense.kv_bytes(100_000)


def test_products_of_quantized_weights_run_on_integers_where_kernels_do():
    cards = default_catalog().gpus
    quantized, floats = setup_of(gpu="4090"), setup_of(gpu="4090", quant="BF16", engine="llama.cpp")
    assert product_flop_per_s(quantized) == pytest.approx(cards["RTX 4090"].int8_tops * 1e12)
    # Summed in 16 bits: twice the rate of a GeForce card's sums in 32.
    assert product_flop_per_s(floats) == pytest.approx(2 * cards["RTX 4090"].fp16_tflops * 1e12, rel=1e-3)
    amd = setup_of(gpu="7900xtx")
    assert product_flop_per_s(amd) == pytest.approx(cards["RX 7900 XTX"].fp16_tflops * 1e12)
    assert attention_flop_per_s(amd) < product_flop_per_s(amd)
    assert attention_flop_per_s(floats) == pytest.approx(cards["RTX 4090"].fp16_tflops * 1e12)


def test_servers_attend_slowly_with_heads_wider_than_their_kernels():
    wide, usual = (
        setup_of(model=name, quant="BF16", gpu="h100", engine="vllm")
        for name in ("gemma-4-31b-it", "qwen3.5-27b")
    )
    assert attention_flop_per_s(wide) == pytest.approx(0.2 * attention_flop_per_s(usual))


def test_unquantized_weights_need_no_vectors_and_quantized_ones_do():
    parts = [
        timed(prefill_parts(setup_of(gpu="4090", quant=quant), 512, 0, 512), PREFILL_PARTS)
        for quant in ("BF16", "Q8_0")
    ]
    assert parts[0]["vector"] == 0 < parts[1]["vector"]


def test_cards_in_a_row_work_on_micro_batches_at_once():
    one, four = (setup_of(model="llama 3.3 70b", gpu=gpu, vram=48) for gpu in ("4090", "4x4090"))
    for prompt, share in ((512, 1.0), (1024, 5 / 8), (4096, 11 / 32)):
        alone, shared = (sum(prefill_parts(setup, prompt, 0, 512)) for setup in (one, four))
        assert shared == pytest.approx(share * alone)
    offloaded = setup_of(model="llama 3.3 70b", gpu="4x4090", vram=48, ngl=60)
    assert pipelined(offloaded, 8) == pipelined(one, 8) == 1.0


def test_scores_are_written_only_without_flash_attention():
    """Every score is written and read: twice the prompt has four times as many."""
    fused, plain = (setup_of(flash_attn=switch) for switch in ("on", "off"))
    assert timed(prefill_parts(fused, 4096, 0, 512), PREFILL_PARTS)["scores"] == 0
    short, long = (
        timed(prefill_parts(plain, prompt, 0, 512), PREFILL_PARTS)["scores"] for prompt in (4096, 8192)
    )
    assert 0 < long == pytest.approx(4 * short)


def test_short_prompts_that_come_together_share_a_chunk():
    setup = setup_of(model="qwen3.5-27b", quant="FP8", gpu="h100", engine="vllm")
    alone, together = (timed(prefill_parts(setup, 256, 0, 2048, sequences=n), PREFILL_PARTS) for n in (1, 8))
    assert together["weights"] == pytest.approx(alone["weights"] / 8)
    assert together["flop"] == alone["flop"]
    longer = [timed(prefill_parts(setup, 4096, 0, 2048, sequences=n), PREFILL_PARTS) for n in (1, 8)]
    assert longer[0]["weights"] == pytest.approx(longer[1]["weights"])


def test_builds_before_windows_were_cut_read_the_whole_context():
    setup = setup_of(model="gemma-3-27b-it")
    before, since, unknown = (
        timed(decode_parts(setup, 1, 16384, year=year), DECODE_PARTS)["kv"]
        for year in (2025.2, 2026.0, math.nan)
    )
    assert since == unknown < before / 4
    vllm = setup_of(model="gemma-3-27b-it", engine="vllm", gpu="h100", quant="BF16")
    early, late = (
        timed(decode_parts(vllm, 1, 16384, year=year), DECODE_PARTS)["kv"] for year in (2025.2, 2026.0)
    )
    assert early == pytest.approx(late * math.exp(AGEING_PER_YEAR * (2026.0 - 2025.2)))


def test_linear_attention_was_many_kernels_before_it_was_one():
    setup = setup_of(**MOE)
    share = [unfused(setup, year) for year in (2025.9, 2026.08, 2026.3, math.nan)]
    assert share == [1.0, pytest.approx(0.5), 0.0, 0.0]
    assert unfused(setup_of(**MOE, engine="vllm", quant="FP8", gpu="h100"), 2025.9) == 0
    early = timed(decode_parts(setup, 1, 0, year=2025.9), DECODE_PARTS)
    assert early["unfused"] > 0 == timed(decode_parts(setup, 1, 0, year=2026.4), DECODE_PARTS)["unfused"]


def test_speculation_gains_by_method_and_kind_of_model():
    dense, experts = setup_of(), setup_of(**MOE)
    assert speculation_key("mtp:2", dense, 1) == "mtp/dense/one"
    assert speculation_key("draft", experts, 4) == "draft/moe/many"
    gains = replace(MODEL, speculation={"mtp/dense/one": 1.7, "any/dense/one": 1.9, "any/moe/one": 1.2})
    assert gains.speculation_factor("mtp:3", dense, 1) == 1.7
    assert gains.speculation_factor("eagle3", dense, 1) == 1.9
    assert gains.speculation_factor("mtp", experts, 1) == 1.2
    assert gains.speculation_factor("mtp", experts, 8) == gains.speculation_factor("none", dense, 1) == 1.0


def test_rocm_without_its_fast_library_multiplies_slowly_what_goes_through_libraries():
    quantized, floats = (setup_of(gpu="r9700", quant=quant) for quant in ("Q4_K_M", "BF16"))

    def slow(setup, year, *, plain_blas):
        parts = prefill_parts(setup, 512, 0, 512, year=year, plain_blas=plain_blas)
        return timed(parts, PREFILL_PARTS)["plain_blas"]

    assert slow(floats, 2026.5, plain_blas=True) > 0 == slow(floats, 2026.5, plain_blas=False)
    assert slow(quantized, 2025.5, plain_blas=True) > 0 == slow(quantized, 2026.5, plain_blas=True)
