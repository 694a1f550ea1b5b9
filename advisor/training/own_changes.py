"""What learning from rows of the user's changes in what is predicted for them: errors and configurations.

It compares two models on measured cases; who made them, and whether the rows are kept, it does not know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from advisor.previews import ConfigurationChange
from advisor.speed.model import SpeedModel
from advisor.training.own_rows import own_rates
from advisor.training.predicting import predict_cases
from advisor.training.rows import FIGURE_OF, Case


def changes(cases: Sequence[Case], before: SpeedModel, after: SpeedModel) -> list[ConfigurationChange]:
    """What each measured configuration gave and is predicted to give, those of most figures first."""
    own = own_rates(cases)
    if not own:
        return []
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, case in enumerate(own):
        launch = case.setup.launch
        machine = (case.setup.gpu.name, launch.gpu_count, launch.vram_gib, launch.engine)
        groups[(*machine, case.setup.model.hf_id, launch.quant, case.kind)].append(index)
    measured = np.asarray([case.measured for case in own])
    was, becomes = predict_cases(before, own), predict_cases(after, own)
    return [
        ConfigurationChange(
            model=own[chosen[0]].setup.model.name,
            quant=own[chosen[0]].setup.launch.quant,
            gpu=own[chosen[0]].setup.gpu.name,
            gpu_count=own[chosen[0]].setup.launch.gpu_count,
            engine=own[chosen[0]].setup.launch.engine,
            figure=FIGURE_OF[own[chosen[0]].kind],
            figures=len(chosen),
            measured=float(np.median(measured[chosen])),
            before=float(np.median(was[chosen])),
            after=float(np.median(becomes[chosen])),
        )
        for chosen in sorted(groups.values(), key=len, reverse=True)
    ]
