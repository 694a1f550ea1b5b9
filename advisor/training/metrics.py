"""How good predictions were: the one definition of every score, for files of users and for the model card.

It is handed predictions and measurements and makes neither.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from advisor.listings import FigureScore, Metrics, OomScore, Slices
from advisor.training.risk import score
from advisor.training.rows import Figure

CLOSE = 0.25
"""The error that counts as close: a quarter of what was measured."""
_ABSURD = 1e100
"""No larger error is told apart, so that sums of errors stay numbers."""


@dataclass(frozen=True, slots=True)
class Group:
    """What a scored row is about, as slices ask for it."""

    engine: str
    gpu: str
    gpu_seen: bool
    model_seen: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """One measured figure beside its prediction, both above zero; `covered`: inside the 80 % interval."""

    figure: Figure
    measured: float
    predicted: float
    covered: bool
    group: Group


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a run ran out of memory, beside the probability that was given to it."""

    oom: bool
    probability: float
    group: Group


Scored = Compared | Outcome


def figure_score(
    measured: npt.ArrayLike, predicted: npt.ArrayLike, covered: npt.ArrayLike | None
) -> FigureScore:
    """Score predictions above zero; `covered` is None where no interval was given."""
    truth, guess = np.asarray(measured, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if not truth.size:
        return FigureScore(n=0, mdape=None, mean_abs_log_error=None, within_25pct=None, coverage_80=None)
    # A file may hold figures that are no rate of anything: their error stays a number.
    with np.errstate(over="ignore"):
        off = np.minimum(np.abs(guess - truth) / truth, _ABSURD)
    return FigureScore(
        n=truth.size,
        mdape=float(np.median(off)),
        mean_abs_log_error=float(np.mean(np.abs(np.log(truth) - np.log(np.maximum(guess, truth / _ABSURD))))),
        within_25pct=float(np.mean(off <= CLOSE)),
        coverage_80=None if covered is None else float(np.mean(np.asarray(covered, dtype=bool))),
    )


def oom_score(outcomes: Sequence[Outcome]) -> OomScore:
    """Score probabilities against what happened."""
    found = score([outcome.probability for outcome in outcomes], [outcome.oom for outcome in outcomes])
    some = found.n > 0
    return OomScore(
        n=found.n,
        positives=found.positives,
        auc=found.auc,
        brier=found.brier if some else None,
        ece=found.ece if some else None,
    )


def metrics_of(scored: Iterable[Scored]) -> Metrics:
    """Every figure's score."""
    figures: dict[str, list[Compared]] = defaultdict(list)
    outcomes: list[Outcome] = []
    for item in scored:
        if isinstance(item, Outcome):
            outcomes.append(item)
        else:
            figures[item.figure].append(item)

    def of(figure: Figure) -> FigureScore:
        items = figures[figure]
        return figure_score(
            [item.measured for item in items],
            [item.predicted for item in items],
            [item.covered for item in items],
        )

    return Metrics(
        decode_tps=of("decode_tps"),
        decode_tps_total=of("decode_tps_total"),
        prefill_tps=of("prefill_tps"),
        ttft_ms=of("ttft_ms"),
        vram_used_gib=of("vram_used_gib"),
        oom=oom_score(outcomes),
    )


def slices_of(scored: Sequence[Scored]) -> Slices:
    """The scores of parts; a row whose device and model are both unseen counts in both of those slices."""
    return Slices(
        seen_gpu_seen_model=metrics_of(
            item for item in scored if item.group.gpu_seen and item.group.model_seen
        ),
        unseen_gpu=metrics_of(item for item in scored if not item.group.gpu_seen),
        unseen_model=metrics_of(item for item in scored if not item.group.model_seen),
        by_engine=_metrics_by(scored, lambda group: group.engine),
        by_gpu=_metrics_by(scored, lambda group: group.gpu),
    )


def _metrics_by(scored: Sequence[Scored], name: Callable[[Group], str]) -> dict[str, Metrics]:
    """Scores by name, the largest group first."""
    members: dict[str, list[Scored]] = defaultdict(list)
    for item in scored:
        members[name(item.group)].append(item)
    largest_first = sorted(members.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return {key: metrics_of(items) for key, items in largest_first}
