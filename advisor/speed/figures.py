"""The speed figures of an answer: decode, decode at a full context, total, prefill, time to first token.

They hang together by construction: total = sequences × one sequence, decode never rises with depth, time to
first token = prompt ÷ prefill + one step. It asks `SpeedModel` for seconds and attaches intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from advisor.config import Basis, Interval, Setup
from advisor.memory.paged import batched_tokens
from advisor.speed.intervals import Rate, Widths, regime
from advisor.speed.model import Query, SpeedModel, first_token_seconds, load_model
from advisor.speed.rates import TENSOR_PARALLEL_ENGINES
from advisor.speed.roofline import split_of


@dataclass(frozen=True, slots=True)
class SpeedFigures:
    """Tokens per second and milliseconds, each with its interval, and what stands behind them."""

    decode_tps: Interval
    decode_tps_full_context: Interval
    decode_tps_total: Interval
    prefill_tps: Interval
    ttft_ms: Interval
    basis: Basis
    support: int


def chunk_tokens(setup: Setup) -> float:
    """Prompt tokens that one step works on: llama.cpp's micro-batch, or a server's token budget."""
    server = setup.launch.engine in TENSOR_PARALLEL_ENGINES
    return float(batched_tokens(setup) if server else setup.launch.ubatch)


def decode_query_of(setup: Setup, model: SpeedModel) -> Query:
    """The decoding step that an answer for `setup` is about."""
    launch = setup.launch
    return Query(setup, float(launch.concurrency), float(launch.depth), 0.0, chunk_tokens(setup), model.now)


def _queries(setup: Setup, model: SpeedModel) -> tuple[Query, Query, Query]:
    """What is asked: a step at the stated depth, one at a full context, and the prompt."""
    launch = setup.launch
    step = decode_query_of(setup, model)
    return (
        step,
        replace(step, depth=float(max(launch.ctx, launch.depth))),
        replace(step, sequences=1.0, prompt=float(min(launch.prompt, launch.ctx))),
    )


def speed_figures(setups: Sequence[Setup], model: SpeedModel | None = None) -> list[SpeedFigures]:
    """Speed of each setup, all in one pass through the trees."""
    model = model or load_model()
    queries = [_queries(setup, model) for setup in setups]
    steps = model.decode_seconds([query for triple in queries for query in triple[:2]]).reshape(-1, 2)
    prompts = model.prefill_seconds([triple[2] for triple in queries])
    return [
        _figures(setup, model, triple, (float(step), max(float(step), float(full))), float(prompt))
        for setup, triple, (step, full), prompt in zip(setups, queries, steps, prompts, strict=True)
    ]


def _figures(
    setup: Setup,
    model: SpeedModel,
    queries: tuple[Query, Query, Query],
    step_s: tuple[float, float],
    prompt_s: float,
) -> SpeedFigures:
    launch, support = setup.launch, model.support(setup)
    gain = model.speculation_factor(launch.spec_decode, setup, launch.concurrency)
    split = split_of(setup)

    def interval(rate: Rate, value: float, query: Query) -> Interval:
        kind = regime(
            cpu=setup.gpu.kind == "cpu",
            offloaded=split.host_dense > 0 or split.host_experts > 0,
            sequences=query.sequences,
            devices=launch.gpu_count,
            depth=query.depth,
            speculative=launch.spec_decode != "none",
        )
        return Widths.interval(value, model.widths.of(rate, support.tier, kind))

    at_depth, at_full, prompt = queries
    decode, full = gain / step_s[0], gain / step_s[1]
    first = first_token_seconds(prompt_s, step_s[0], launch.concurrency, burst=False)
    return SpeedFigures(
        decode_tps=interval("decode", decode, at_depth),
        decode_tps_full_context=interval("decode", full, at_full),
        decode_tps_total=interval("decode", launch.concurrency * decode, at_depth),
        prefill_tps=interval("prefill", prompt.prompt / prompt_s, prompt),
        ttft_ms=interval("ttft", 1e3 * first, at_depth),
        basis=support.basis,
        support=support.count,
    )
