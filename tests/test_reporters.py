"""What reporters of the same run differ by: cells of like runs, copies counted once, predictions beside."""

from dataclasses import replace

import numpy as np
import pytest

from advisor.training.accuracy import validated
from advisor.training.reporters import disagreement
from advisor.training.rows import cases_of
from knowledge.catalog import default_catalog

CATALOG = default_catalog()
ROW = {
    "id": "a",
    "source_url": "https://example.org/one",
    "model_id": "Qwen/Qwen3-8B",
    "model": "Qwen3-8B",
    "gpu_id": "RTX 3090",
    "gpu": "RTX 3090",
    "quant_id": "Q4_K_M",
    "quant": "Q4_K_M",
    "engine": "llama.cpp",
    "backend": "cuda",
    "outcome": "ok",
}


def cases(*reports):
    """One decode case per (site, tok/s, further cells)."""
    rows = [
        {**ROW, "id": str(place), "source_url": f"https://{site}.org/runs", "decode_tps": rate, **cells}
        for place, (site, rate, cells) in enumerate(reports)
    ]
    return cases_of(rows, CATALOG).cases


def differing(found, predicted=100.0):
    said = np.full(len(found), predicted)
    run = validated(found, {"source": said})
    return disagreement(run, range(len(found)))


def test_two_reporters_are_held_against_each_other_and_against_the_prediction():
    found = differing(cases(("one", 100.0, {}), ("one", 120.0, {}), ("two", 88.0, {})))
    assert found.cells == 1
    assert sorted(found.among_reporters) == pytest.approx([1 - 88 / 110, 110 / 88 - 1])
    assert sorted(found.of_predictions) == pytest.approx(sorted([np.median([0, 1 / 6]), 100 / 88 - 1]))


def test_what_is_no_like_run_is_not_compared():
    for other in (
        {"gpu_id": "RTX 4090", "gpu": "RTX 4090"},
        {"quant_id": "Q8_0", "quant": "Q8_0"},
        {"depth": 16_384},
        {"concurrency": 4, "decode_tps_total": 300.0},
        {"engine": "vllm", "quant_id": "AWQ-INT4", "quant": "AWQ-INT4"},
    ):
        assert differing(cases(("one", 100.0, {}), ("two", 80.0, other))).cells == 0


def test_a_report_told_in_two_places_is_one():
    found = differing(cases(("one", 100.0, {}), ("two", 100.05, {})))
    assert (found.cells, list(found.among_reporters)) == (0, [])
    found = differing(cases(("one", 100.0, {}), ("two", 100.05, {}), ("three", 90.0, {})))
    assert len(found.among_reporters) == 2


def test_all_sequences_together_are_as_uncertain_as_each():
    (case,) = cases(("one", 100.0, {}))
    assert {replace(case, kind=kind).rate for kind in ("decode", "total")} == {"decode"}
    assert replace(case, kind="prefill").rate == "prefill"
