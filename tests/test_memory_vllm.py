"""vLLM's budget and page arithmetic against its own start-up logs."""

import csv
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.config import Host, LaunchConfig, Setup
from advisor.memory import account
from advisor.memory.capacity import capacity_of
from advisor.memory.paged import batched_tokens, sequences, utilization
from advisor.memory.pages import pool_of
from advisor.memory.vllm import budget
from advisor.training.memory_cases import read_cases
from knowledge.catalog import default_catalog
from knowledge.errors import UnsupportedError
from knowledge.kv_types import normalise_kv_type
from knowledge.names.model import match_model
from knowledge.names.quant import resolve_quant
from knowledge.paths import memory_dir
from knowledge.weights import weight_bytes

MODELS = [
    "Qwen/Qwen3.5-27B",
    "Qwen/Qwen3.5-35B-A3B",
    "Qwen/Qwen3-14B",
    "google/gemma-3-27b-it",
    "openai/gpt-oss-20b",
    "deepseek-ai/DeepSeek-V2-Lite",
    "meta-llama/Llama-3.1-8B-Instruct",
]


def setup(name="Qwen/Qwen3.5-27B", quant="FP8", gpu="RTX 4090", host=None, **launch):
    catalog = default_catalog()
    device, model = catalog.gpus[gpu], catalog.models[name]
    defaults = {"vram_gib": device.memory_gib, "ctx": 8192, "engine": "vllm", "kv_type_k": "bf16"}
    config = LaunchConfig(model=name, quant=quant, gpu=gpu, **(defaults | launch))
    form = resolve_quant(quant, catalog)
    return Setup(
        config,
        model,
        form,
        weight_bytes(model, form, config.weights_gib),
        device,
        host or Host(headless=True),
    )


