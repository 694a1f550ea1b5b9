"""The numbers the residual regression sees: one row per (setup, circumstance).

Few on purpose: how a figure was taken, the engine, the family of the format. Columns that tell shapes,
shares of time, dates or devices were tried: they recognise a source by its habits, and made unseen sources
worse. An unknown engine is a row of zeros; physics carries the answer then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from advisor.config import Setup

Protocol = Literal["bench", "server", "end_to_end", "suite"]
"""How a rate was taken: a steady benchmark, a server's own count, output over a whole request, a suite of
prompts."""

ENGINES = ("vllm", "mlx", "llamafile", "ollama", "ik_llama.cpp")
QUANT_FAMILIES = (
    "k-quant", "i-quant", "legacy", "ud", "float", "fp8", "fp4", "int4", "int8", "mlx", "iqk",
)  # fmt: skip
PROTOCOLS: tuple[Protocol, ...] = ("end_to_end", "suite")


@dataclass(frozen=True, slots=True)
class Circumstance:
    """How a figure was measured, or is to be predicted: build date in years, and protocol."""

    year: float = math.nan
    protocol: Protocol = "bench"
    plain_blas: bool = False
    """ROCm multiplied by rocBLAS, without hipBLASLt."""


MEASURED_PLAINLY = Circumstance()
"""A benchmark of unknown date."""


def feature_names() -> list[str]:
    """Column names, in the order of `features`."""
    return [
        *(f"engine={name}" for name in ENGINES),
        *(f"quant={name}" for name in QUANT_FAMILIES),
        *(f"protocol={name}" for name in PROTOCOLS),
    ]


def features(setup: Setup, circumstance: Circumstance) -> tuple[float, ...]:
    """One row in the order of `feature_names`: zeros and ones."""
    return _row(setup.launch.engine, setup.quant.family, circumstance.protocol)


@lru_cache(maxsize=1024)
def _row(engine: str, family: str, protocol: Protocol) -> tuple[float, ...]:
    return (
        *(float(engine == name) for name in ENGINES),
        *(float(family == name) for name in QUANT_FAMILIES),
        *(float(protocol == name) for name in PROTOCOLS),
    )
