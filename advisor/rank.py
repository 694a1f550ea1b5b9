"""Which of the predicted configurations to recommend, in which order, and why the others are left out.

It owns the goals and the documented order; it predicts nothing and writes nothing. Pure functions of the
(setup, figures) pairs: their order does not matter.

The order. A configuration's quality is the model's public figure (`advisor.quality`), less what its format
and cache lose. Its usefulness grows with speed, steeply up to reading pace and hardly beyond:
1 − e^(−tps/20), where tps is the geometric mean of the speeds at the start and at a full context.
Then, by goal:
  balanced    quality × usefulness
  quality     quality; speed decides between equals
  speed       speed at a full context, among those with at least half the best quality on offer
  throughput  total tokens per second of all sequences, among the same
  context     how many tokens of context would fit, among the same
Left out beforehand: a risk of running out of memory above `max_oom`, less than `min_tps` at a full context.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from advisor.config import Goal, Interval, PredictedFigures, Rejected, Request, Setup
from advisor.quality import Quality, quality_of, retained
from knowledge.catalog import Catalog

Pair = tuple[Setup, PredictedFigures]

MIN_TPS = 5.0
"""Tokens per second at a full context below which a configuration is of no use: a calm reader's pace
(about 240 words a minute, 1.3 tokens a word); `--min-tps` overrides it."""
_PACE_TPS = 20.0
_DECENT = 0.5
_QUALITY_BLIND: tuple[Goal, ...] = ("speed", "throughput", "context")
_INDECENT = "less than half the quality of the best on offer"
_OUTDONE = "a recommended one is as good in every respect, or nearly the same"
_SIZE_CLASSES_B = (2, 6, 11, 18, 40, 90, 200, 600)
"""Upper ends of the size classes, in billions of parameters: gaps in what makers publish."""
_SAME_SPEED = 0.03
_SAME_QUALITY = 0.003


@dataclass(frozen=True, slots=True)
class Ranked:
    """A recommended configuration with what it was ordered by."""

    setup: Setup
    figures: PredictedFigures
    quality: Quality
    points: float
    """Quality points after quantization."""
    score: float

    @property
    def full_tps(self) -> float:
        """Decode rate of one sequence at a full context."""
        return _value(self.figures.decode_tps_full_context)

    @property
    def usual_tps(self) -> float:
        """Decode rate of one sequence while its context fills: the mean of both ends."""
        return math.sqrt(_value(self.figures.decode_tps) * self.full_tps)

    @property
    def key(self) -> tuple[object, ...]:
        """Total order: best score first; equals by speed, risk, then by name."""
        launch = self.setup.launch
        ties = (launch.model, launch.quant, launch.engine, launch.kv_type_k, launch.kv_type_v)
        return (
            -self.score, -self.full_tps, self.figures.oom_probability, *ties,
            launch.ubatch, launch.n_cpu_moe, launch.n_gpu_layers or 0, launch.model_dump_json(),
        )  # fmt: skip


def rank(
    pairs: Iterable[Pair], request: Request, catalog: Catalog
) -> tuple[tuple[Ranked, ...], tuple[Rejected, ...]]:
    """The best `request.top` configurations, best first, and the rest with the reasons.

    Without a model: at most one per line of models (`Qwen3.5` and `Qwen3.8` are one line) and size class.
    With one: of the Pareto set over quality, speed, risk and room for context the best of each engine and
    format, without near-duplicates.
    """
    usable: list[Ranked] = []
    rejected: list[Rejected] = []
    qualities: dict[str, Quality] = {}
    for setup, figures in pairs:
        obstacle = _obstacle(figures, request)
        if obstacle:
            rejected.append(_rejection(setup, obstacle))
            continue
        quality = qualities.setdefault(setup.model.hf_id, quality_of(setup.model, catalog))
        points = quality.points * retained(setup.model, setup.quant, setup.launch)
        usable.append(Ranked(setup, figures, quality, points, 0.0))
    floor = _DECENT * max((item.points for item in usable), default=0.0)
    if request.goal in _QUALITY_BLIND:
        rejected += [_rejection(item.setup, _INDECENT) for item in usable if item.points < floor]
        usable = [item for item in usable if item.points >= floor]
    scored = sorted((_scored(item, request.goal) for item in usable), key=lambda item: item.key)
    if request.model is None:
        chosen = _one_per(scored, lambda item: (model_line(item.setup), size_class(item.setup)))
    else:
        best = _one_per(_pareto(scored), lambda item: (item.setup.launch.engine, item.setup.quant.name))
        chosen = _without_twins(best)
    chosen = chosen[: request.top]
    kept = {id(item) for item in chosen}
    if request.model is not None:
        rejected += [_rejection(item.setup, _OUTDONE) for item in scored if id(item) not in kept]
    return tuple(chosen), tuple(sorted(rejected, key=lambda item: (str(item.config), item.reason)))


def _obstacle(figures: PredictedFigures, request: Request) -> str:
    if figures.oom_probability > request.max_oom:
        return f"{figures.oom_probability:.0%} risk of running out of memory, above {request.max_oom:.0%}"
    if not figures.fits:
        return "does not fit"
    speed = figures.decode_tps_full_context
    if speed is None:
        return "its speed cannot be predicted honestly"
    least = MIN_TPS if request.min_tps is None else request.min_tps
    if speed.value < least:
        return f"{speed.value:.2g} tok/s at a full context, below {least:g}"
    return ""


def _rejection(setup: Setup, reason: str) -> Rejected:
    launch = setup.launch
    config = {"model": launch.model, "quant": launch.quant, "engine": launch.engine}
    return Rejected(config={**config, "kv_type_k": launch.kv_type_k, "ubatch": launch.ubatch}, reason=reason)


def _value(interval: Interval | None) -> float:
    return 0.0 if interval is None else interval.value


def _scored(item: Ranked, goal: Goal) -> Ranked:
    score = {
        "balanced": item.points * (1.0 - math.exp(-item.usual_tps / _PACE_TPS)),
        "quality": item.points,
        "speed": item.full_tps,
        "throughput": _value(item.figures.decode_tps_total),
        "context": context_room(item.setup, item.figures),
    }[goal]
    return replace(item, score=score)


def context_room(setup: Setup, figures: PredictedFigures) -> float:
    """Tokens per sequence that the memory left would hold, at most what the model takes.

    Linear in the KV cache: a lower bound for models with windows, whose cache stops growing.
    """
    memory = figures.memory
    slack = max(0.0, memory.available_mib - memory.total_mib)
    tokens = setup.launch.ctx * (1 + slack / memory.kv_cache_mib) if memory.kv_cache_mib else math.inf
    return min(tokens, float(setup.model.max_context or setup.launch.ctx))


def model_line(setup: Setup) -> str:
    """The family without its generation: `qwen` for both `Qwen3.5` and `Qwen3.8`, but `qwen-coder`."""
    return re.sub(r"[\s-]+", "-", re.sub(r"\d+(\.\d+)*", "", setup.model.family)).strip("-").lower()


def size_class(setup: Setup) -> tuple[int, bool]:
    """Class of total parameters; mixtures and dense models apart, since their speeds differ so much."""
    total = setup.model.total_params_b
    return sum(total > limit for limit in _SIZE_CLASSES_B), setup.model.is_moe


def _one_per(ordered: Sequence[Ranked], group: Callable[[Ranked], object]) -> list[Ranked]:
    """The best of each group."""
    seen: set[object] = set()
    chosen = []
    for item in ordered:
        name = group(item)
        if name not in seen:
            seen.add(name)
            chosen.append(item)
    return chosen


def _merits(item: Ranked) -> tuple[float, ...]:
    figures = item.figures
    return (
        item.points, item.full_tps, -figures.oom_probability, context_room(item.setup, figures),
        _value(figures.decode_tps_total), _value(figures.prefill_tps),
    )  # fmt: skip


def _pareto(ordered: Sequence[Ranked]) -> list[Ranked]:
    """Those that no other one equals or beats in every merit; of full equals the first."""
    merits = [_merits(item) for item in ordered]
    return [
        item
        for index, item in enumerate(ordered)
        if not any(
            all(theirs >= mine for theirs, mine in zip(other, merits[index], strict=True))
            and (other != merits[index] or rival < index)
            for rival, other in enumerate(merits)
            if rival != index
        )
    ]


def _without_twins(ordered: Sequence[Ranked]) -> list[Ranked]:
    """Drop what differs from a better one on the same engine by less than a prediction can tell."""
    chosen: list[Ranked] = []
    for item in ordered:
        twin = any(
            other.setup.launch.engine == item.setup.launch.engine
            and abs(other.points - item.points) <= _SAME_QUALITY * item.points
            and abs(other.full_tps - item.full_tps) <= _SAME_SPEED * item.full_tps
            for other in chosen
        )
        if not twin:
            chosen.append(item)
    return chosen
