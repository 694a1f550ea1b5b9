"""The referee's memory: what every part scored when the model was trained, and what got worse since.

Two scores for each: of rows that the fit has seen (`fitted`, quick to take again with the artefact at hand),
and of rows left out (`left_out`, which takes a training). It knows figures, and no files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advisor.listings import FigureScore
from advisor.speed.model import SpeedModel
from advisor.training.accuracy import PARTS
from advisor.training.metrics import figure_score
from advisor.training.predicting import predict_cases
from advisor.training.rows import Case
from advisor.training.slices import SLICES, groups_of
from advisor.training.training_run import TrainingRun

MARGIN, RELATIVE_MARGIN = 0.01, 0.05
"""A median error may grow by one percentage point and a twentieth of itself; what is more got worse."""
_LEAST = 40
"""Parts with fewer figures swing by themselves."""

Scores = Mapping[str, Mapping[str, float]]


def fitted_scores(cases: Sequence[Case], model: SpeedModel) -> dict[str, dict[str, float]]:
    """Error and bias of every part and slice on rows that `model` was fitted on: `part/slice/group`."""
    predicted = predict_cases(model, cases)
    scores = {}
    for key, part in PARTS.items():
        chosen = [index for index, case in enumerate(cases) if part.about(case)]
        groups = {key: chosen}
        for piece in SLICES:
            for name, members in groups_of(cases, chosen, piece).items():
                groups[f"{key}/{piece.name}/{name}"] = members
        for name, members in groups.items():
            if len(members) >= _LEAST:
                measured = np.asarray([cases[index].measured for index in members])
                scores[name] = _entry(figure_score(measured, predicted[members], None))
    return scores


def replay_json(run: TrainingRun) -> str:
    """The scores of a training run as JSON, sorted, so that the same run gives the same text."""
    left_out = {
        f"{key}/new {scheme}": _entry(score)
        for key in PARTS
        for scheme in run.validation.predicted
        if (score := run.validation.score(scheme, run.validation.indices(key))).n >= _LEAST
    }
    found: dict[str, Any] = {
        "margin": MARGIN,
        "relative_margin": RELATIVE_MARGIN,
        "fitted": fitted_scores(run.found.cases, run.model),
        "left_out": left_out,
    }
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def worse(before: Scores, now: Scores) -> list[str]:
    """One line for each part that got worse by more than the margins, or is no longer scored."""
    lines = []
    for name, score in sorted(before.items()):
        if name not in now:
            lines.append(f"{name}: no longer scored")
            continue
        limit = score["error"] * (1 + RELATIVE_MARGIN) + MARGIN
        if now[name]["error"] > limit:
            lines.append(f"{name}: {score['error']:.1%} before, {now[name]['error']:.1%} now")
        if now[name]["figures"] < 0.9 * score["figures"]:
            lines.append(f"{name}: {score['figures']:.0f} figures before, {now[name]['figures']:.0f} now")
    return lines


def _entry(score: FigureScore) -> dict[str, float]:
    found = {"figures": score.n, "error": score.mdape, "within_25pct": score.within_25pct}
    covered = {} if score.coverage_80 is None else {"coverage_80": score.coverage_80}
    return {
        name: value if isinstance(value, int) else round(float(value or 0.0), 4)
        for name, value in {**found, **covered}.items()
    }
