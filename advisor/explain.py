"""Why a configuration is as fast and as large as it is, in a sentence or two.

It owns the words; every number in them is the accounting's or the prediction's, and none is made up here.
"""

from __future__ import annotations

from advisor.calibration import accounted
from advisor.config import PredictedFigures, Prediction, Setup
from advisor.speed.roofline import DECODE_PARTS, decode_parts
from advisor.speed.work import work_of
from knowledge.kv_types import KV_TYPES, normalise_kv_type
from knowledge.units import BYTES_PER_GIB, format_mib, format_tokens, format_tps

_LIMITS = {
    "weights": "reading the weights from GPU memory",
    "kv": "reading the KV cache",
    "state": "reading and writing the recurrent state",
    "flop": "arithmetic",
    "host": "reading what lies in host RAM",
    "link": "the links between the GPUs",
}
_GROUP = {
    "weights": "weights", "experts": "weights", "kv": "kv", "vector_attention": "kv", "state": "state",
    "flop": "flop", "attention": "flop", "link": "link", "host": "host",
}  # fmt: skip
"""Parts of a decoding step that a person can do something about; fixed costs per layer are not among them."""


def why(setup: Setup, figures: PredictedFigures) -> str:
    """What limits the speed, what the context costs, and why the cache has its type."""
    return " ".join(
        part for part in (_speed(setup, figures), _context(setup, figures), _cache(setup)) if part
    )


def instead(first: Prediction, second: Prediction) -> str:
    """What the second choice would cost or bring, figure by figure: its own, and the first's."""
    pairs = (
        ("decode at the full context", first.prediction.decode_tps_full_context,
         second.prediction.decode_tps_full_context),
        ("all together", first.prediction.decode_tps_total, second.prediction.decode_tps_total),
        ("prefill", first.prediction.prefill_tps, second.prediction.prefill_tps),
    )  # fmt: skip
    said = [
        f"{name} {format_tps(other.value)} instead of {format_tps(one.value)} tok/s"
        f" ({other.value / one.value - 1:+.0%})"
        for name, one, other in pairs
        if one is not None and other is not None and (name != "all together" or first.config.concurrency > 1)
    ]
    took, takes = first.prediction.memory.total_mib, second.prediction.memory.total_mib
    said.append(f"memory {format_mib(takes)} instead of {format_mib(took)}")
    if first.quality is not None and second.quality is not None:
        said.append(f"quality {second.quality:.3g} instead of {first.quality:.3g} points")
    return "; ".join(said) + "."


def _limit(setup: Setup, depth: int) -> str:
    """The group of parts that takes most of an ideal decoding step at `depth`."""
    groups: dict[str, float] = {}
    times = decode_parts(setup, setup.launch.concurrency, depth)
    for name, seconds in zip(DECODE_PARTS, times, strict=True):
        if name in _GROUP:
            groups[_GROUP[name]] = groups.get(_GROUP[name], 0.0) + seconds
    return max(groups, key=lambda name: groups[name])


def _speed(setup: Setup, figures: PredictedFigures) -> str:
    launch, model, work = setup.launch, setup.model, work_of(setup)
    if figures.decode_tps is None:
        return ""
    start, full = _limit(setup, launch.depth), _limit(setup, launch.ctx)
    text = f"A decoding step reads {work.weight_bytes(launch.concurrency) / BYTES_PER_GIB:.1f} GiB of weights"
    if model.is_moe:
        text += f" ({model.active_params_b:.3g}B of {model.total_params_b:.3g}B parameters active per token)"
    if figures.decode_tps_full_context is not None:
        cache = launch.concurrency * work.kv_bytes(launch.ctx) / BYTES_PER_GIB
        text += (
            f" and, with {format_tokens(launch.ctx)} tokens in the cache, {cache:.1f} GiB of that:"
            f" {format_tps(figures.decode_tps.value)} tok/s become"
            f" {format_tps(figures.decode_tps_full_context.value)}"
        )
    limit = _LIMITS[start] if full == start else f"first {_LIMITS[start]}, then {_LIMITS[full]}"
    return f"{text}. What limits it is {limit}."


def _context(setup: Setup, figures: PredictedFigures) -> str:
    """Where the memory goes: the context's share, and what is left."""
    memory, launch = figures.memory, setup.launch
    sequences = f" × {launch.concurrency}" if launch.concurrency > 1 else ""
    text = f"{format_tokens(launch.ctx)}{sequences} tokens cost {format_mib(memory.kv_cache_mib)} of KV cache"
    if memory.recurrent_state_mib >= 1:
        text += f" and {format_mib(memory.recurrent_state_mib)} of recurrent state"
    left = memory.available_mib - memory.total_mib
    tail = f"{format_mib(left)} stay free" if left >= 0 else f"{format_mib(-left)} are missing"
    if memory.host_mib > memory.weights_mib * 0.05 and (launch.n_cpu_moe or launch.n_gpu_layers is not None):
        tail += f", and {format_mib(memory.host_mib)} lie in host RAM"
    return f"{text} beside {format_mib(memory.weights_mib)} of weights; {tail}."


def _cache(setup: Setup) -> str:
    """Why a narrow cache: what the full-width one would need."""
    launch = setup.launch
    name = normalise_kv_type(launch.kv_type_k)
    if name is None or KV_TYPES[name].bits >= 16:
        return ""
    as_wide = setup.with_launch(kv_type_k="f16", kv_type_v="f16")
    wide = accounted(as_wide)
    spare = wide.available_mib - wide.total_mib
    if spare < 0:
        return f"The cache is {name} because f16 would lack {format_mib(-spare)}."
    faster = _cache_seconds(setup) < _cache_seconds(as_wide)
    how = "is read faster" if faster else "costs speed at depth here"
    return f"The cache is {name}, which {how}; with f16 {format_mib(spare)} would stay free."


def _cache_seconds(setup: Setup) -> float:
    """Ideal seconds that a step at a full context spends on the cache."""
    parts = decode_parts(setup, setup.launch.concurrency, setup.launch.ctx)
    return sum(
        part for name, part in zip(DECODE_PARTS, parts, strict=True) if name in {"kv", "vector_attention"}
    )
