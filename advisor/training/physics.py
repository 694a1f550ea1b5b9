"""Fitting the inefficiency of each physics part, group by group, each group shrunk towards its parent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from advisor.speed.coefficients import Coefficients

Floats = npt.NDArray[np.float64]

_MIN_ROWS = 4
ROBUST_SCALE = 0.25
"""Log residuals beyond about 25 % count linearly: mislabelled rows must not bend the physics."""


_LOOSER = {0: 3.0, 1: 2.0}
"""How much further than their prior's spread the widest groups may go: there are many rows to hold them."""


class Range(NamedTuple):
    """A part's factor before any row is seen, and the interval that physics allows it."""

    start: float
    low: float
    high: float
    spread: float
    """Standard deviation, in log, of a group's factor around its parent's: the prior of the shrinkage."""


def _fit_group(
    parts: Floats,
    log_seconds: Floats,
    weights: Floats,
    parent: Floats,
    spread: Floats,
    bounds: tuple[Floats, Floats],
) -> Floats:
    """Log factors of least robust log error of the summed parts, with a Gaussian prior around `parent`."""
    scale = np.sqrt(weights)[:, None]
    prior = np.diag(1.0 / spread)

    def residual(log_factors: Floats) -> Floats:
        z = (np.log(parts @ np.exp(log_factors)) - log_seconds) / ROBUST_SCALE
        # soft-L1 by hand, so that the prior below stays quadratic
        soft = np.sign(z) * np.sqrt(2.0 * (np.sqrt(1.0 + z * z) - 1.0))
        return np.concatenate([scale[:, 0] * soft, (log_factors - parent) / spread])

    def jacobian(log_factors: Floats) -> Floats:
        timed = parts * np.exp(log_factors)
        total = timed.sum(axis=1)
        z = (np.log(total) - log_seconds) / ROBUST_SCALE
        root = np.sqrt(1.0 + z * z)
        # d soft / dz = |z| / (root · |soft|), whose limit at z = 0 is one
        soft = np.sqrt(2.0 * (root - 1.0))
        slope = np.where(np.abs(z) < 1e-6, 1.0, np.abs(z) / (root * np.maximum(soft, 1e-12)))
        rows = scale * (slope / ROBUST_SCALE / total)[:, None] * timed
        return np.vstack([rows, prior])

    start = np.clip(parent, bounds[0] + 1e-9, bounds[1] - 1e-9)
    fit = least_squares(residual, start, jac=jacobian, bounds=bounds, max_nfev=30)
    return np.asarray(fit.x, dtype=np.float64)


def fit_coefficients(
    parts: Floats,
    seconds: Floats,
    weights: Floats,
    paths: Sequence[Sequence[str]],
    ranges: Sequence[Range],
) -> Coefficients:
    """Factors for every group with at least a few rows.

    Args:
        parts: ideal seconds, shape (rows, parts).
        seconds: measured seconds, shape (rows,).
        weights: how much each row counts, shape (rows,); mean about one.
        paths: the groups of each row, widest first (`advisor.speed.coefficients.group_path`).
        ranges: what is physically possible for each part, and where it starts.
    """
    start = np.log([part.start for part in ranges])
    spread = np.asarray([part.spread for part in ranges])
    bounds = (np.log([part.low for part in ranges]), np.log([part.high for part in ranges]))
    log_seconds = np.log(seconds)
    members: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, path in enumerate(paths):
        for level, group in enumerate(path):
            members[level][group].append(index)
    fitted: dict[str, Floats] = {}
    counts: dict[str, int] = {}
    parents = {group: path[level - 1] if level else "" for path in paths for level, group in enumerate(path)}
    for level in sorted(members):
        for group, rows in sorted(members[level].items()):
            if len(rows) < _MIN_ROWS and level:
                continue
            parent = fitted.get(parents[group], start)
            chosen = np.asarray(rows)
            fitted[group] = _fit_group(
                parts[chosen],
                log_seconds[chosen],
                weights[chosen],
                parent,
                spread * _LOOSER.get(level, 1.0),
                bounds,
            )
            counts[group] = len(rows)
    return Coefficients({group: tuple(np.exp(logs).tolist()) for group, logs in fitted.items()}, counts)


def curvatures(
    parts: Floats,
    seconds: Floats,
    weights: Floats,
    paths: Sequence[Sequence[str]],
    ranges: Sequence[Range],
    fitted: Coefficients,
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Curvature of every group's objective at its factors, and the prior's share of it on the diagonal.

    Arguments as for `fit_coefficients`. Gauss and Newton's, with errors beyond `ROBUST_SCALE` counting less.
    """
    spread = np.asarray([part.spread for part in ranges])
    members: dict[str, list[int]] = defaultdict(list)
    levels: dict[str, int] = {}
    for index, path in enumerate(paths):
        for level, group in enumerate(path):
            members[group].append(index)
            levels[group] = level
    found, priors = {}, {}
    for group, theta in fitted.factors.items():
        timed = parts[members[group]] * np.asarray(theta)
        total = timed.sum(axis=1)
        z = (np.log(total) - np.log(seconds[members[group]])) / ROBUST_SCALE
        share = timed / total[:, None]
        scale = weights[members[group]] / np.sqrt(1.0 + z * z) / ROBUST_SCALE**2
        priors[group] = 1.0 / (spread * _LOOSER.get(levels[group], 1.0)) ** 2
        found[group] = share.T @ (share * scale[:, None]) + np.diag(priors[group])
    return found, priors
