"""The probability of running out of memory: what is needed and what there is, with their errors.

Demand is the accounting's total; each part has its own error, fitted on runs that fitted or failed
(`advisor/risk_constants.json`, written by `advisor.training.risk`). There are two questions: whether a server
starts, and whether it survives once its context fills, when prompts take more than the accounting's buffers.
A single allocation may also be larger than a backend permits. It knows no engine's layout: the parts are
`advisor.memory`'s.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from advisor.config import GpuMemory, Memory, Setup
from advisor.memory.compute import graph_of
from advisor.memory.limits import allocation_ratio
from advisor.memory.llamacpp import FAMILY
from advisor.memory.paged import PAGED, asked_of_card_mib
from advisor.memory.scratch import prompt_scratch_mib, slack_mib
from advisor.memory.supply import free_mib

CONSTANTS = Path(__file__).with_name("risk_constants.json")

_ALLOCATION_SPREAD = 0.01
"""Log error of the largest single allocation: compute buffers are known to a few per cent at worst."""
_REFUSAL_MIB = 120.0
"""Error of what a card has free when a paged server looks (driver, other contexts)."""

UNFORESEEN = 0.05
"""Share of runs that hold what no accounting knows of: another process, a build of one's own, a setting that
nobody wrote down."""
_UNFORESEEN_ERROR = 0.2
"""Standard deviation of their demand, as a share of what is available."""

_PARTS = {
    "weights": "weights_mib",
    "KV cache": "kv_cache_mib",
    "recurrent state": "recurrent_state_mib",
    "compute buffers": "compute_mib",
    "context and libraries": "overhead_mib",
}


@dataclass(frozen=True, slots=True)
class Spread:
    """The error of one engine family's accounting: standard deviations, absolute and as shares of a part.

    `shift` moves demand as a share of the total. `growth_mib` is what a filled context takes beyond the
    accounting, `growth_spread_mib` its standard deviation.
    """

    shift: float
    fixed_mib: float
    weights_given: float
    weights_listed: float
    weights_computed: float
    compute_read: float
    compute_derived: float
    cache: float
    growth_mib: float
    growth_spread_mib: float


@dataclass(frozen=True, slots=True)
class Risk:
    """Probabilities of running out of memory: when the server starts, and at the latest when it is full."""

    start: float
    full: float


@lru_cache(maxsize=1)
def spreads() -> dict[str, Spread]:
    """The fitted constants by engine family (`llama.cpp`, `vllm`)."""
    content = json.loads(CONSTANTS.read_text(encoding="utf-8"))
    return {family: Spread(**values) for family, values in content["spreads"].items()}


def family_of(engine: str) -> str:
    """Whose errors apply: those of the paged servers, or llama.cpp's for all that take what they need."""
    return "vllm" if engine in PAGED else "llama.cpp"


@dataclass(frozen=True, slots=True)
class Demand:
    """All that risk looks at in one configuration: its devices' parts, and what lies outside the accounting.

    `weights`: how well their size is known; `compute_read`: whether compute buffers have the smaller error;
    `allocation`: the largest single allocation ÷ what the backend permits; `refusal_mib`: what a paged server
    wants of the card beyond what is free; `scratch_mib`, `slack_mib`: what a long prompt takes beside its
    budget, and what that leaves.
    """

    devices: tuple[GpuMemory, ...]
    paged: bool
    weights: Literal["known", "listed", "computed"]
    compute_read: bool
    allocation: float = 0.0
    refusal_mib: float = -math.inf
    scratch_mib: float = 0.0
    slack_mib: float = math.inf


