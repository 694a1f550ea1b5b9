"""What the commands that look things up or learn answer: the JSON of `gpus`, `notes`, `ingest`, `train` ….

Shapes only: every one carries `schema_version` and names its entries. What they hold is `advisor.service`'s.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from advisor.config import SCHEMA_VERSION, Answer, Interval, LaunchConfig, PredictedFigures
from knowledge.schema import Claim, Flag, Gpu, ModelSpec, Quant, ReleaseNote


class Listing(Answer):
    """Base of every look-up."""

    # only one of these is ever used by a command: none is compiled before it is
    model_config = ConfigDict(defer_build=True)

    schema_version: int = SCHEMA_VERSION


class Gpus(Listing):
    """Devices of the catalog."""

    gpus: list[Gpu]


class Models(Listing):
    """Models of the catalog."""

    models: list[ModelSpec]


class Quants(Listing):
    """Quantization formats of the catalog."""

    quants: list[Quant]


class Flags(Listing):
    """Launch flags of the engines."""

    flags: list[Flag]


class Measured(Answer):
    """What one change brought where it was measured: pairs of runs on one machine that differ in it alone.

    Ratios are the second setting's figure over the first's. `reverses`: it helps one sequence and harms
    several, or the other way round.
    """

    origin: str
    """`published` pairs, or those of the `store`."""
    engine: str
    change: str
    metric: str
    pairs: int
    sources: int
    median: float
    low: float
    high: float
    one_sequence: float | None
    several_sequences: float | None
    reverses: bool
    source_urls: list[str]


class Notes(Listing):
    """What engine versions claim to have changed, and apart from it what was measured."""

    notes: list[ReleaseNote]
    claims: list[Claim]
    """Claims that were held against measurements; only where something was looked for."""
    measured: list[Measured]
    note: str
    """What was left out or could not be read."""


class Observations(Listing):
    """Measured runs of the store; `total` is how many it holds, `observations` those asked for.

    `note` says why the store is not the user's own, where it is not.
    """

    total: int
    note: str
    observations: list[dict[str, Any]]


class Reject(Answer):
    """A record that was not taken in, and why; `column` is null when the whole record is wrong."""

    file: str
    line: int
    column: str | None
    reason: str
    text: str


class Ingested(Listing):
    """The balance of an ingestion: read = added + duplicates + rejected + quarantined."""

    read: int
    added: int
    duplicates: int
    rejected: int
    quarantined: int
    rejects: list[Reject]
    quarantine: list[Reject]
    """Rows that say the impossible, with the reason."""
    effect: dict[str, Any]
    """What it changes: `dry_run`, and the command that learns from the rows."""


class Check(Answer):
    """One thing that `advisor doctor` looked at."""

    name: str
    ok: bool
    detail: str


class Health(Listing):
    """All checks of `advisor doctor`; `exit_code` is 0 or that of the first failure."""

    exit_code: int
    checks: list[Check]


class FigureScore(Answer):
    """How far predictions of one figure were off, in shares (0.13 is 13 %); null where `n` is 0.

    `mdape`: median of |predicted − measured| ÷ measured; `mean_abs_log_error`: mean of |ln(measured ÷
    predicted)|; `within_25pct`: share of rows off by at most a quarter; `coverage_80`: share of rows inside
    the 80 % interval.
    """

    n: int
    mdape: float | None
    mean_abs_log_error: float | None
    within_25pct: float | None
    coverage_80: float | None


class OomScore(Answer):
    """How good probabilities of running out of memory were: `positives` of `n` runs did.

    Area under the ROC curve (null unless both outcomes occur), Brier score, expected calibration error.
    """

    n: int
    positives: int
    auc: float | None
    brier: float | None
    ece: float | None


class Metrics(Answer):
    """Every figure's score on the same rows."""

    decode_tps: FigureScore
    decode_tps_total: FigureScore
    prefill_tps: FigureScore
    ttft_ms: FigureScore
    vram_used_gib: FigureScore
    oom: OomScore


