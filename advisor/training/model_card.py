"""The model card: what the speed model is, what it was fitted on, how wrong it is, and where it is worst.

It owns the words; tables of scores are `advisor.training.card_tables`'. The same training run gives the same
text: no dates, no durations.
"""

from __future__ import annotations

from advisor.config import Setup
from advisor.speed.intervals import DEEP_TOKENS, LEVEL
from advisor.training.accuracy import PARTS
from advisor.training.card_tables import (
    FEW,
    headline_table,
    reporters_table,
    slice_table,
    table,
    worst_table,
)
from advisor.training.founding import noted
from advisor.training.memory_card import memory_card
from advisor.training.plots import BY_SLICE, COVERAGE, SCATTER
from advisor.training.slices import SLICES
from advisor.training.training_run import TrainingRun
from advisor.training.validate import FOLDS
from knowledge.units import format_tokens


def model_card(run: TrainingRun) -> str:
    """The whole card as Markdown."""
    parts = (
        _INTRODUCTION,
        _model(run),
        _rows(run),
        _errors(run),
        _reporters(run),
        _slices(run),
        _worst(run),
        _TRIED,
        _founding(run),
        memory_card(),
        _LIMITS,
    )
    return "\n\n".join(_flowing(part) for part in parts if part) + "\n"


def _flowing(text: str) -> str:
    """Every paragraph and list item on one line, as Markdown is written here; tables as they are."""
    blocks = []
    for block in text.strip().split("\n\n"):
        if block.startswith(("|", "<!--")):
            blocks.append(block)
        elif block.startswith("- "):
            blocks.append("\n".join(f"- {' '.join(item.split())}" for item in block[2:].split("\n- ")))
        else:
            blocks.append(" ".join(block.split()))
    return "\n\n".join(blocks)


_KINDS = {"moe": "experts", "dense": "dense"}
_CROWDS = {"one": "one sequence", "many": "several sequences"}


def _founding(run: TrainingRun) -> str:
    notes = list(noted(run))
    if not notes:
        return ""
    lines = [
        [
            _run_on(n.case.setup),
            str(int(n.case.query.sequences)),
            format_tokens(int(n.case.query.depth)),
            f"{n.case.measured:g}",
            f"{n.predicted.value:.0f} ({n.predicted.low:.0f}–{n.predicted.high:.0f})",
            "yes" if n.inside else f"**no**: {', '.join(n.unsaid)} not stated",
            n.remark,
        ]
        for n in notes
    ]
    head = ["noted", "sequences", "depth", "tok/s", "predicted", "inside", "as noted"]
    inside = sum(n.inside for n in notes)
    widest = max(n.reach for n in notes)
    return f"""## The founding notes

What one person noted in February 2026, beside predictions for builds of that month by models that were
fitted without these notes. {inside} of {len(notes)} lie inside their {100 * LEVEL:.0f} % interval; the widest
interval reaches {100 * widest:.0f} % up. What is not stated is taken from the engine's defaults: 16 bits for
the cache, an empty one; beside a figure outside its interval stands what its note leaves open.

{table(head, lines)}"""


def _run_on(setup: Setup) -> str:
    memory = f"{setup.launch.vram_gib:g} GiB"
    return f"{setup.model.name}, {setup.quant.name}, {setup.gpu.name} {memory}"


_INTRODUCTION = """# Model card

This page is written by `advisor train`; do not edit it. The same rows give the same page.
"""

_TRIED = """## What was tried and not kept

Judged by sources, devices and models left out, never by how well the rows are met that the fit has seen.

- Crossed random effects of source, device and model on what the physics leaves: medians got worse.
- More trees and deeper ones: sources that are there are met better, every new one worse.
- Whole tiles of 128 tokens for each expert that a prompt touches, as llama.cpp's integer kernels launch them:
  one hybrid of 256 experts on an H100 is met better, mixtures of 128 worse, and new sources by 23.9 % instead
  of 23.4.
- Padding of attention to tiles: no change.
- Weighting sources by the root of their rows rather than runs alone: decode of new sources 13.0 % instead of
  the 11.1 of that day, totals 19.9 instead of 20.4.
"""

_LIMITS = """## Limits

- A group with few sources says more about those sources than about the group.
- Sources are counted by repository or thread. One person who reports in two places counts twice.
- Rows are other people's reports. What they do not state (format, split, build) is taken from their engine's
  defaults, or the row is left out. Not every wrong statement is found.
- New devices are devices that were left out, a fifth of them at a time. A new generation may differ more from
  everything before it.
- Speculative decoding is one factor per method and kind of model. How many guesses are accepted depends on
  the text.
- Time to first token depends on queues that rows rarely describe.
- The risk of running out of memory rests on few runs that did run out.
"""


