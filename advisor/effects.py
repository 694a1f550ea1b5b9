"""What changes really brought: pairs of runs that differ in one thing, published ones and the store's own.

It groups pairs and says how far they agree; it predicts nothing. What releases claim stands beside it, from
the facts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from advisor.listings import Measured
from knowledge.schema import Effect

_RATES = ("decode_tps", "decode_tps_total", "prefill_tps", "ttft_ms")
_WORDS = {
    "engine_version": "version",
    "backend": "backend",
    "spec_decode": "speculation speculative decoding spec",
    "kv_type_k": "KV cache type kv-cache-dtype cache-type-k",
    "flash_attn": "flash attention flash-attn FA",
    "ubatch": "micro-batch ubatch-size",
    "batch": "batch-size",
    "n_cpu_moe": "experts on the host n-cpu-moe",
    "power_limit_w": "power limit, W",
}
"""How each column of the store is called, and by which words it is found."""
_NOTICEABLE = 0.02
"""A median that moves less than this moves nothing."""
_MOST_ADDRESSES = 3


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair: the second run's figure over the first's."""

    engine: str
    change: tuple[str, str]
    metric: str
    ratio: float
    several: bool | None
    """More than one sequence at once; None where the source does not say."""
    source_url: str
    model: str
    found_by: str
    """Everything by which it can be looked for, in lower case."""


def published(effects: Iterable[Effect]) -> list[Pair]:
    """The pairs that others published."""
    return [
        Pair(
            effect.engine,
            (effect.setting_a, effect.setting_b),
            effect.metric,
            effect.ratio_b_over_a,
            None if not effect.concurrency.isdigit() else int(effect.concurrency) > 1,
            effect.source_url,
            effect.model,
            " ".join(str(value) for value in dict(effect).values()).lower(),
        )
        for effect in effects
    ]


def stored(column: str, rows: Iterable[Mapping[str, Any]]) -> list[Pair]:
    """The pairs of the store's runs that differ in `column`; speculation is held against none."""
    found = []
    for row in rows:
        turned = column == "spec_decode" and row["setting_b"] == "none"
        settings = [_setting(column, row[name]) for name in ("setting_a", "setting_b")]
        change = (settings[1], settings[0]) if turned else (settings[0], settings[1])
        named = [row[name] or "" for name in ("engine", "gpu_id", "model_id", "quant_id")]
        for metric in _RATES:
            ratio = row[f"{metric}_ratio"]
            several = (row["concurrency"] or 1) > 1
            # Of one sequence, the total is the same figure once more.
            if ratio and (several or metric != "decode_tps_total"):
                found.append(
                    Pair(
                        row["engine"] or "engine not stated",
                        change,
                        metric,
                        1.0 / ratio if turned else ratio,
                        several,
                        row["source_url"],
                        row["model_id"] or "",
                        " ".join([*named, *change, _WORDS[column]]).lower(),
                    )
                )
    return found


def _setting(column: str, value: str) -> str:
    return f"{_SHORT.get(column, column)} {_SWITCHED.get(value, value)}"


_SHORT = {
    "engine_version": "version", "spec_decode": "spec", "kv_type_k": "KV", "flash_attn": "flash attention",
    "n_cpu_moe": "--n-cpu-moe", "ubatch": "micro-batch", "power_limit_w": "power limit",
}  # fmt: skip
_SWITCHED = {"true": "on", "false": "off"}


def summaries(pairs: Iterable[Pair], origin: str) -> list[Measured]:
    """One line for every change of an engine and figure, those with the most pairs first."""
    groups: dict[tuple[str, tuple[str, str], str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.engine, pair.change, pair.metric].append(pair)
    found = [_measured(key, members, origin) for key, members in groups.items()]
    return sorted(found, key=lambda item: (-item.pairs, item.engine, item.change, item.metric))


def _measured(key: tuple[str, tuple[str, str], str], members: Sequence[Pair], origin: str) -> Measured:
    engine, change, metric = key
    ratios = sorted(pair.ratio for pair in members)
    one, several = (
        _of(members, lambda pair: pair.several is False),
        _of(members, lambda pair: bool(pair.several)),
    )
    return Measured(
        origin=origin,
        engine=engine,
        change=" → ".join(change),
        metric=metric,
        pairs=len(ratios),
        sources=len({pair.source_url for pair in members}),
        median=median(ratios),
        low=ratios[0],
        high=ratios[-1],
        one_sequence=one,
        several_sequences=several,
        reverses=one is not None and several is not None and _sign(one) * _sign(several) < 0,
        source_urls=list(dict.fromkeys(pair.source_url for pair in members))[:_MOST_ADDRESSES],
    )


def _of(members: Sequence[Pair], chosen: Callable[[Pair], bool]) -> float | None:
    ratios = [pair.ratio for pair in members if chosen(pair)]
    return median(ratios) if ratios else None


def _sign(ratio: float) -> int:
    return 0 if abs(ratio - 1.0) < _NOTICEABLE else 1 if ratio > 1.0 else -1
