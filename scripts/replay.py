"""Train anew on the shipped rows, and fail when any part is predicted worse than the committed card says."""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from advisor.speed.model import ARTEFACT, SCORES, SpeedModel
from advisor.training.predicting import predict_cases
from advisor.training.replay import replay_json, worse
from advisor.training.training_run import train_on
from knowledge.catalog import default_catalog
from knowledge.store.connection import open_store
from knowledge.store.queries import training_rows

SAME = 1e-3
"""Relative difference of predictions between machines, whose sums round differently."""


def main() -> int:
    committed = json.loads((Path(__file__).parent.parent / "docs" / SCORES).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as home, open_store(Path(home)) as store:
        rows = training_rows(store.con)
    run = train_on(rows, default_catalog(), lambda line: print(line, flush=True))
    now = json.loads(replay_json(run))
    lines = [line for part in ("left_out", "fitted") for line in worse(committed[part], now[part])]
    shipped = predict_cases(SpeedModel.load(ARTEFACT), run.found.cases)
    moved = float(np.max(np.abs(predict_cases(run.model, run.found.cases) / shipped - 1.0)))
    print(f"{len(run.found.cases):,} figures; predictions of the shipped model differ by at most {moved:.2g}")
    if moved > SAME:
        lines.append("the shipped model is not what these rows give: run advisor train")
    for line in lines:
        print(f"worse: {line}", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
