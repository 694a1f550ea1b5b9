"""The fitted speed model as one `.npz` of plain arrays: no code, the same bytes for the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingRegressor

from advisor.speed.trees import Forest


def forest_of(model: HistGradientBoostingRegressor) -> Forest:
    """Flatten scikit-learn's trees; `advisor.speed.trees` evaluates them to 1e-12 of scikit-learn."""
    columns: dict[str, list[npt.NDArray[Any]]] = {
        name: [] for name in ("feature", "threshold", "left", "right", "value")
    }
    roots, offset, deepest = [], 0, 0
    for (tree,) in model._predictors:  # noqa: SLF001 — the only place the fitted nodes are kept
        nodes = tree.nodes
        size = len(nodes)
        own = np.arange(size, dtype=np.int64) + offset
        leaf = nodes["is_leaf"].astype(bool)
        columns["feature"].append(np.where(leaf, 0, nodes["feature_idx"]))
        columns["threshold"].append(np.where(leaf, 0.0, nodes["num_threshold"]))
        columns["left"].append(np.where(leaf, own, nodes["left"].astype(np.int64) + offset))
        columns["right"].append(np.where(leaf, own, nodes["right"].astype(np.int64) + offset))
        columns["value"].append(np.where(leaf, nodes["value"], 0.0))
        roots.append(offset)
        offset += size
        deepest = max(deepest, int(nodes["depth"].max()))
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return Forest(
        root=np.asarray(roots, dtype=np.int32),
        feature=joined["feature"].astype(np.int32),
        threshold=joined["threshold"].astype(np.float64),
        left=joined["left"].astype(np.int32),
        right=joined["right"].astype(np.int32),
        value=joined["value"].astype(np.float64),
        baseline=float(np.ravel(model._baseline_prediction)[0]),  # noqa: SLF001 — not public either
        depth=deepest,
    )


def write_artefact(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    """Write the arrays, sorted by name, beside the target and swap them in."""
    scratch = path.with_suffix(".partial.npz")
    try:
        np.savez_compressed(scratch, **{name: arrays[name] for name in sorted(arrays)})  # type: ignore[arg-type]
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
