"""The keystone: setups in, predicted figures out — memory, risk and speed, for everyone.

`recommend`, `predict`, `check`, the page and the evaluation all come through here, so that one question has
one answer. It chooses nothing and prints nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from advisor.calibration import judged
from advisor.config import PredictedFigures, Setup
from advisor.memory.capacity import capacity_of
from advisor.speed.figures import speed_figures
from advisor.speed.model import SpeedModel


def predict_setups(setups: Sequence[Setup], model: SpeedModel | None = None) -> list[PredictedFigures]:
    """Figures of each setup, in order; of the loaded speed model unless another one is given.

    Raises:
        UnsupportedError: an engine or architecture whose memory or speed cannot be computed honestly.
    """
    figures = []
    for setup, speed in zip(setups, speed_figures(setups, model), strict=True):
        found = judged(setup)
        figures.append(
            PredictedFigures(
                decode_tps=speed.decode_tps,
                decode_tps_full_context=speed.decode_tps_full_context,
                decode_tps_total=speed.decode_tps_total,
                prefill_tps=speed.prefill_tps,
                ttft_ms=speed.ttft_ms,
                memory=found.memory,
                oom_probability=found.risk.full,
                oom_probability_start=found.risk.start,
                fits=found.fits,
                capacity=capacity_of(setup),
                basis=speed.basis,
                support=speed.support,
            )
        )
    return figures


def predict_setup(setup: Setup) -> PredictedFigures:
    """Figures of one setup."""
    return predict_setups([setup])[0]
