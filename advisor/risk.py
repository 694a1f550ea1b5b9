"""The probability of running out of memory: what is needed and what there is, with their errors.

Demand is the accounting's total; each part has its own error, fitted on runs that fitted or failed
(`advisor/risk_constants.json`, written by `advisor.training.risk`). A vLLM server fills its budget with
cache, so beside the start it can fail later, when a prompt's transient buffers exceed what the budget left of
the card. It knows no engine's layout: the parts are `advisor.memory`'s.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from advisor.config import GpuMemory, Memory, Setup
from advisor.memory.compute import graph_of
from advisor.memory.llamacpp import FAMILY
from advisor.memory.supply import free_mib, usable_fraction
from advisor.memory.vllm import utilization
from knowledge.units import MIB_PER_GIB

CONSTANTS = Path(__file__).with_name("risk_constants.json")

_SGLANG_SHARE = 0.9
"""What SGLang's pools and graphs end up holding of a card by default."""

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

    `shift` moves demand as a share of the total; `transient_mib` is the median of what a prompt takes beside
    vLLM's budget and `transient_spread` its log standard deviation (0: no such thing).
    """

    shift: float
    fixed_mib: float
    weights_given: float
    weights_guessed: float
    compute_read: float
    compute_derived: float
    cache: float
    transient_mib: float = 0.0
    transient_spread: float = 0.0


@lru_cache(maxsize=1)
def spreads() -> dict[str, Spread]:
    """The fitted constants by engine family (`llama.cpp`, `vllm`)."""
    content = json.loads(CONSTANTS.read_text(encoding="utf-8"))
    return {family: Spread(**values) for family, values in content["spreads"].items()}


def family_of(engine: str) -> str:
    """The engine family whose errors apply: llama.cpp's relatives, else the paged servers."""
    return "llama.cpp" if engine in FAMILY else "vllm"


def standard_error_mib(setup: Setup, memory: GpuMemory, spread: Spread) -> float:
    """One standard deviation of demand, MiB: independent errors of the parts."""
    weights = spread.weights_given if setup.weights.basis == "given" else spread.weights_guessed
    read = setup.launch.engine not in FAMILY or graph_of(setup.model).measured
    compute = spread.compute_read if read else spread.compute_derived
    return math.hypot(
        spread.fixed_mib,
        weights * memory.weights_mib,
        compute * memory.compute_mib,
        spread.cache * (memory.kv_cache_mib + memory.recurrent_state_mib),
    )


def oom_probability(setup: Setup, memory: Memory, spread: Spread | None = None) -> float:
    """Probability in [0, 1] that `setup` runs out of memory, at the start or while its context fills.

    About one half where the estimate equals what is available; of several devices, the likeliest to fail.
    """
    spread = spread or spreads()[family_of(setup.launch.engine)]
    worst = 0.0
    for device in memory.per_gpu or [memory]:
        excess = device.total_mib * (1 + spread.shift) - device.available_mib
        worst = max(worst, _normal(excess / standard_error_mib(setup, device, spread)))
    return 1 - (1 - worst) * (1 - transient_probability(setup, spread))


def transient_probability(setup: Setup, spread: Spread) -> float:
    """Probability that a prompt's buffers exceed what a paged server's budget leaves of the card."""
    if not spread.transient_mib or setup.launch.engine in FAMILY:
        return 0.0
    device = setup.launch.vram_gib * MIB_PER_GIB * usable_fraction(setup)
    share = utilization(setup.launch) if setup.launch.engine == "vllm" else _SGLANG_SHARE
    slack = max(free_mib(setup) - share * device, 1.0)
    return _normal(math.log(spread.transient_mib / slack) / spread.transient_spread)


def fits(probability: float, memory: Memory) -> bool:
    """Whether a configuration counts as fitting: the estimate does, and that is the likelier outcome."""
    return probability <= 0.5 and memory.total_mib <= memory.available_mib


def dominant_part(memory: GpuMemory) -> tuple[str, float]:
    """The largest part of the memory and its share of the total, for explanations."""
    name = max(_PARTS, key=lambda part: float(getattr(memory, _PARTS[part])))
    return name, float(getattr(memory, _PARTS[name])) / memory.total_mib if memory.total_mib else 0.0


def _normal(z: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * math.erfc(-z / math.sqrt(2))
