"""Curves and ladders: every point is the answer that `predict` gives for it."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor import service
from knowledge.errors import UsageError

ONE = {"gpu": "3090", "model": "qwen3.5-35b-a3b", "quant": "Q4_K_M", "ctx": "64Ki"}
SERVED = {
    "gpu": "4090", "vram": 48, "model": "qwen3.5-27b", "quant": "FP8", "engine": "vllm", "ctx": "64Ki",
    "concurrency": 6,
}  # fmt: skip


@pytest.fixture(scope="module", params=[ONE, SERVED], ids=["one", "served"])
def found(request):
    return request.param, service.curves(**request.param), service.predict(**request.param)


def test_the_ends_of_the_depth_curve_are_the_two_headline_figures(found):
    _, curves, prediction = found
    by_depth = {point.depth: point.decode_tps for point in curves.depths}
    assert by_depth[0] == prediction.prediction.decode_tps
    assert by_depth[prediction.config.ctx] == prediction.prediction.decode_tps_full_context


def test_speed_never_rises_with_depth_and_the_band_holds_it(found):
    speeds = [point.decode_tps for point in found[1].depths]
    assert all(one.value >= two.value for one, two in pairwise(speeds))
    assert all(speed.low <= speed.value <= speed.high for speed in speeds)


def test_the_asked_point_stands_on_every_curve(found):
    _, curves, prediction = found
    figures, config = prediction.prediction, prediction.config
    [context] = [
        point
        for point in curves.contexts
        if (point.ctx, point.kv_type_k, point.kv_type_v) == (config.ctx, config.kv_type_k, config.kv_type_v)
    ]
    assert (context.memory_mib, context.oom_probability) == (
        figures.memory.total_mib,
        figures.oom_probability,
    )
    [users] = [point for point in curves.users if point.users == config.concurrency]
    assert users.decode_tps_total == figures.decode_tps_total
    for ladder, name in ((curves.quants, config.quant), (curves.cards, config.gpu)):
        [rung] = [rung for rung in ladder if rung.asked]
        assert rung.name == name
        assert rung.decode_tps_full_context == figures.decode_tps_full_context
        assert rung.quality == prediction.quality
        assert len(ladder) > 3


def test_another_point_is_what_predict_says_of_it(found):
    asked, curves, _ = found
    for rung in curves.quants[1:3]:
        figures = service.predict(**{**asked, "quant": rung.name}).prediction
        assert (rung.memory_mib, rung.oom_probability) == (
            figures.memory.total_mib,
            figures.oom_probability,
        )
        assert rung.decode_tps == figures.decode_tps
    point = next(p for p in curves.contexts if p.ctx != asked["ctx"] and p.kv_type_k == "f16")
    figures = service.predict(**{**asked, "ctx": point.ctx, "kv_type": "f16"}).prediction
    assert point.memory_mib == figures.memory.total_mib


def test_totals_are_the_users_times_each_ones_speed(found):
    for point in found[1].users:
        each, total = point.decode_tps, point.decode_tps_total
        assert total.value == pytest.approx(point.users * each.value, rel=1e-6)


def test_the_runs_beside_the_curve_are_of_this_very_configuration():
    curves = service.curves(**ONE)
    assert curves.runs
    for run in curves.runs:
        assert run.decode_tps
        assert run.depth is not None
        others = [words for words in run.differs_in if words.startswith(("model:", "gpu", "quant", "conc"))]
        assert all(words.endswith("of the same shape") for words in others)


@settings(deadline=None, max_examples=8)
@given(st.sampled_from(["3060", "4090", "5090", "m4 max", "7900 xtx", "strix halo"]), st.sampled_from([1, 3]))
def test_memory_never_falls_as_the_context_grows(gpu, users):
    curves = service.curves(gpu=gpu, vram=24, model="qwen3.5-9b", quant="Q4_K_M", concurrency=users)
    for name in {point.kv_type_k for point in curves.contexts}:
        line = [point.memory_mib for point in curves.contexts if point.kv_type_k == name]
        assert all(one <= two * 1.02 for one, two in pairwise(line))


def test_a_part_alone_is_that_part_of_the_whole():
    whole = service.curves(**ONE)
    for name in ("depths", "contexts", "users", "quants", "cards"):
        part = service.curves(only=(name,), **ONE)
        assert getattr(part, name) == getattr(whole, name) != []
        assert (
            sum(bool(getattr(part, other)) for other in ("depths", "contexts", "users", "quants", "cards"))
            == 1
        )
    with pytest.raises(UsageError, match="no curve 'heights'"):
        service.curves(only=("heights",), **ONE)
