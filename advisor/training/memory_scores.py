"""How right memory and risk are, leave-source-out: memory in use, outcomes, borderline cases, server starts.

It scores; what a case is, `advisor.training.memory_cases` says, and the fit is `advisor.training.risk`'s.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from statistics import median
from typing import Any

from advisor.config import GpuMemory, Setup
from advisor.memory.llamacpp import FAMILY
from advisor.memory.paged import PAGED, asked_of_card_mib
from advisor.memory.vllm import graphs_on_top_mib
from advisor.risk import Spread, family_of, risk_under
from advisor.training.memory_cases import MemoryCase
from advisor.training.risk import FAMILIES, fit_risk, left_out_spreads, reliability, score
from advisor.words import SAFE
from knowledge.units import MIB_PER_GIB

_FIT_MARGIN_MIB = 1024.0
"""What llama.cpp's `--fit` leaves free."""


def held_mib(setup: Setup, device: GpuMemory) -> float:
    """What a running engine holds of a device: its need, and no more than there is.

    A paged server fills its budget with cache; its context and, before 0.21, captured graphs come on top.
    Where llama.cpp was not told what to place, it keeps a GiB free (`--fit`, since December 2025).
    """
    if setup.launch.engine in PAGED:
        budget = asked_of_card_mib(setup) + graphs_on_top_mib(setup)
        return min(max(device.total_mib, budget), setup.launch.vram_gib * MIB_PER_GIB)
    fitted = setup.launch.engine in FAMILY and setup.launch.n_gpu_layers is None
    if fitted and not setup.launch.n_cpu_moe:
        return min(device.total_mib, max(device.available_mib - _FIT_MARGIN_MIB, 0.0))
    return min(device.total_mib, device.available_mib)


def memory_scores(cases: Sequence[MemoryCase]) -> dict[str, Any]:
    """Every score of the memory side, as plain figures for the artefact and the model card."""
    spreads = left_out_spreads(cases)
    full = [risk_under(case.demand, spread).full for case, spread in zip(cases, spreads, strict=True)]
    return {
        "leave_source_out": _outcomes(cases, full),
        "reliability": reliability(full, [case.oom for case in cases]),
        "called_fitting": _called_fitting(cases, full),
        "memory_in_use": _in_use(cases),
        "borderline": _borderline(cases),
        "vllm_starts": _starts(cases, spreads),
    }


def _outcomes(cases: Sequence[MemoryCase], full: Sequence[float]) -> dict[str, Any]:
    def scored(family: str | None = None) -> dict[str, Any]:
        own = [family in {None, family_of(case.setup.launch.engine)} for case in cases]
        chosen = [index for index, wanted in enumerate(own) if wanted]
        return asdict(score([full[i] for i in chosen], [cases[i].oom for i in chosen]))

    return {"all": scored()} | {family: scored(family) for family in FAMILIES}


def _called_fitting(cases: Sequence[MemoryCase], full: Sequence[float]) -> dict[str, int]:
    fitting = [case.oom for case, risk in zip(cases, full, strict=True) if risk <= SAFE]
    return {"n": len(fitting), "ran_out": sum(fitting)}


def _in_use(cases: Sequence[MemoryCase]) -> dict[str, Any]:
    """|estimated − measured| ÷ measured of runs that state what they used, by engine; nothing is fitted."""
    errors: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        if case.used_mib and not case.oom:
            held = sum(held_mib(case.setup, device) for device in case.memory.per_gpu or [case.memory])
            errors[case.setup.launch.engine].append(abs(held / case.used_mib - 1))
    return {engine: _spread_of(found) for engine, found in sorted(errors.items())}


def _spread_of(errors: Sequence[float]) -> dict[str, float]:
    ordered = sorted(errors)
    return {"n": len(ordered), "mdape": median(ordered), "p90": ordered[math.ceil(0.9 * len(ordered)) - 1]}


def _borderline(cases: Sequence[MemoryCase]) -> dict[str, Any]:
    """Curated cases at 50 % risk, each under constants fitted without all of its source; and their pairs.

    A pair is a failed and a good run of the same page, model, card and engine.
    """
    curated = [case for case in cases if case.kind == "borderline"]
    without: dict[str, dict[str, Spread]] = {}
    groups: dict[tuple[str, ...], tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    right = 0
    for case in curated:
        if case.source not in without:
            without[case.source] = fit_risk([other for other in cases if other.source != case.source])
        launch = case.setup.launch
        risk = risk_under(case.demand, without[case.source][family_of(launch.engine)]).full
        right += (risk > 0.5) == case.oom
        groups[case.address, launch.model, launch.gpu, launch.engine][not case.oom].append(risk)
    pairs = [pair for failed, good in groups.values() for pair in product(failed, good)]
    ordered = sum((bad > fine) + 0.5 * (bad == fine) for bad, fine in pairs)
    return {"n": len(curated), "right": right, "pairs": len(pairs), "ordered": ordered}


def _starts(cases: Sequence[MemoryCase], spreads: Sequence[Spread]) -> dict[str, Any]:
    """VLLM start-ups: did it start, and the cache that it had left."""
    starts = [
        (case, spread)
        for case, spread in zip(cases, spreads, strict=True)
        if case.kind == "start" and case.setup.launch.engine == "vllm"
    ]
    right = sum((risk_under(case.demand, spread).start > 0.5) == case.oom for case, spread in starts)
    left = [
        abs(case.residual_mib / case.left_mib)
        for case, _ in starts
        if case.residual_mib is not None and case.left_mib
    ]
    return {
        "n": len(starts),
        "ran_out": sum(case.oom for case, _ in starts),
        "right": right,
        "cache_left": _spread_of(left) if left else None,
    }
