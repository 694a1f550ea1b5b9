"""An existing launch command judged: verdict, memory by part, risk, and the single changes that make it fit.

It owns the verdict and what is said beside it. What the command means is `advisor.engines.parsing`'s and
`advisor.launched`'s, every figure `advisor.estimate`'s, the changes `advisor.fixes`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from advisor.answer import cautions
from advisor.calibration import judged
from advisor.changes import host_holds, longest_context, offloaded, risk_of
from advisor.config import Caution, Check, Fix, Interval, PredictedFigures, Setup, UnknownFlag
from advisor.engines.parsing import Reading, parse_command
from advisor.engines.rewriting import rewritten
from advisor.engines.rules import apply
from advisor.estimate import predict_setup
from advisor.fixes import Fixed, changes_that_fit
from advisor.launched import Launched, launched
from advisor.memory.paged import asked_of_card_mib
from advisor.memory.supply import free_mib
from advisor.quality import retained
from advisor.receipts import NO_RECEIPTS, Receipts
from advisor.words import SAFE, verdict_of
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError, UsageError
from knowledge.units import format_mib, format_tokens, format_tps

_FIT_MARGIN_MIB = 1024
"""What llama.cpp's `--fit` leaves free on each device (its own default of `--fit-target`)."""
_FITS_BY = {"llama.cpp": " (--fit, on by default)"}
_FIT_SOURCES = {"llama.cpp": "https://github.com/ggml-org/llama.cpp/pull/16653"}
_FIT_CONTEXT = 4096
"""The shortest context that `--fit` makes by itself (its own default of `--fit-ctx`)."""

OPTIONS = (
    "gpu", "gpu_count", "vram", "vram_used", "headless", "backend", "engine_version", "model", "quant",
    "weights_gib", "ram", "ram_bandwidth", "concurrency", "depth", "prompt",
)  # fmt: skip
"""What may be said beside the command: the device, the file, and how it is used."""
_LENGTH = "ctx"
"""How long requests are, which only a command that has no flag for it leaves to be said."""


