"""How far a decoding step's prediction would move if some of the runs it was fitted on had been left out.

First order: one Newton step of each group's fit away from the runs, passed on from group to group. The
regression on what is left is not fitted anew. It knows parts and groups; runs come as queries with their
seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from advisor.config import Setup
from advisor.speed.coefficients import Coefficients, Phase, group_path

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was fitted: its parts, the logarithm of its seconds, and the groups it belongs to."""

    parts: Sequence[float]
    log_seconds: float
    weight: float
    path: Sequence[str]


@dataclass(frozen=True, slots=True)
class Influence:
    """Curvatures of the fit of decoding steps by group, shape (parts, parts); `priors` on their diagonals.

    `scale` is where errors stop counting as squares; `cells` are the runs of each source on each device with
    each model, which share their weight.
    """

    curvatures: Mapping[str, Floats] = field(default_factory=dict)
    priors: Mapping[str, Floats] = field(default_factory=dict)
    cells: Mapping[str, int] = field(default_factory=dict)
    scale: float = 1.0
    weight: float = 1.0

    def weight_of(self, source: str, setup: Setup) -> float:
        """What one run of a source on this device with this model counted; 0 for one that was not fitted."""
        runs = self.cells.get(cell_key(source, setup), 0)
        return self.weight * float(runs) ** -0.5 if runs else 0.0

    def shift(
        self,
        factors: Coefficients,
        setup: Setup,
        phase: Phase,
        parts: Sequence[float],
        left_out: Sequence[Run],
    ) -> float:
        """Change of the logarithm of a step's seconds without the runs in `left_out`."""
        moved: Floats = np.zeros(len(parts))
        for group in group_path(setup, phase):
            theta = factors.factors.get(group)
            if theta is None or group not in self.curvatures:
                continue  # too few runs for a fit of its own: the group above answers
            push = self.priors[group] * moved
            for run in left_out:
                if group in run.path:
                    push = push + self._gradient(run, np.asarray(theta))
            moved = np.asarray(np.linalg.solve(self.curvatures[group], push), dtype=np.float64)
        timed = np.asarray(parts) * np.asarray(factors.of(setup, phase))
        return float(timed @ moved / timed.sum())

    def _gradient(self, run: Run, theta: Floats) -> Floats:
        """What a run adds to the slope of the objective at a group's factors."""
        timed = np.asarray(run.parts) * theta
        z = (np.log(timed.sum()) - run.log_seconds) / self.scale
        slope: Floats = run.weight * z / np.sqrt(1.0 + z * z) / self.scale * timed / timed.sum()
        return slope

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Influence:
        """Read the `influence_…` arrays."""
        groups = [str(name) for name in arrays["influence_groups"]]
        curvatures = arrays["influence_curvatures"].astype(np.float64)
        priors = arrays["influence_priors"].astype(np.float64)
        cells = zip(arrays["influence_cells"].tolist(), arrays["influence_runs"].tolist(), strict=True)
        scale, weight = arrays["influence_scales"].astype(float).tolist()
        return cls(
            dict(zip(groups, curvatures, strict=True)),
            dict(zip(groups, priors, strict=True)),
            {str(cell): int(runs) for cell, runs in cells},
            scale,
            weight,
        )

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """The inverse of `from_arrays`; single precision is enough for a first-order answer."""
        groups, cells = sorted(self.curvatures), sorted(self.cells)
        return {
            "influence_groups": np.asarray(groups, dtype=np.str_),
            "influence_curvatures": np.asarray([self.curvatures[g] for g in groups], dtype=np.float32),
            "influence_priors": np.asarray([self.priors[g] for g in groups], dtype=np.float32),
            "influence_cells": np.asarray(cells, dtype=np.str_),
            "influence_runs": np.asarray([self.cells[cell] for cell in cells], dtype=np.int32),
            "influence_scales": np.asarray([self.scale, self.weight]),
        }


def cell_key(source: str, setup: Setup) -> str:
    """The key of a source's runs on one device with one model."""
    return f"{source}|{setup.gpu.name}|{setup.model.hf_id}"
