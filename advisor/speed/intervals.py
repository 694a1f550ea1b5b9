"""How far a prediction may be off: split-conformal widths by how well a setup is supported.

Widths are quantiles of |log(measured ÷ predicted)| on rows whose source, device or model the fit had not seen
(`advisor.training.validate`), per figure, tier of support and regime.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from advisor.config import Basis, Interval

Tier = Literal["seen", "new_gpu", "new_model", "new_both"]
Rate = Literal["decode", "prefill", "ttft"]
"""What has an interval of its own: all sequences together are as uncertain as each of them."""
Regime = Literal["plain", "deep", "few", "batch", "several", "offload", "cpu", "speculative"]

LEVEL = 0.8
DEEP_TOKENS = 16_000
FEW_SEQUENCES = 16
"""Fewer than these at once on one device are an agent's or a household's; more are a server's."""


def regime(
    *, cpu: bool, offloaded: bool, sequences: float, devices: int, depth: float, speculative: bool
) -> Regime:
    """The kind of run that decides how wide its interval is; the hardest condition names it."""
    if speculative:
        return "speculative"
    if cpu:
        return "cpu"
    if offloaded:
        return "offload"
    if sequences > 1:
        return "few" if sequences < FEW_SEQUENCES and devices == 1 else "batch"
    if devices > 1:
        return "several"
    return "deep" if depth >= DEEP_TOKENS else "plain"


@dataclass(frozen=True, slots=True)
class Widths:
    """Half-widths in log space: `rate/tier/regime`, falling back to `rate/tier`."""

    half: Mapping[str, float]

    def of(self, rate: Rate, tier: Tier, kind: Regime) -> float:
        """Half-width of the central 80 % interval, natural log."""
        exact = self.half.get(f"{rate}/{tier}/{kind}")
        return exact if exact is not None else self.half[f"{rate}/{tier}"]

    @staticmethod
    def interval(value: float, half: float) -> Interval:
        """The interval around `value`, symmetric in log space."""
        factor = math.exp(half)
        return Interval(value=value, low=value / factor, high=value * factor, level=LEVEL)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Widths:
        """Read `width_keys` and `width_values`."""
        keys = [str(key) for key in arrays["width_keys"]]
        return cls({k: float(v) for k, v in zip(keys, arrays["width_values"].astype(float), strict=True)})

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """The inverse of `from_arrays`."""
        keys = sorted(self.half)
        return {
            "width_keys": np.asarray(keys, dtype=np.str_),
            "width_values": np.asarray([self.half[key] for key in keys], dtype=np.float64),
        }


@dataclass(frozen=True, slots=True)
class Support:
    """How many fitted rows stand behind a setup, from exact to loose."""

    same_setup: int
    """Same device, model, quantization and engine."""
    same_gpu_model: int
    gpu_rows: int
    model_rows: int

    @property
    def tier(self) -> Tier:
        """Which validation tells how wrong the fit is here."""
        if self.gpu_rows and self.model_rows:
            return "seen"
        if self.model_rows:
            return "new_gpu"
        return "new_model" if self.gpu_rows else "new_both"

    @property
    def basis(self) -> Basis:
        """How the figure came about, in the contract's words."""
        if self.same_setup:
            return "measured"
        if self.tier == "seen":
            return "interpolated"
        return "physics" if self.tier == "new_both" else "extrapolated"

    @property
    def count(self) -> int:
        """Rows to quote: the closest non-empty circle."""
        return self.same_setup or self.same_gpu_model or min(self.gpu_rows, self.model_rows)