def check_command(
    command: str, options: Mapping[str, Any], catalog: Catalog, receipts: Receipts = NO_RECEIPTS
) -> Check:
    """The judgement of `command` on the device that `options` name; `receipts` correct what is estimated.

    Raises:
        UsageError: the command or an option cannot be understood (see `parse_command` and `launched`).
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in {*OPTIONS, _LENGTH}:
            raise UsageError(f"check has no option {name!r}", f"it takes: {', '.join(OPTIONS)}")
    version = str(given["engine_version"]).strip() if "engine_version" in given else None
    reading = parse_command(command, version or None, catalog)
    if _LENGTH in given and not reading.grows:
        raise UsageError(
            f"check has no option {_LENGTH!r} for {reading.engine}", "its command says it: change it there"
        )
    found = launched(reading, given, catalog, receipts)
    if reading.longest_that_fits:
        found = replace(found, setup=_longest(found.setup))
    setup = found.setup
    figures = predict_setup(setup)
    verdict = verdict_of(figures.oom_probability)
    fixed = [] if verdict == "fits" else changes_that_fit(setup, figures, catalog)
    return Check(
        verdict=verdict,
        command=rewritten(reading, setup, setup, found.quant_text, catalog),
        parsed=setup.launch,
        unknown_flags=[
            UnknownFlag(flag=word.flag, reason=word.reason, nearest=list(word.nearest))
            for word in reading.unknown
        ],
        prediction=figures,
        fixes=[_fix(item, reading, found, figures, catalog) for item in fixed],
        warnings=_warnings(reading, found, figures, catalog),
    )


def _longest(setup: Setup) -> Setup:
    """What `--max-model-len auto` makes of the context."""
    return setup if risk_of(setup) <= SAFE else longest_context(setup) or setup


def _fix(item: Fixed, reading: Reading, found: Launched, before: PredictedFigures, catalog: Catalog) -> Fix:
    after, setup = item.figures, item.change.setup
    kept = retained(setup.model, setup.quant, setup.launch) / retained(
        found.setup.model, found.setup.quant, found.setup.launch
    )
    return Fix(
        change=item.change.text,
        command=rewritten(reading, found.setup, setup, found.quant_text, catalog),
        saves_mib=before.memory.total_mib - after.memory.total_mib,
        oom_probability=after.oom_probability,
        fits=item.fits,
        decode_tps=after.decode_tps,
        decode_tps_full_context=after.decode_tps_full_context,
        speed_lost=_share_lost(before.decode_tps_full_context, after.decode_tps_full_context),
        quality_lost=max(0.0, 1 - kept),
    )


def _share_lost(before: Interval | None, after: Interval | None) -> float:
    return max(0.0, 1 - after.value / before.value) if before is not None and after is not None else 0.0


def _warnings(
    reading: Reading, found: Launched, figures: PredictedFigures, catalog: Catalog
) -> list[Caution]:
    """What the command itself calls for, then what limits the figures, then what the rules say."""
    setup = found.setup
    rules = apply(setup, catalog=catalog)
    said = [Caution(rule=remark.rule, text=remark.text, evidence_url=None) for remark in found.remarks]
    for word in reading.unknown:
        meant = f"; did you mean {' or '.join(word.nearest[:2])}?" if word.nearest else ""
        said.append(
            Caution(rule="unknown-flag", text=f"{word.flag}: {word.reason}{meant}", evidence_url=None)
        )
    if not host_holds(setup):
        needed = format_mib(figures.memory.host_mib)
        text = f"needs {needed} of host memory, beside {setup.host.ram_gib:g} GiB of RAM in all"
        said.append(Caution(rule="host-memory", text=text, evidence_url=None))
    said.extend(_refusal(setup))
    if reading.fits_itself:
        said.extend(_fitting(reading, setup, figures))
    refused = [
        caution.model_copy(update={"text": f"ruled out: {caution.text}"}) for caution in rules.forbidden
    ]
    limits = [caution for caution in cautions(setup, figures, found.label) if caution.rule != "memory"]
    return [*refused, *said, *limits, *rules.warnings]


def _refusal(setup: Setup) -> list[Caution]:
    """That vLLM does not start at all, since its share of the card is more than what is free there."""
    if setup.launch.engine != "vllm":
        return []
    asked, free = asked_of_card_mib(setup), free_mib(setup)
    text = (
        f"vLLM does not start: its share of the card is {format_mib(asked)}, and {format_mib(free)} are free"
    )
    return [Caution(rule="refusal", text=text, evidence_url=None)] if asked > free else []


def _fitting(reading: Reading, setup: Setup, figures: PredictedFigures) -> list[Caution]:
    """What `--fit` makes of a launch that leaves less than its margin: a shorter context, else offload."""
    if _leaves_margin(setup):
        return []
    shortens = reading.context is None and reading.engine not in {"ollama", "lmstudio"}
    shorter = longest_context(setup, _leaves_margin) if shortens else None
    if shorter is not None and shorter.launch.ctx >= _FIT_CONTEXT:
        what = f"shorten the context to about {format_tokens(shorter.launch.ctx)} tokens"
        return [_degradation(what, shorter, figures)]
    moved = offloaded(setup, _leaves_margin)
    if moved is None:
        return []
    kept = (
        f"keep the experts of {moved.launch.n_cpu_moe} layers on the host"
        if moved.launch.n_cpu_moe != setup.launch.n_cpu_moe
        else f"keep {moved.launch.n_gpu_layers} of {setup.model.n_layers} layers on the GPU"
    )
    return [_degradation(kept, moved, figures)]


def _degradation(what: str, after: Setup, figures: PredictedFigures) -> Caution:
    now, then = figures.decode_tps_full_context, predict_setup(after).decode_tps_full_context
    speeds = (
        f": about {format_tps(then.value)} tok/s at a full context, {format_tps(now.value)} as it stands"
        if now is not None and then is not None
        else ""
    )
    engine = after.launch.engine
    text = f"{engine} would not fail at this: by itself{_FITS_BY.get(engine, '')} it would {what}{speeds}"
    return Caution(rule="fit", text=text, evidence_url=_FIT_SOURCES.get(engine))


def _leaves_margin(setup: Setup) -> bool:
    try:
        memory = judged(setup).memory
    except UnsupportedError:
        return False
    return memory.total_mib + _FIT_MARGIN_MIB <= memory.available_mib
