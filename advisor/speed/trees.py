"""Gradient-boosted trees as plain arrays, evaluated with numpy alone.

The arrays are exported by `advisor.training.export`; nothing here can run code that came with an artefact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Forest:
    """All trees of one regression, concatenated; `root[t]` is where tree t starts.

    A node sends a row left when `x[feature] <= threshold`; leaves point at themselves. Rows hold no NaN.
    """

    root: Ints
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    baseline: float
    depth: int

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]], prefix: str) -> Forest:
        """Pick the arrays named `<prefix>_<field>` out of a loaded archive."""
        part = {name: arrays[f"{prefix}_{name}"] for name in (*_ARRAYS, "baseline", "depth")}
        return cls(
            root=part["root"].astype(np.int32),
            feature=part["feature"].astype(np.int32),
            threshold=part["threshold"].astype(np.float64),
            left=part["left"].astype(np.int32),
            right=part["right"].astype(np.int32),
            value=part["value"].astype(np.float64),
            baseline=float(part["baseline"]),
            depth=int(part["depth"]),
        )

    def to_arrays(self, prefix: str) -> dict[str, npt.NDArray[np.generic]]:
        """The inverse of `from_arrays`."""
        out: dict[str, npt.NDArray[np.generic]] = {
            f"{prefix}_{name}": getattr(self, name) for name in _ARRAYS
        }
        out[f"{prefix}_baseline"] = np.asarray(self.baseline)
        out[f"{prefix}_depth"] = np.asarray(self.depth)
        return out

    def predict(self, rows: Floats) -> Floats:
        """Predictions of shape (n,) for rows of shape (n, features)."""
        n_rows, n_trees = rows.shape[0], self.root.shape[0]
        node = np.broadcast_to(self.root, (n_rows, n_trees)).copy()
        index = np.arange(n_rows)[:, None]
        for _ in range(self.depth):
            x = rows[index, self.feature[node]]
            node = np.where(x <= self.threshold[node], self.left[node], self.right[node])
        total: Floats = self.baseline + self.value[node].sum(axis=1)
        return total


_ARRAYS = ("root", "feature", "threshold", "left", "right", "value")
