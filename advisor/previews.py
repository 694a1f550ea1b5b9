"""What a preview of an ingestion answers: its balance, and how predictions would change.

Shapes only; `advisor.preview` fills them.
"""

from __future__ import annotations

from pydantic import ConfigDict

from advisor.config import Answer, LaunchConfig, PredictedFigures
from advisor.listings import Ingested, Learnt


class ConfigurationChange(Answer):
    """One measured configuration: medians of what was measured and of what is predicted for the same runs.

    `figure` is `decode_tps`, `decode_tps_total` or `prefill_tps`; `figures` how many runs gave it. `before`:
    predicted today; `after`: once the rows are learnt from (`advisor train`).
    """

    model: str
    quant: str
    gpu: str
    gpu_count: int
    engine: str
    figure: str
    figures: int
    measured: float
    before: float
    after: float


class StartChange(Answer):
    """One start of a log as its own launch is predicted, without and with the starts of the files.

    Memory of the fullest device in MiB, and the risk of running out at a full context.
    """

    config: LaunchConfig
    outcome: str
    total_mib_before: float
    total_mib_after: float
    available_mib_before: float
    available_mib_after: float
    oom_probability_before: float
    oom_probability_after: float


class AnswerChange(Answer):
    """The figures of one configuration that is looked at, today and once the files are in and learnt from."""

    config: LaunchConfig
    before: PredictedFigures
    after: PredictedFigures


class Preview(Ingested):
    """What an ingestion would do, which was not done: the report of a dry run, and what would change."""

    model_config = ConfigDict(defer_build=True)

    learnt: Learnt | None
    """Median error on the new rates; null where the files bring none."""
    configurations: list[ConfigurationChange]
    """Those of most figures."""
    starts: list[StartChange]
    """New starts, the first of them."""
    answer: AnswerChange | None
    """Of the configuration that was asked about."""
    notes: list[str]
    """What was left out, and why."""
