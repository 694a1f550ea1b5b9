"""Fitted inefficiencies of the physics parts, from all runs down to engine, backend, architecture.

A group with few rows stays near its parent (shrinkage happens in the fit); a setup uses the deepest group
that exists for it. Each group remembers how many rows it was fitted on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from advisor.config import Setup

Phase = Literal["one", "many", "prompt"]
"""What is timed: a decoding step of one sequence, of several, or a prompt."""


def group_path(setup: Setup, phase: Phase) -> tuple[str, ...]:
    """The groups a setup belongs to, widest first.

    Steps of one sequence and of several part early: a server's scheduler, sampler and other requests' prompts
    would pass for slow kernels. Memory shared with a host is read by kernels of its own kind, but matrices
    are multiplied alike (`prompt`).
    """
    engine, backend, gpu = setup.launch.engine, setup.launch.backend or "?", setup.gpu
    if phase == "prompt":
        kind = "gpu" if gpu.kind == "apu" else gpu.kind
        return _path(phase, kind, engine, backend, gpu.arch, gpu.name)
    # Generations of a line (RDNA, CDNA) share their kernels more than a vendor's lines do.
    line = (gpu.arch.split()[0],) if gpu.vendor == "AMD" and gpu.kind != "cpu" else ()
    return _path(phase, gpu.kind, engine, backend, *line, gpu.arch, gpu.name)


@lru_cache(maxsize=4096)
def _path(phase: Phase, *names: str) -> tuple[str, ...]:
    path = (phase, *names)
    groups = tuple("/".join(path[: level + 1]) for level in range(len(path)))
    return groups if phase == "prompt" else ("step", *groups)


@dataclass(frozen=True, slots=True)
class Coefficients:
    """One non-negative factor per physics part and group: 1 means the datasheet's rate is reached."""

    factors: Mapping[str, tuple[float, ...]]
    counts: Mapping[str, int]

    def of(self, setup: Setup, phase: Phase) -> tuple[float, ...]:
        """Factors of the deepest fitted group of `setup` in `phase`."""
        for group in reversed(group_path(setup, phase)):
            found = self.factors.get(group)
            if found is not None:
                return found
        raise KeyError("no coefficients were fitted")

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]], prefix: str) -> Coefficients:
        """Read `<prefix>_groups`, `<prefix>_factors` and `<prefix>_counts`."""
        groups = [str(name) for name in arrays[f"{prefix}_groups"]]
        factors = np.asarray(arrays[f"{prefix}_factors"], dtype=np.float64)
        counts = np.asarray(arrays[f"{prefix}_counts"], dtype=np.int64)
        return cls(
            {group: tuple(float(value) for value in row) for group, row in zip(groups, factors, strict=True)},
            {group: int(count) for group, count in zip(groups, counts, strict=True)},
        )

    def to_arrays(self, prefix: str) -> dict[str, npt.NDArray[np.generic]]:
        """The inverse of `from_arrays`; groups sorted by name, so that equal fits give equal bytes."""
        groups = sorted(self.factors)
        return {
            f"{prefix}_groups": np.asarray(groups, dtype=np.str_),
            f"{prefix}_factors": np.asarray([self.factors[group] for group in groups], dtype=np.float64),
            f"{prefix}_counts": np.asarray([self.counts[group] for group in groups], dtype=np.int64),
        }
