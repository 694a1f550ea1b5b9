"""What measured rows mean: the setup that was run, and the query that each figure answers."""

import pytest

from advisor.speed.model import ARTEFACT, SpeedModel
from advisor.training.predicting import decode_query
from advisor.training.rows import cases_of
from knowledge.catalog import default_catalog
from knowledge.schema import Observation

CATALOG = default_catalog()
ROW = {
    **dict.fromkeys(Observation.model_fields),
    "source_url": "https://github.com/someone/bench/blob/main/a.md",
    "gpu_id": "RTX 3090",
    "model_id": "Qwen/Qwen3-32B",
    "quant_id": "Q4_K_M",
    "quant": "Q4_K_M",
    "engine": "llama.cpp",
    "outcome": "ok",
    "concurrency": 1,
}
SERVED = {
    "engine": "vllm",
    "gpu_id": "H100 SXM",
    "quant": "BF16",
    "quant_id": "BF16",
    "prompt_tokens": 1024,
    "gen_tokens": 256,
    "depth": 0,
}


def cases(**cells):
    found = cases_of([{**ROW, **cells}], CATALOG)
    assert not found.skipped, found.skipped
    return {case.kind: case for case in found.cases}


@pytest.mark.parametrize(
    ("cells", "flash"),
    [
        ({"observed_on": "2024-06-01"}, False),
        ({"observed_on": ""}, False),
        ({"observed_on": "2026-02-01"}, True),
        ({"observed_on": "2024-06-01", "flash_attn": True}, True),
        ({"observed_on": "2026-02-01", "flash_attn": False}, False),
        ({"observed_on": "2024-06-01", "engine": "mlx"}, True),
    ],
)
def test_flash_attention_is_what_the_engine_did_unless_it_is_stated(cells, flash):
    (case,) = cases(decode_tps=30.0, **cells).values()
    assert case.setup.launch.flash_attn is flash


@pytest.mark.parametrize(
    ("cells", "tokens"),
    [
        ({"flags": "--max-num-batched-tokens 16384"}, 16384),
        ({"batch": 4096}, 4096),
        ({"batch": 64}, 8192),  # counts sequences: the server's default for a card of 80 GB
        ({"vram_gib": 24.0, "gpu_id": "RTX 3090", "gpu_count": 4, "tp": 4}, 2048),
    ],
)
def test_a_server_works_on_as_many_tokens_as_it_was_told(cells, tokens):
    assert cases(**{**SERVED, **cells}, prefill_tps=900.0)["prefill"].query.chunk == tokens


def test_a_rate_beyond_the_memory_of_the_device_was_guessed_ahead():
    """A 32B in 4 bits reads 19 GB per token: a 3090 cannot do so more than 50 times a second."""
    assert cases(decode_tps=40.0)["decode"].speculation == "none"
    assert cases(decode_tps=90.0)["decode"].speculation == "unstated"
    assert cases(decode_tps=90.0, spec_decode="mtp")["decode"].speculation == "mtp"


def test_rocm_without_its_fast_library_is_told_apart():
    amd = {"gpu_id": "AI PRO R9700", "backend": "rocm", "prompt_tokens": 512, "depth": 0, "gen_tokens": 0}
    for notes, plain in (("toolbox hipblaslt=0", True), ("toolbox hipblaslt=1", False), ("toolbox", False)):
        assert cases(prefill_tps=900.0, notes=notes, **amd)["prefill"].query.circumstance.plain_blas is plain
    assert not cases(prefill_tps=900.0, notes="hipblaslt=0", prompt_tokens=512, depth=0, gen_tokens=0)[
        "prefill"
    ].query.circumstance.plain_blas


def test_totals_pay_for_every_prompt_and_rates_of_one_request_for_those_of_others():
    prefill = SpeedModel.load(ARTEFACT).prefill_factors
    found = cases(**{**SERVED, "concurrency": 8}, decode_tps=30.0, decode_tps_total=200.0)
    one, total = (decode_query(found[kind], prefill) for kind in ("decode", "total"))
    assert one.queue_s == 0 < one.stall_s
    assert total.stall_s == 0 < total.queue_s
    alone = cases(**SERVED, decode_tps=60.0)["decode"]
    assert decode_query(alone, prefill).stall_s == 0
