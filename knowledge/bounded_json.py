"""JSON that was written by others: parsed within bounds of size, nesting and number of values.

It owns the defence against documents that are small on disk and large in memory. What the values mean is the
caller's business.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from knowledge.errors import ModelFileError

_MOST_BRACKETS, _MOST_VALUES = 2_000_000, 8_000_000
"""A checkpoint of 100,000 tensors has 300,000 brackets and 800,000 values."""
_DEEPEST = 64
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


def parse_object(raw: bytes, name: str) -> dict[str, Any]:
    """The JSON object in `raw`, which is called `name` in messages.

    Raises:
        ModelFileError: it is no JSON object, nested too deeply, too large, or names a key twice.
    """
    brackets = raw.count(b"{") + raw.count(b"[")
    if brackets > _MOST_BRACKETS or raw.count(b",") > _MOST_VALUES:
        raise ModelFileError(f"{name} is damaged: it holds more values than any real model")
    # an upper bound of the nesting is enough: brackets inside texts only make it stricter
    if brackets > _DEEPEST and _depth(raw) > _DEEPEST:
        raise ModelFileError(f"{name} is damaged: it is nested more than {_DEEPEST} deep")
    try:
        found = json.loads(raw, object_pairs_hook=_unique, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name} is no JSON: {_first_line(error)}") from error
    if not isinstance(found, dict):
        raise ModelFileError(f"{name} is no JSON object")
    return found


def _depth(raw: bytes) -> int:
    deepest = depth = 0
    for byte in raw.translate(None, _NO_BRACKETS):
        depth += 1 if byte in b"{[" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["it cannot be parsed"])[0][:120]
