"""What is concluded: memory, risk, speed, recommendations and their evidence.

`from advisor import recommend, predict, check, train, evaluate` gives the answers of the command line as
pydantic objects. Importing the package loads nothing else: each function is fetched on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from advisor.service import check, curves, evaluate, limits, predict, recommend, train

__all__ = ["check", "curves", "evaluate", "limits", "predict", "recommend", "train"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'advisor' has no attribute {name!r}")
    from advisor import service  # noqa: PLC0415 - `advisor --help` must not load it

    return getattr(service, name)