def _model(run: TrainingRun) -> str:
    model = run.model
    gains = ", ".join(
        f"{method} ×{gain:.2f} ({_KINDS[kind]}, {_CROWDS[crowd]})"
        for key, gain in sorted(model.speculation.items())
        for method, kind, crowd in [key.split("/")]
    )
    return f"""## What the model is

Seconds of a decoding step, or of a prompt, are a sum of physical parts: bytes to read and operations to do,
over what the datasheet of the device promises. Each part has a fitted factor, for the whole population and
for {len(model.decode_factors.factors)} (decode) and {len(model.prefill_factors.factors)} (prefill) groups of
device kind, engine, backend and architecture; a group with few rows stays near the one above it. Boosted
trees ({model.decode_forest.root.size} for decode, {model.prefill_forest.root.size} for prefill) learn the
logarithm of what is left. Answers are given for builds of {model.newest_year:.1f}, the newest among the rows.

Speculative decoding is a factor on top, the median of what the rows show: {gains or "none could be fitted"}.

Intervals are central {100 * LEVEL:.0f} % intervals. Their widths are quantiles of the errors on rows whose
source, device or model was left out: by figure, by what is known of device and model, and by kind of run
where there are enough rows.

The model is plain arrays; reading it runs no code. Fingerprint of its rows: `{model.fingerprint}`."""


def _rows(run: TrainingRun) -> str:
    cases, skipped = run.found.cases, run.found.skipped
    used = run.found.rows - sum(skipped.values())
    own = f", {run.own_rows:,} of them the user's own" if run.own_rows else ""
    kinds = [[part.name, f"{len(run.validation.indices(key)):,}"] for key, part in PARTS.items()]
    counts = [
        ["sources", f"{len({case.source for case in cases}):,}"],
        ["devices", f"{len({case.setup.gpu.name for case in cases}):,}"],
        ["models", f"{len({case.setup.model.hf_id for case in cases}):,}"],
        ["formats", f"{len({case.setup.quant.name for case in cases}):,}"],
        ["engines", f"{len({case.setup.launch.engine for case in cases}):,}"],
        ["figures", f"{len(cases):,}"],
        *([f"– {name.removeprefix('– ')}", n] for name, n in kinds),
    ]
    left_out = [
        [reason, f"{n:,}"] for reason, n in sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    ]
    return f"""## What it was fitted on

{used:,} of {run.found.rows:,} rows{own}.

{table(["", "how many"], counts)}

Rows left out:

{table(["reason", "rows"], left_out)}"""


def _errors(run: TrainingRun) -> str:
    return f"""## How wrong it is

<!-- summary -->
{headline_table(run.validation)}

Median error; in brackets the share of figures that are off by at most a quarter, and the share inside the
{100 * LEVEL:.0f} % interval. Sources were left out in {FOLDS["source"]} parts, devices and models in
{FOLDS["gpu"]}, each predicted by a model that was fitted without it; nothing was scored that the fit had
seen.

<!-- end -->

- *decode*: tokens per second of one sequence without speculative decoding, at whatever depth it was measured,
  on one device or several; runs partly on the host, on a CPU, of several sequences or with speculation are
  scored apart.
- *bandwidth ÷ bytes × one constant*: what most calculators do, on the same rows. How often the memory
  bandwidth of the devices that share a tensor can read the weights of one token, times a constant that was
  fitted on the other parts.
- *closed formula of llmfit*: bandwidth ÷ size × 0.55 for dense models; for mixtures of experts bandwidth ÷
  (bytes of the experts used + 3.2 bytes for each other parameter), less a penalty on full cards; on the same
  rows.
- *the median group*: every source (device, model) counts once, however many rows it has.
- *total throughput*: of several sequences at once, without speculative decoding.
- *prefill* and *time to first token*: all rows that state the length of the prompt.
- The error is |predicted − measured| ÷ measured. An interval's width comes from the errors of the other parts
  only, never from the figures that it is compared with.

![Predicted against measured]({SCATTER})

![What intervals claim against what lies inside]({COVERAGE})"""


def _reporters(run: TrainingRun) -> str:
    return f"""## What two reporters differ by

Runs that several sources report: the same figure, devices, model, engine, load, and a depth and format of
like size. How far a report is from the median of the others, and from what was predicted without it; the
median, and in brackets the share within a quarter. The first is the floor: a prediction for a reporter who
was never heard cannot be expected to come closer than another reporter does.

{reporters_table(run.validation)}

What reporters leave unsaid makes most of it: the build, power limits, what else the machine did, the file's
exact mix of formats, how long a warm-up was. Reports that agree within a thousandth are one, told in two
places."""


def _slices(run: TrainingRun) -> str:
    parts = [
        f"""## Where it is better and worse

Medians of the error as above, of decode on GPU unless another figure is named; of new sources unless a new
device or model is named. *Bias* is the median of predicted ÷ measured, less one. *Simple rule* is bandwidth ÷
bytes × one constant, *llmfit* its closed formula. Scores of fewer than {FEW}
figures are left out, and groups without any other. *Deep* means {format_tokens(DEEP_TOKENS)} tokens and more
in the cache.

![Median error by part]({BY_SLICE})"""
    ]
    for piece in SLICES:
        remark = f"\n\n{piece.remark}" if piece.remark else ""
        parts.append(f"### By {piece.name}{remark}\n\n{slice_table(run.validation, piece)}")
    return "\n\n".join(parts)


def _worst(run: TrainingRun) -> str:
    parts = [
        f"""## Where it is worst

The groups with the largest median errors when they are left out whole, among those with {FEW} or more figures
of decode of one sequence."""
    ]
    return "\n\n".join(
        [*parts, *(worst_table(run.validation, scheme) for scheme in run.validation.predicted)]
    )