class Slices(Answer):
    """Scores of parts of the rows; seen: among those that the loaded speed model was fitted on."""

    seen_gpu_seen_model: Metrics
    unseen_gpu: Metrics
    unseen_model: Metrics
    by_engine: dict[str, Metrics]
    by_gpu: dict[str, Metrics]


class Evaluated(Listing):
    """The answer of `advisor evaluate`: rows = scored + the sum of `skipped` (reason → rows)."""

    rows: int
    scored: int
    skipped: dict[str, int]
    metrics: Metrics
    slices: Slices


class Headline(Answer):
    """How far one figure was off on sources, GPUs or models (`left_out`) that the fit had not seen.

    `part` says which of the figure's cases: `decode` is of one sequence on GPUs without speculation,
    `decode_deep` those of them with 16K tokens and more in the cache.
    """

    figure: str
    part: str
    left_out: str
    score: FigureScore
    baseline_mdape: float | None
    """The same median for bandwidth ÷ bytes × one fitted constant; null where that predicts nothing."""


class Learnt(Answer):
    """What the user's own rows changed: median error on their figures before and after training.

    `others_moved`: how far predictions for other cards moved, in the median, relative. What was before is
    null where no model could be read.
    """

    figures: int
    rows: int
    error_before: float | None
    error_after: float
    others_moved: float | None


class Trained(Listing):
    """The report of `advisor train`. `rows` = those used + the sum of `skipped` (reason → rows)."""

    rows: int
    own_rows: int
    """Of the user, not shipped."""
    cases: int
    """Measured figures that the rows gave."""
    skipped: dict[str, int]
    headline: list[Headline]
    learnt: Learnt | None
    """What own rows changed; null without any."""
    files: list[str]
    loaded: bool
    """Whether predictions use the new model from now on."""
    note: str
    """Why the store is not the user's own, where it is not."""


class Solved(Answer):
    """A configuration that was found, with what it is launched by and what it gives.

    Where nothing was found, `reason` says why and the figures are those of the smallest attempt.
    """

    model_config = ConfigDict(defer_build=True)

    config: LaunchConfig
    command: str
    env: dict[str, str]
    prediction: PredictedFigures
    reason: str


class ContextLimit(Solved):
    """The longest context per user with one type of cache; `ctx` is null where not even the least fits."""

    kv_type_k: str
    kv_type_v: str
    ctx: int | None
    bounded_by: Literal["memory", "model", "rule"]


class UserLimit(Solved):
    """The most users at the asked context with one type of cache.

    `bounded_by`: memory, the asked `min_tps`, a rule, or where the search ends.
    """

    kv_type_k: str
    kv_type_v: str
    users: int | None
    bounded_by: Literal["memory", "speed", "rule", "search"]


class SplitLimit(Solved):
    """As much on the device as fits: layers, or layers whose experts stay on the host.

    `whole_decode_tps` is the speed at a full context with all of it on such a card, were it large enough
    (`whole_needs_gib`); `speed_kept` the share of it that the split has.
    """

    n_gpu_layers: int | None
    n_cpu_moe: int | None
    n_layers: int
    host_mib: float
    whole_decode_tps: Interval | None
    whole_needs_gib: float
    speed_kept: float | None


class CardLimit(Answer):
    """A card that holds the configuration."""

    model_config = ConfigDict(defer_build=True)

    gpu: str
    memory_gib: float
    bandwidth_gbps: float | None
    prediction: PredictedFigures


class Limited(Listing):
    """The answer of `advisor limits`; without a GPU in the request only `cards` are there.

    `split` is null where all of it fits on the device, or the engine splits nothing.
    """

    request: dict[str, Any]
    contexts: list[ContextLimit]
    users: list[UserLimit]
    split: SplitLimit | None
    cards: list[CardLimit]
    notes: list[str]