def demand_of(setup: Setup, memory: Memory, fill: int | None = None) -> Demand:
    """The demand of `setup` with `fill` tokens read (None: a full context)."""
    paged = setup.launch.engine in PAGED
    devices = tuple(memory.per_gpu) or (memory,)
    basis = setup.weights.basis
    known: Literal["known", "listed", "computed"] = (
        "known" if basis in {"given", "read"} else "listed" if basis == "listed" else "computed"
    )
    if not paged:
        if setup.launch.engine not in FAMILY:
            return Demand(devices, paged, known, compute_read=False)
        return Demand(devices, paged, known, graph_of(setup.model).measured, allocation_ratio(setup))
    return Demand(
        devices,
        paged,
        known,
        compute_read=True,
        refusal_mib=asked_of_card_mib(setup) - free_mib(setup),
        scratch_mib=prompt_scratch_mib(setup, setup.launch.ctx if fill is None else fill),
        slack_mib=slack_mib(setup),
    )


def standard_error_mib(demand: Demand, device: GpuMemory, spread: Spread) -> float:
    """One standard deviation of what `device` needs, MiB: independent errors of the parts."""
    weights = {
        "known": spread.weights_given,
        "listed": spread.weights_listed,
        "computed": spread.weights_computed,
    }[demand.weights]
    compute = spread.compute_read if demand.compute_read else spread.compute_derived
    return math.hypot(
        spread.fixed_mib,
        weights * device.weights_mib,
        compute * device.compute_mib,
        spread.cache * (device.kv_cache_mib + device.recurrent_state_mib),
    )


def risk_under(demand: Demand, spread: Spread) -> Risk:
    """The risk of `demand` under `spread`.

    At the start it is about one half where the estimate equals what is available; of several devices, the
    likeliest to fail counts.
    """
    start = full = 0.0
    for device in demand.devices:
        error = standard_error_mib(demand, device, spread)
        excess = device.total_mib * (1 + spread.shift) - device.available_mib
        start = max(start, _exceeds(excess - device.growth_mib, error, device))
        if demand.paged:
            full = start
        else:
            error = math.hypot(error, spread.growth_spread_mib)
            full = max(full, start, _exceeds(excess + spread.growth_mib, error, device))
    if demand.paged:
        blocked = normal(demand.refusal_mib / _REFUSAL_MIB)
        growth = spread.growth_mib + demand.scratch_mib - demand.slack_mib
        full = max(full, normal(growth / spread.growth_spread_mib))
    else:
        blocked = normal(math.log(demand.allocation) / _ALLOCATION_SPREAD) if demand.allocation else 0.0
    return Risk(_either(start, blocked), _either(full, blocked))


def _exceeds(excess_mib: float, error_mib: float, device: GpuMemory) -> float:
    """Probability that demand exceeds supply: a normal error, or (a few runs) one of another order."""
    unforeseen = normal(excess_mib / (_UNFORESEEN_ERROR * max(device.available_mib, 1.0)))
    return (1 - UNFORESEEN) * normal(excess_mib / error_mib) + UNFORESEEN * unforeseen


def risk_of(setup: Setup, memory: Memory, spread: Spread | None = None, fill: int | None = None) -> Risk:
    """The risk of `setup` at the start, and with `fill` tokens read (None: a full context)."""
    return risk_under(demand_of(setup, memory, fill), spread or spreads()[family_of(setup.launch.engine)])


def oom_probability(setup: Setup, memory: Memory, spread: Spread | None = None) -> float:
    """Probability in [0, 1] that `setup` runs out of memory, at the start or while its context fills."""
    return risk_of(setup, memory, spread).full


def fits(probability: float, memory: Memory) -> bool:
    """Whether a configuration counts as fitting: the estimate does, and that is the likelier outcome."""
    return probability <= 0.5 and memory.total_mib <= memory.available_mib


def dominant_part(memory: GpuMemory) -> tuple[str, float]:
    """The largest part of the memory and its share of the total, for explanations."""
    name = max(_PARTS, key=lambda part: float(getattr(memory, _PARTS[part])))
    return name, float(getattr(memory, _PARTS[name])) / memory.total_mib if memory.total_mib else 0.0


def normal(z: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _either(one: float, other: float) -> float:
    """Probability of at least one of two independent failures."""
    return 1 - (1 - one) * (1 - other)
