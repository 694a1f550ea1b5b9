"""A user's own rows: they move the predictions for the user's cards, and no others."""

from dataclasses import replace

import numpy as np
import pytest

from advisor.speed.model import ARTEFACT, SpeedModel
from advisor.speed.own import OwnFactors, own_keys
from advisor.training.own_rows import learnt, own_factors, with_own
from advisor.training.predicting import predict_cases
from advisor.training.rows import cases_of
from knowledge.catalog import default_catalog
from knowledge.schema import Observation
from knowledge.store import queries
from knowledge.store.connection import open_store

CATALOG = default_catalog()
MODEL = SpeedModel.load(ARTEFACT)
UNKNOWN = "RTX 5080 Laptop"
MODELS = ("Qwen/Qwen3-8B", "Qwen/Qwen3-14B", "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3.5-9B")


def own_rows(gpu, factor, models=MODELS, n=10):
    """Rows of a card that is `factor` times as fast as the shipped model says."""
    rows = [
        {
            **dict.fromkeys(Observation.model_fields),
            "source_url": "my machine", "origin": "user", "outcome": "ok", "concurrency": 1,
            "gpu_id": gpu, "model_id": models[i % len(models)], "quant_id": "Q4_K_M", "quant": "Q4_K_M",
            "engine": "llama.cpp", "engine_version": "b9000", "depth": 1000 * i, "gen_tokens": 128,
            "decode_tps": 1.0,
        }
        for i in range(n)
    ]  # fmt: skip
    asked = cases_of(rows, CATALOG)
    assert not asked.skipped
    for row, rate in zip(rows, predict_cases(MODEL, asked.cases), strict=True):
        row["decode_tps"] = factor * float(rate)
    return cases_of(rows, CATALOG).cases


@pytest.fixture(scope="module")
def shipped(shipped_home):
    with open_store(shipped_home) as store:
        return cases_of(queries.training_rows(store.con)[::80], CATALOG).cases


def learning_from(cases):
    return with_own(cases, MODEL, {case.setup.gpu.name for case in cases if not case.own})


def test_ten_rows_on_an_unknown_card_move_it_and_no_other(shipped):
    assert not any(key.startswith(f"{UNKNOWN}|") for key in MODEL.counts)
    own = own_rows(UNKNOWN, 0.7)
    after = learning_from([*shipped, *own])
    others = [case for case in shipped if case.setup.gpu.name != UNKNOWN]
    assert np.array_equal(predict_cases(after, others), predict_cases(MODEL, others))
    moved = predict_cases(after, own) / predict_cases(MODEL, own)
    assert 0.7 <= moved.min() <= moved.max() < 0.78
    unseen_model = own_rows(UNKNOWN, 0.7, models=("google/gemma-3-12b-it",), n=1)
    ratio = float(predict_cases(after, unseen_model)[0] / predict_cases(MODEL, unseen_model)[0])
    assert 0.7 < ratio < 0.8
    change = learnt([*shipped, *own], MODEL, after)
    assert (change.rows, change.figures, change.others_moved) == (10, 10, 0.0)
    assert change.error_before == pytest.approx(0.3 / 0.7, rel=1e-6)
    assert change.error_after < 0.1


def test_one_row_moves_a_known_card_less_than_ten_do(shipped):
    known = [*shipped, *cases_like("RTX 3090")]
    ratios = []
    for n in (1, 10):
        own = own_rows("RTX 3090", 0.7, models=MODELS[:1], n=n)
        after = learning_from([*known, *own])
        ratios.append(float(predict_cases(after, own)[0] / predict_cases(MODEL, own)[0]))
    assert 0.7 < ratios[1] < ratios[0] < 1.0


def cases_like(gpu):
    """One shipped case of a card."""
    return [replace(case, own=False) for case in own_rows(gpu, 1.0, n=1)]


def test_nonsense_pulls_only_so_far(shipped):
    after = learning_from([*shipped, *own_rows(UNKNOWN, 1e-4)])
    own = own_rows(UNKNOWN, 1.0)
    assert (predict_cases(after, own) / predict_cases(MODEL, own)).min() > np.exp(-1.01)


def test_without_own_rows_nothing_is_said(shipped):
    assert own_factors(shipped, MODEL, ()).logs == {}
    assert learnt(shipped, MODEL, MODEL) is None
    assert learnt([*shipped, *own_rows(UNKNOWN, 0.9)], None, MODEL).error_before is None


def test_factors_are_of_one_machine_and_what_is_timed():
    (case, *_) = own_rows(UNKNOWN, 1.0)
    machine, cell = own_keys(case.setup, decode=True)
    factors = OwnFactors({machine: 0.2, cell: -0.05})
    assert factors.of(case.setup, decode=True) == pytest.approx(0.15)
    assert factors.of(case.setup, decode=False) == 0
    again = OwnFactors.from_arrays(factors.to_arrays())
    assert again.logs == factors.logs
    assert OwnFactors.from_arrays(OwnFactors().to_arrays()).logs == {}
