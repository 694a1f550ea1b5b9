"""Parsing and printing of quantities: tokens (`200k`), memory (`24GiB`), counts.

It knows nothing of models or devices. Errors are `UsageError` with an example of what would do.
"""

from __future__ import annotations

import math
import re

from knowledge.errors import UsageError

MIB_PER_GIB = 1024
BYTES_PER_MIB = 1024**2
BYTES_PER_GIB = 1024**3
GB_PER_GIB = BYTES_PER_GIB / 1e9

_NUMBER = re.compile(r"^\s*([0-9][0-9_,]*(?:\.[0-9]+)?(?:e[0-9]+)?)\s*([a-z]*)\s*$", re.IGNORECASE)
_TOKEN_SUFFIX = {"": 1, "k": 1000, "ki": 1024, "m": 1_000_000, "mi": 1024**2, "tokens": 1, "tok": 1}
_GIB_SUFFIX = {
    "": 1.0, "g": 1.0, "gib": 1.0, "gb": 1.0,  # people write GB for a card's GiB
    "mib": 1 / 1024, "mb": 1 / 1024, "m": 1 / 1024, "t": 1024.0, "tib": 1024.0, "tb": 1024.0,
}  # fmt: skip
_MAX_TOKENS = 10**9


def _split(text: str, what: str, example: str) -> tuple[float, str]:
    match = _NUMBER.match(text)
    if not match:
        raise UsageError(f"{what} {text!r} is not a number", f"write for example {example}")
    number = float(match.group(1).replace("_", "").replace(",", ""))
    if not math.isfinite(number):
        raise UsageError(f"{what} {text!r} is not a finite number", f"write for example {example}")
    return number, match.group(2).lower()


def parse_tokens(value: str | float, *, what: str = "--ctx", minimum: int = 1) -> int:
    """Tokens from `200k` (200,000), `200Ki` (204,800), `262144` or a number; whole and at least `minimum`."""
    if isinstance(value, bool):
        raise UsageError(f"{what} {value!r} is not a number of tokens", f"write for example {what} 32k")
    number, suffix = _split(str(value), what, f"{what} 32k")
    if suffix not in _TOKEN_SUFFIX:
        raise UsageError(f"{what} {value!r} has an unknown unit {suffix!r}", f"write for example {what} 200k")
    tokens = number * _TOKEN_SUFFIX[suffix]
    if tokens != int(tokens) or tokens < minimum or tokens > _MAX_TOKENS:
        raise UsageError(
            f"{what} {value!r} must be a whole number of tokens from {minimum} to {_MAX_TOKENS}",
            f"write for example {what} 32k",
        )
    return int(tokens)


def parse_gib(value: str | float, *, what: str = "--vram", minimum: float = 0.0) -> float:
    """GiB from `24`, `24GiB`, `24GB` (cards are sold so) or `512MiB`; finite, at least `minimum`."""
    number, suffix = _split(str(value), what, f"{what} 24")
    if suffix not in _GIB_SUFFIX:
        raise UsageError(
            f"{what} {value!r} has an unknown unit {suffix!r}", f"write for example {what} 24GiB"
        )
    gib = number * _GIB_SUFFIX[suffix]
    if gib < minimum or gib > 1e6:
        raise UsageError(
            f"{what} {value!r} must be from {minimum:g} to 1000000 GiB", f"write for example {what} 24"
        )
    return gib


def format_tokens(tokens: int) -> str:
    """`262144` → `256Ki`, `200000` → `200k`, anything else in full; `parse_tokens` reads it back exactly."""
    if tokens >= 1024 and tokens % 1024 == 0:
        return f"{tokens // 1024}Ki"
    if tokens >= 1000 and tokens % 1000 == 0:
        return f"{tokens // 1000}k"
    return str(tokens)


def format_mib(mib: float) -> str:
    """Memory as people read it: `820 MiB` below 10 GiB, `19.1 GiB` above."""
    return f"{mib:,.0f} MiB" if abs(mib) < 10 * MIB_PER_GIB else f"{mib / MIB_PER_GIB:,.1f} GiB"


def format_tps(tps: float | None) -> str:
    """Tokens per second with three significant figures, `–` when unknown."""
    if tps is None:
        return "–"
    return f"{tps:,.0f}" if tps >= 100 else f"{tps:.1f}" if tps >= 10 else f"{tps:.2f}"
