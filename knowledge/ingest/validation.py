"""From cells to `Observation`: every row by the schema, with a plain reason for each misfit.

It knows the schema's rules and how to say them. Whether a valid row is believable is
`knowledge.ingest.plausibility`'s question.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from knowledge.schema import Observation

_REASONS = {
    "missing": "is empty",
    "finite_number": "is not a finite number",
    "float_parsing": "is not a number",
    "int_parsing": "is not a whole number",
    "int_parsing_size": "is too large",
    "int_from_float": "is not a whole number",
    "bool_parsing": "is neither 0 nor 1",
}
_LIMITS = {
    "greater_than": ("gt", "must be above"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than_equal": ("le", "must be at most"),
    "literal_error": ("expected", "must be one of"),
}


def validate(
    rows: Iterable[dict[str, Any]],
) -> tuple[list[tuple[int, Observation]], list[tuple[int, str, str]]]:
    """Good rows as (index, observation) and bad ones as (index, column, reason), each index exactly once."""
    good: list[tuple[int, Observation]] = []
    bad: list[tuple[int, str, str]] = []
    for index, cells in enumerate(rows):
        try:
            good.append((index, Observation.model_validate(cells)))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            bad.append((index, str(first["loc"][0]), _reason(dict(first))))
    return good, bad


def _reason(detail: dict[str, Any]) -> str:
    kind, value = detail["type"], str(detail["input"])[:40]
    if kind == "missing":
        return _REASONS[kind]
    if kind in _REASONS:
        return f"{value!r} {_REASONS[kind]}"
    if kind in _LIMITS:
        key, text = _LIMITS[kind]
        limit = detail["ctx"][key]
        return f"{value!r} {text} {f'{limit:g}' if isinstance(limit, float) else limit}"
    if kind.startswith("date"):
        return f"{value!r} is not a date (write 2026-11-22)"
    return f"{value!r}: {detail['msg']}"
