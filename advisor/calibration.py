"""What the user's own starts say about a setup: free memory, weights, buffers, and what came up or ran out.

It compares each receipt with the accounting of the same launch and corrects the next one by the difference;
without receipts nothing changes. It reads no files (`advisor.receipts`) and no logs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean

from advisor.config import Calibration, GpuMemory, Memory, Setup
from advisor.measured import Measured, measured_starts
from advisor.memory import account
from advisor.receipts import Receipt, Receipts
from advisor.risk import Risk, family_of, fits, risk_of, spreads
from knowledge.catalog import Catalog
from knowledge.units import MIB_PER_GIB, format_mib
from knowledge.weights import WeightBytes

_SAME_MEMORY = 0.1
"""Share by which the memory of two cards of one name may differ and still be the same card's."""
_LEAST_FREE = 0.75
"""Share of a card that a start must have found free to speak of the card: below it, another program of size
lay there, which `--vram-used` is for."""
_STRANGERS = 2.0
"""Starts of other models count n ÷ (n + this): their error need not be this model's."""
_FREE_KNOWN, _BUFFERS_KNOWN = 0.6, 0.65
"""Shares of the fixed error that stay once the free memory is logged, and once this model's buffers are.
It was fitted on strangers' machines, whose drivers and displays are unknown; the shares are judgement."""
_ROUNDING_MIB = 1.0
"""Two accountings of one launch may differ by as much."""
_RAN_OUT, _CAME_UP = 0.9, 0.05
"""Risk at least, with no more room than an own start that ran out; at most, with no less than one that came
up."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Memory of a setup with its own starts counted in, and what follows for the risk."""

    memory: Memory
    risk: Risk
    fits: bool


def calibrated(setup: Setup, receipts: Receipts, catalog: Catalog) -> Setup:
    """The setup with what `receipts` measured: free memory of its card, its weights, its buffers."""
    if not receipts.starts:
        return setup
    host, launch = setup.host, setup.launch
    stated = host.vram_used_gib is not None or host.headless or host.free_mib is not None
    known = _knowledge(
        receipts, launch.gpu, launch.vram_gib, launch.gpu_count, launch.engine, setup.model.hf_id,
        setup.quant.name, catalog,
    )  # fmt: skip
    free = None if stated else known.free_mib
    # a size that was stated, or read from the file itself, needs no correction
    scale = known.weights_scale if setup.weights.basis in {"listed", "computed"} else None
    said = [
        "" if free is None else f"free memory ({format_mib(free)})",
        "" if scale is None else "weights",
        "" if known.compute_scale == 1.0 else "buffers",
    ]
    bounds = _Bounds() if stated else known.bounds
    if not any(said) and bounds == _Bounds():
        return setup
    certainty = (1.0 if free is None else _FREE_KNOWN) * (_BUFFERS_KNOWN if known.buffers_known else 1.0)
    calibration = Calibration(
        compute_scale=known.compute_scale,
        overhead_scale=known.overhead_scale,
        certainty=certainty,
        came_up_room_mib=bounds.came_up,
        ran_out_room_mib=bounds.ran_out,
        gave_out_room_mib=bounds.gave_out,
        parts=tuple(part for part in said if part),
        source=known.source,
    )
    return replace(
        setup,
        weights=setup.weights if scale is None else _scaled(setup.weights, scale),
        host=replace(host, free_mib=free),
        calibration=calibration,
    )


def judged(setup: Setup) -> Judged:
    """Memory and risk of a setup; own starts of at least, or at most, its size outweigh the fitted errors.

    Raises:
        UnsupportedError: as `advisor.memory.account`.
    """
    memory = accounted(setup)
    own = setup.calibration
    if own is None:
        risk = risk_of(setup, memory)
        return Judged(memory, risk, fits(risk.full, memory))
    spread = spreads()[family_of(setup.launch.engine)]
    risk = risk_of(setup, memory, replace(spread, fixed_mib=spread.fixed_mib * own.certainty))
    room = memory.available_mib - memory.total_mib
    if _within(room, own.ran_out_room_mib):
        return Judged(memory, Risk(max(risk.start, _RAN_OUT), max(risk.full, _RAN_OUT)), fits=False)
    if _within(room, own.gave_out_room_mib):
        return Judged(memory, Risk(risk.start, max(risk.full, _RAN_OUT)), fits=False)
    spare = -math.inf if own.came_up_room_mib is None else room + _ROUNDING_MIB - own.came_up_room_mib
    if spare >= 0:
        risk = Risk(min(risk.start, _CAME_UP), risk.full)
    # what comes up may still run out once its context is full
    if spare >= spread.growth_mib + spread.growth_spread_mib:
        return Judged(memory, Risk(risk.start, min(risk.full, _CAME_UP)), fits=memory.available_mib > 0)
    return Judged(memory, risk, fits(risk.full, memory))


def accounted(setup: Setup) -> Memory:
    """The accounting of a setup, its buffers scaled as own starts measured them.

    Raises:
        UnsupportedError: as `advisor.memory.account`.
    """
    memory, own = account(setup), setup.calibration
    if own is None or own.compute_scale == own.overhead_scale == 1.0:
        return memory
    changed = _rescaled(memory, own)
    return memory.model_copy(
        update={
            **changed,
            "per_gpu": [part.model_copy(update=_rescaled(part, own)) for part in memory.per_gpu],
        }
    )


def own_words(setup: Setup) -> str:
    """The sentence that says what of an answer rests on the user's own starts; empty where nothing does."""
    own = setup.calibration
    if own is None or not own.parts:
        return ""
    parts = own.parts[0] if len(own.parts) == 1 else f"{', '.join(own.parts[:-1])} and {own.parts[-1]}"
    return f"{parts[0].upper()}{parts[1:]} are as your own start measured them ({own.source})."