def startup_rows():
    with (memory_dir() / "vllm_startup.csv").open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def test_tokens_and_concurrency_of_start_logs_follow_from_the_cache_that_was_left():
    tokens, concurrency = [], []
    for row in startup_rows():
        # Rows that state the cache type in full, from engines before the report of tokens changed.
        if not (
            row["available_kv_gib"] and row["kv_cache_tokens"] and row["model"] and row["engine_version"]
        ):
            continue
        model = match_model(row["model"], default_catalog())
        kv = normalise_kv_type(row["kv_cache_dtype"] or "auto")
        if (
            model is None
            or kv is None
            or not row["engine_version"].startswith(("0.10", "0.11", "0.12", "0.13"))
        ):
            continue
        pool = pool_of(model, kv, int(row["tp"] or 1))
        blocks = int(float(row["available_kv_gib"]) * 1024**3 // pool.block_bytes)
        tokens.append(abs(pool.token_capacity(blocks) / float(row["kv_cache_tokens"]) - 1))
        if row["max_model_len"] and row["max_concurrency_x"]:
            pinned = pool.attention_blocks(int(row["max_model_len"]), 2048)
            pinned += pool.state_blocks(0, prefix_caching=False)
            concurrency.append(abs(blocks / pinned / float(row["max_concurrency_x"]) - 1))
    print(f"tokens: n={len(tokens)} median {statistics.median(tokens):.5f} worst {max(tokens):.4f}")
    print(f"concurrency: n={len(concurrency)} worst {max(concurrency):.4f}")
    assert len(tokens) >= 35
    assert statistics.median(tokens) < 0.001
    assert max(tokens) < 0.005
    assert max(concurrency) < 0.01


def test_the_cache_left_at_start():
    """Stable releases on CUDA: the cache left within 200 MiB (median); all logs: see the printed figures."""
    cases = read_cases([memory_dir() / "vllm_startup.csv"], default_catalog())
    logged = [
        case for case in cases.cases if case.residual_mib is not None and case.setup.launch.engine == "vllm"
    ]
    stable = [
        abs(case.residual_mib)
        for case in logged
        if case.setup.gpu.vendor == "NVIDIA" and case.setup.launch.engine_version == "0.12.0"
    ]
    everything = [abs(case.residual_mib) for case in logged]
    print(
        f"0.12.0 on CUDA: n={len(stable)} median {statistics.median(stable):.0f} MiB, worst {max(stable):.0f}"
    )
    print(f"all logs: n={len(everything)} median {statistics.median(everything):.0f} MiB")
    assert len(stable) >= 10
    assert statistics.median(stable) < 200
    assert statistics.median(everything) < 500


def test_verdicts_of_start_logs():
    cases = read_cases([memory_dir() / "vllm_startup.csv"], default_catalog())
    chosen = [case for case in cases.cases if case.setup.launch.engine == "vllm"]
    right = sum((case.memory.total_mib > case.memory.available_mib) == case.oom for case in chosen)
    print(
        f"start-up verdicts: {right} of {len(chosen)} right, {sum(case.oom for case in chosen)} out of memory"
    )
    assert right / len(chosen) > 0.8


@pytest.mark.parametrize(
    ("name", "kv", "block"),
    [
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", "bf16", 544),  # seen in logs
        ("Qwen/Qwen3.5-4B", "bf16", 528),  # vllm-project/vllm issue 40696
        ("Qwen/Qwen3.5-27B", "bf16", 784),
        ("Qwen/Qwen3-14B", "bf16", 16),
    ],
)
def test_attention_blocks_are_raised_to_the_page_of_the_state(name, kv, block):
    assert pool_of(default_catalog().models[name], kv, 1).full_tokens == block


def test_the_48_gib_4090_at_the_edge():
    """27B FP8 (28.8 GiB), fp8 cache, utilization 0.85, vLLM 0.21: 261,856 tokens run, 262,144 not.

    The report states neither batch nor sequences nor whether vision was profiled; the estimate is lower.
    """
    case = setup(
        vram_gib=48,
        ctx=261_856,
        kv_type_k="fp8",
        gpu_memory_utilization=0.85,
        engine_version="0.21.0",
        weights_gib=28.78,
    )
    memory = account(case)
    assert memory.total_mib == pytest.approx(memory.available_mib, rel=0.08)


def test_heads_below_the_tensor_parallel_width_are_replicated():
    model = default_catalog().models["Qwen/Qwen3.5-35B-A3B"]  # two KV heads
    assert pool_of(model, "bf16", 8).full_tokens < pool_of(model, "bf16", 2).full_tokens
    one, two, four = (
        account(setup("Qwen/Qwen3-14B", gpu_count=n, tensor_parallel=n, ctx=32768)) for n in (1, 2, 4)
    )
    assert one.kv_cache_mib == pytest.approx(2 * two.kv_cache_mib)
    assert two.kv_cache_mib == pytest.approx(2 * four.kv_cache_mib)
    mla = [
        account(setup("deepseek-ai/DeepSeek-V2-Lite", gpu_count=n, tensor_parallel=n)).kv_cache_mib
        for n in (1, 4)
    ]
    assert mla[0] == mla[1]


def test_a_busy_card_refuses_to_start():
    assert account(setup(host=Host(vram_used_gib=4.0))).available_mib == 0
    assert account(setup(host=Host(vram_used_gib=4.0), gpu_memory_utilization=0.7)).available_mib > 0


def test_defaults_follow_version_and_card():
    assert utilization(setup(engine_version="0.19.1").launch) == 0.90
    assert utilization(setup().launch) == 0.92
    assert sequences(setup("Qwen/Qwen3-14B")) == 256
    assert sequences(setup(max_num_seqs=6)) == 6
    assert sequences(setup("Qwen/Qwen3-14B", gpu="H100 SXM", vram_gib=80.0)) == 1024
    assert batched_tokens(setup("Qwen/Qwen3-14B", engine_version="0.6.3", ctx=20_000)) == 20_000  # unchunked
    assert batched_tokens(setup("Qwen/Qwen3-14B", engine_version="0.6.3", ctx=40_000)) == 2048
    assert batched_tokens(setup("Qwen/Qwen3-14B", ctx=20_000)) == 2048


def test_more_sequences_than_state_blocks_do_not_start():
    """An H100 with a 27B in FP8: 1,024 sequences, 856 blocks; 512 started (vllm_startup.csv)."""
    card = {"gpu": "H100 SXM", "vram_gib": 80.0, "ctx": 8192}
    refused, started = (account(setup(max_num_seqs=count, **card)) for count in (1024, 512))
    assert refused.total_mib > refused.available_mib
    assert started.total_mib < started.available_mib


def test_a_drafter_makes_groups_small():
    """180,000 tokens of a 27B with a drafter of five layers took about 9.2 GiB of an fp8 cache, not 5.6."""
    case = {"ctx": 180_000, "kv_type_k": "fp8", "gpu": "RTX 4090", "gpu_count": 2, "tensor_parallel": 2}
    plain, drafted = (budget(setup(draft_gib=gib, max_num_seqs=1, **case)) for gib in (None, 3.3))
    assert drafted.needed_mib > 1.4 * plain.needed_mib
    assert drafted.weights_mib - plain.weights_mib == pytest.approx(3.3 * 1024 / 2)


def test_max_len_is_what_fits():
    case = setup("Qwen/Qwen3-14B", ctx=200_000)
    found = budget(case)
    assert found.requests < 1
    assert not found.starts
    assert budget(setup("Qwen/Qwen3-14B", ctx=found.max_len)).requests >= 1
    assert budget(setup("Qwen/Qwen3-14B", ctx=found.max_len + 16)).requests < 1


def test_block_types_of_gguf_are_refused():
    with pytest.raises(UnsupportedError, match="KV cache type"):
        account(setup(kv_type_k="q8_0"))


@given(
    name=st.sampled_from(MODELS),
    engine=st.sampled_from(["vllm", "sglang"]),
    ctx=st.integers(1, 300_000),
    more=st.integers(0, 100_000),
    users=st.integers(1, 32),
    kv=st.sampled_from(["bf16", "fp8"]),
)
def test_more_context_or_users_never_needs_less(name, engine, ctx, more, users, kv):
    common = {"engine": engine, "kv_type_k": kv}
    base = account(setup(name, "BF16", ctx=ctx, concurrency=users, **common))
    assert base.total_mib > base.weights_mib > 0
    assert (
        account(setup(name, "BF16", ctx=ctx + more, concurrency=users, **common)).total_mib >= base.total_mib
    )
    assert account(setup(name, "BF16", ctx=ctx, concurrency=users + 1, **common)).total_mib >= base.total_mib
    assert account(setup(name, "BF16", ctx=ctx, concurrency=users, **common)) == base


def test_what_a_server_can_hold_is_what_its_budget_says():
    case = setup("Qwen/Qwen3-14B", ctx=20_000)
    held, found = capacity_of(case), budget(case)
    assert (held.starts, held.kv_tokens, held.longest_request) == (True, found.kv_tokens, found.max_len)
    assert held.full_length_requests == pytest.approx(found.requests, abs=0.01)
    served = capacity_of(setup("Qwen/Qwen3-14B", ctx=20_000, engine="sglang"))
    assert served.kv_tokens == pytest.approx(held.kv_tokens, rel=0.3)
    assert capacity_of(setup("Qwen/Qwen3-14B", engine="llama.cpp", kv_type_k="f16")) is None
    assert not capacity_of(setup("Qwen/Qwen3-32B", "BF16")).starts
