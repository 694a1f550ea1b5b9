"""What a row's flags, notes and error text say of a launch beside its columns.

It reads the few things that decide about memory: slots, batch sizes, utilization, splits, speculation, the
vision encoder. It knows no setups and no sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SLOTS = re.compile(r"(?:^|\s)(?:-np|--parallel)[ =](\d{1,4})\b")
_UBATCH = re.compile(r"(?:^|\s)(?:-ub|--ubatch-size)[ =](\d{1,6})\b")
_BATCHED = re.compile(r"max-num-batched-tokens[ =](\d{1,9})\b")
_SEQUENCES = re.compile(r"max-num-seqs[ =](\d{1,6})\b")
_BLOCKED_SEQUENCES = re.compile(r"max_num_seqs (\d{1,6}) > \d+ Mamba cache blocks")
_UTILIZATION = re.compile(r"(?:gpu-memory-utilization|mem-util|\butil)[ =](0?\.\d+|1(?:\.0+)?)\b")
_DRAFTED = re.compile(r"MTP (?:n|K) ?= ?(\d)|n-max (\d)", re.IGNORECASE)
_SPLIT = re.compile(r"(?:^|\s)(?:-ts|--tensor-split)[ =](\d+(?:\.\d+)?(?:,\d+(?:\.\d+)?)+)")
_BY_TENSOR = re.compile(r"(?:^|\s)-ot\b|override-tensor|tensors on CPU|value cut off", re.IGNORECASE)
_VISION = re.compile(r"vision (?:on|projector)|-px images", re.IGNORECASE)
_DRAFTER = re.compile(r"\bdflash|\beagle|drafter", re.IGNORECASE)
_EAGER = re.compile(r"enforce[-_]eager|eager mode", re.IGNORECASE)
_UNCHUNKED = re.compile(r"no-enable-chunked-prefill")


@dataclass(frozen=True, slots=True)
class Told:
    """What the words say; None where they are silent."""

    slots: int | None
    ubatch: int | None
    batched_tokens: int | None
    sequences: int | None
    utilization: float | None
    drafted: int | None
    mtp: bool
    tensor_split: tuple[float, ...] | None
    by_tensor: bool
    vision: bool
    drafter: bool
    eager: bool
    unchunked: bool


def told(row: Mapping[str, Any]) -> Told:
    """Read the words of a row of observations, `memory_cases.csv` or `vllm_startup.csv`."""
    text = " ".join(str(row.get(key) or "") for key in ("flags", "notes", "error_text_short", "error_short"))
    drafted = _DRAFTED.search(text)
    split = _SPLIT.search(text)
    return Told(
        slots=_whole(_SLOTS.search(text)),
        ubatch=_whole(_UBATCH.search(text)),
        batched_tokens=_whole(_BATCHED.search(text)),
        sequences=_whole(_SEQUENCES.search(text) or _BLOCKED_SEQUENCES.search(text)),
        utilization=float(found[1]) if (found := _UTILIZATION.search(text)) else None,
        drafted=int(drafted[1] or drafted[2]) if drafted else None,
        mtp=bool(re.search(r"\bMTP(?: n|-\d|=|$|[;,])", text)),
        tensor_split=tuple(float(part) for part in split[1].split(",")) if split else None,
        by_tensor=bool(_BY_TENSOR.search(text)),
        drafter=bool(_DRAFTER.search(text)),
        vision=bool(_VISION.search(text)),
        eager=bool(_EAGER.search(text)),
        unchunked=bool(_UNCHUNKED.search(text)),
    )


def _whole(found: re.Match[str] | None) -> int | None:
    return int(found[1]) if found else None
