"""The words for an answer's figures, the same on a terminal and on the page.

It owns names of parts, of the basis of a prediction and of a configuration. It draws no tables and knows no
colours.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from advisor.config import Basis, Interval, LaunchConfig, Memory, Prediction, Verdict
from knowledge.schema import Claim
from knowledge.units import format_mib, format_tokens, format_tps

PARTS = (
    ("weights", "weights_mib"),
    ("KV cache", "kv_cache_mib"),
    ("recurrent state", "recurrent_state_mib"),
    ("compute buffers", "compute_mib"),
    ("context and libraries", "overhead_mib"),
)
"""Parts of device memory, with their fields in `Memory`, in the order in which they are stacked."""
BASIS: Mapping[Basis, str] = {
    "measured": "measured on this card with this model",
    "interpolated": "between measured runs of this card and of this model",
    "extrapolated": "beyond what was measured: the interval is wide",
    "physics": "from physics alone: nothing like it was measured",
}
VERDICTS: Mapping[Verdict, str] = {"fits": "Fits", "tight": "Tight", "oom": "Runs out of memory"}
SAFE = 0.05
"""Risk of running out of memory up to which a launch counts as fitting."""
_LIKELY = 0.5
"""Risk above which running out is the likelier outcome."""
_MIN_SHOWN_RISK = 0.001
_MIN_ROUND_RISK = 0.1
_MS_PER_S, _MIN_ROUND_SECONDS = 1000, 10


def verdict_of(probability: float) -> Verdict:
    """`oom` where running out is likelier than not, `tight` above the risk that is safe, else `fits`."""
    return "oom" if probability > _LIKELY else "tight" if probability > SAFE else "fits"


def cards_text(config: LaunchConfig) -> str:
    """`RTX 3090`, `2 × RTX 3090`, or cards that differ by their own names."""
    alike = config.gpu_count > 1 and config.vram_per_gpu_gib is None
    return f"{config.gpu_count} × {config.gpu}" if alike else config.gpu


def memory_text(config: LaunchConfig) -> str:
    """Memory of the cards: `24 GiB` each, or `24 + 12 GiB`."""
    return " + ".join(f"{gib:g}" for gib in config.vram_per_gpu_gib or (config.vram_gib,)) + " GiB"


def devices_text(memory: Memory) -> str:
    """`GPU 0: 15.2 GiB of 23.2 GiB · GPU 1: …` where cards hold different amounts, else empty."""
    cards = [f"{format_mib(card.total_mib)} of {format_mib(card.available_mib)}" for card in memory.per_gpu]
    if len(set(cards)) < 2:
        return ""
    return " · ".join(f"GPU {index}: {card}" for index, card in enumerate(cards))


def short_name(model: str) -> str:
    """A model's name without the account that it is published under."""
    return model.rsplit("/", 1)[-1]


def cache_text(key: str, value: str) -> str:
    """The type of the KV cache: `q8_0`, or `f16/q8_0` where keys and values differ."""
    return key if key == value else f"{key}/{value}"


def launch_text(config: LaunchConfig) -> str:
    """Format, engine, cache and what stays on the host: `IQ4_XS · llama.cpp · KV q8_0`."""
    parts = [config.quant, config.engine, f"KV {cache_text(config.kv_type_k, config.kv_type_v)}"]
    if config.n_cpu_moe:
        parts.append(f"{config.n_cpu_moe} layers' experts on the host")
    if config.n_gpu_layers is not None:
        parts.append(f"{config.n_gpu_layers} layers on the GPU")
    return " · ".join(parts)


def command_text(item: Prediction) -> str:
    """The launch command as a shell takes it, its environment before it."""
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in item.env.items()), item.command])


def tokens_text(tokens: int) -> str:
    """`256Ki tokens`."""
    return f"{format_tokens(tokens)} tokens"


def cached_text(tokens: int) -> str:
    """What the cache holds when decoding starts."""
    return f"{tokens_text(tokens)} in the cache" if tokens else "empty cache"


def range_text(interval: Interval) -> str:
    """The ends of an interval, in its own unit."""
    return f"{format_tps(interval.low)}–{format_tps(interval.high)}"


def risk_text(probability: float) -> str:
    """A probability (0 to 1) in percent, as precise as it deserves."""
    if probability < _MIN_SHOWN_RISK:
        return "<0.1 %"
    return f"{100 * probability:.{1 if probability < _MIN_ROUND_RISK else 0}f} %"


def claim_text(claim: Claim) -> str:
    """What became of a release's claim: the verdict, and what was measured of it."""
    ratios = ", ".join(claim.measured_ratios.split("|"))
    pairs = f"{claim.n_pairs} pairs: {ratios}" if claim.n_pairs else "nothing measured"
    return f"{claim.verdict}; {pairs}"


def seconds_text(milliseconds: float) -> str:
    """A wait as people read it: `240 ms`, `1.8 s`, `95 s`."""
    if milliseconds < _MS_PER_S:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / _MS_PER_S
    return f"{seconds:.{1 if seconds < _MIN_ROUND_SECONDS else 0}f} s"