def own_warning(setup: Setup, memory: Memory) -> str:
    """That a start of the user's own with as much room ran out of memory; empty where none did."""
    own = setup.calibration
    room = memory.available_mib - memory.total_mib
    if own is None or not (_within(room, own.ran_out_room_mib) or _within(room, own.gave_out_room_mib)):
        return ""
    return f"your own start of this model, with no less room than this, ran out of memory ({own.source})"


def _within(room_mib: float, failed_mib: float | None) -> bool:
    """Whether a configuration has no more room than an own start that failed."""
    return failed_mib is not None and room_mib <= failed_mib + _ROUNDING_MIB


def _rescaled(part: GpuMemory, own: Calibration) -> dict[str, float]:
    compute, overhead = part.compute_mib * own.compute_scale, part.overhead_mib * own.overhead_scale
    more = compute - part.compute_mib + overhead - part.overhead_mib
    return {"compute_mib": compute, "overhead_mib": overhead, "total_mib": part.total_mib + more}


def _scaled(weights: WeightBytes, scale: float) -> WeightBytes:
    """The weights at the size that was measured, which counts as given."""
    names = ("token_embd", "output", "dense", "experts", "per_layer_embedding")
    return replace(weights, basis="given", **{name: getattr(weights, name) * scale for name in names})


@dataclass(frozen=True, slots=True)
class _Bounds:
    """MiB that the accounting leaves free, of the own starts that mark what goes."""

    came_up: float | None = None
    ran_out: float | None = None
    gave_out: float | None = None


@dataclass(frozen=True, slots=True)
class _Knowledge:
    """What receipts say of one model and format on one card, whatever the rest of the launch."""

    free_mib: float | None
    weights_scale: float | None
    compute_scale: float
    overhead_scale: float
    buffers_known: bool
    bounds: _Bounds
    source: str


@lru_cache(maxsize=2048)
def _knowledge(
    receipts: Receipts, gpu: str, vram_gib: float, count: int, engine: str, model: str, quant: str,
    catalog: Catalog,
) -> _Knowledge:  # fmt: skip
    here = [item for item in receipts.starts if item.gpu == gpu and _same_memory(item, vram_gib)]
    family = [
        item
        for item in measured_starts(receipts, catalog)
        if family_of(item.receipt.engine) == family_of(engine)
    ]
    own = [item for item in family if item.receipt.model == model]
    same = [item for item in own if _format(item.receipt.quant) == _format(quant)]
    free = [
        item
        for item in here
        if item.free_mib is not None and _LEAST_FREE <= item.free_mib / MIB_PER_GIB / vram_gib <= 1.0
    ]
    weights = [item.weights for item in same if item.weights is not None]
    scale = weights[-1] if weights else None
    version = own[-1].receipt.engine_version if own else None
    current = [item for item in own if item.receipt.engine_version == version]
    others = [item for item in family if item not in own]
    compute = _scale([m.compute for m in current], [m.compute for m in others])
    overhead = _scale([m.overhead for m in current], [m.overhead for m in others])
    bounds = _bounds(
        [m for m in same if m.placed and m.receipt in here and m.receipt.gpu_count == count],
        scale,
        compute,
        overhead,
    )
    latest = [*free[-1:], *(m.receipt for m in (same or own or family)[-1:])]
    return _Knowledge(
        free_mib=free[-1].free_mib if free else None,
        weights_scale=scale,
        compute_scale=compute,
        overhead_scale=overhead,
        buffers_known=any(item.compute is not None for item in own),
        bounds=bounds,
        source=_source(latest[-1]) if latest else "",
    )


def _same_memory(receipt: Receipt, vram_gib: float) -> bool:
    return receipt.vram_gib is None or abs(receipt.vram_gib / vram_gib - 1) <= _SAME_MEMORY


def _format(quant: str | None) -> str | None:
    """A format's name; a natively 4-bit model is the same file under both of its names."""
    return "MXFP4" if quant == "MXFP4_MOE" else quant


def _source(receipt: Receipt) -> str:
    return " of ".join(filter(None, (receipt.log or "a log", receipt.observed_on)))


def _scale(own: Sequence[float | None], others: Sequence[float | None]) -> float:
    """The largest own ratio; else the others' geometric mean, drawn towards 1 while they are few.

    The error of a buffer can grow with the context, and one scale serves all contexts: the largest is the
    safe one.
    """
    mine = [ratio for ratio in own if ratio is not None]
    if mine:
        return max(mine)
    theirs = [math.log(ratio) for ratio in others if ratio is not None]
    return math.exp(fmean(theirs) * len(theirs) / (len(theirs) + _STRANGERS)) if theirs else 1.0


def _bounds(runs: Sequence[Measured], weights: float | None, compute: float, overhead: float) -> _Bounds:
    """The tightest start that came up, and the roomiest ones that did not, or not for long.

    Of two that contradict each other the later one holds. What is compared is the room that the accounting
    leaves, so that starts with other memory free, or another share of the card, count too.
    """
    own = Calibration(compute_scale=compute, overhead_scale=overhead)
    up: list[float] = []
    out: list[float] = []
    later: list[float] = []
    for run in runs:
        fullest = run.estimate
        more = ((weights or 1.0) - 1.0) * fullest.weights_mib
        room = fullest.available_mib - _rescaled(fullest, own)["total_mib"] - more
        if run.receipt.outcome == "ok":
            up.append(room)
            out, later = ([other for other in rooms if other < room] for rooms in (out, later))
        elif run.came_up:
            later.append(room)
        else:
            out.append(room)
            up = [other for other in up if other > room]
    return _Bounds(min(up, default=None), max(out, default=None), max(later, default=None))
