"""Lists as tables for people: devices, models, formats, flags, release notes, runs, reports.

It chooses the columns and computes nothing; `advisor.render` explains a configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from advisor import listings
from advisor.columns import print_table
from advisor.ingest_tables import print_ingested, print_preview
from advisor.limit_tables import print_limits
from advisor.note_tables import print_notes
from advisor.previews import Preview
from advisor.render import console, print_json
from knowledge.units import format_tokens, format_tps


def show(answer: BaseModel, *, as_json: bool) -> None:
    """Print an answer as its table (key by key, where it has none), or as one JSON object."""
    if as_json:
        print_json(answer)
        return
    printer = _PRINTERS.get(type(answer))
    if printer is None:
        _print_keys(console(), answer.model_dump())
    else:
        printer(console(), answer)


def _print_keys(out: Console, values: Mapping[str, Any], indent: str = "") -> None:
    """Nested figures, one level of indentation each; a level of plain figures is one line."""
    for name, value in values.items():
        if isinstance(value, Mapping) and any(isinstance(inner, Mapping) for inner in value.values()):
            out.print(Text(f"{indent}{name}"))
            _print_keys(out, value, f"{indent}  ")
        elif isinstance(value, Mapping):
            figures = ", ".join(f"{key} {_figure(inner)}" for key, inner in value.items())
            out.print(Text(f"{indent}{name}: {figures}"), soft_wrap=True)
        else:
            out.print(Text(f"{indent}{name}: {_figure(value)}"), soft_wrap=True)


def _figure(value: object) -> str:
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _gpus(out: Console, answer: listings.Gpus) -> None:
    rows = (
        (gpu.name, _number(gpu.memory_gib), _number(gpu.bandwidth_gbps), _number(gpu.fp16_tflops), gpu.arch)
        for gpu in answer.gpus
    )
    print_table(out, "device|>GiB|>GB/s|>fp16 TFLOPS|architecture", rows)


def _models(out: Console, answer: listings.Models) -> None:
    rows = (
        (
            model.name,
            f"{model.total_params_b:.3g}",
            f"{model.active_params_b:.3g}",
            format_tokens(model.max_context) if model.max_context else "",
            model.released,
        )
        for model in answer.models
    )
    print_table(out, "model|>B|>active|>context|released", rows)


def _quants(out: Console, answer: listings.Quants) -> None:
    rows = (
        (quant.name, f"{quant.bpw:.2f}", quant.family, " ".join(quant.engines)) for quant in answer.quants
    )
    print_table(out, "format|>bits|family|engines", rows, wide=3)


def _flags(out: Console, answer: listings.Flags) -> None:
    rows = ((flag.engine, flag.flag, flag.since_version, flag.effect) for flag in answer.flags)
    print_table(out, "engine|flag|since|effect", rows, wide=3)


def _observations(out: Console, answer: listings.Observations) -> None:
    for row in answer.observations:
        out.print(Text(_run_line(row)))
        source = row.get("source_url") or f"{row['file']}:{row['line']}"
        out.print(Text(f"  {source}", style="dim"), soft_wrap=True)
    out.print(f"{len(answer.observations)} shown; the store holds {answer.total:,}", style="dim")


def _run_line(row: Mapping[str, Any]) -> str:
    if "reason" in row and "model" not in row:
        return f"line {row['line']}: {row['reason']}"
    setting = [
        row["gpu"] if (row["gpu_count"] or 1) == 1 else f"{row['gpu_count']} × {row['gpu']}",
        row["model"],
        row["quant"],
        " ".join(filter(None, (row["engine"], row["engine_version"]))),
        "" if row["depth"] is None else f"depth {format_tokens(row['depth'])}",
        "" if (row["concurrency"] or 1) == 1 else f"{row['concurrency']} users",
    ]
    figures = [
        f"{name} {format_tps(row[field])}"
        for name, field in (
            ("decode", "decode_tps"),
            ("total", "decode_tps_total"),
            ("prefill", "prefill_tps"),
        )
        if row[field] is not None
    ]
    if row["vram_used_gib"] is not None:
        figures.append(f"{row['vram_used_gib']:.1f} GiB used")
    if row["outcome"] != "ok":
        figures.append(row["outcome"])
    reason = f" — {row['reason']}" if row.get("reason") else ""
    return f"{', '.join(filter(None, setting))}: {', '.join(figures)}{reason}"


def _health(out: Console, answer: listings.Health) -> None:
    for check in answer.checks:
        out.print(Text(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}"), soft_wrap=True)


def _trained(out: Console, answer: listings.Trained) -> None:
    own = f", {answer.own_rows:,} of them yours" if answer.own_rows else ""
    used = answer.rows - sum(answer.skipped.values())
    out.print(f"fitted on {answer.cases:,} figures of {used:,} rows{own}")
    _skipped(out, answer.skipped)
    out.print("\nMedian errors on what was left out of the fit; the simple rule is bandwidth ÷ bytes\n")
    rows = (
        (item.part, f"new {item.left_out}", *_score(item.score), _share(item.baseline_mdape))
        for item in answer.headline
    )
    print_table(out, "figure|on a|>figures|>error|>within 25 %|>inside|>simple rule", rows, wide=1)
    if answer.learnt:
        out.print(f"\n{_learnt(answer.learnt)}", soft_wrap=True)
    for file in answer.files:
        out.print(Text(f"wrote {file}"), soft_wrap=True)
    if not answer.loaded:
        out.print("predictions do not look there")


def _learnt(change: listings.Learnt) -> str:
    before = "" if change.error_before is None else f"{change.error_before:.1%} before, "
    moved = "" if change.others_moved is None else f"; other cards moved by {change.others_moved:.1%}"
    return (
        f"your {change.rows:,} rows ({change.figures:,} figures): median error "
        f"{before}{change.error_after:.1%} now{moved}"
    )


def _evaluated(out: Console, answer: listings.Evaluated) -> None:
    out.print(f"read {answer.rows:,} rows, scored {answer.scored:,}")
    _skipped(out, answer.skipped)
    slices = answer.slices
    parts = {
        "all": answer.metrics,
        "known GPU and model": slices.seen_gpu_seen_model,
        "new GPU": slices.unseen_gpu,
        "new model": slices.unseen_model,
        **slices.by_engine,
        **dict(list(slices.by_gpu.items())[:_GPUS_SHOWN]),
    }
    figures = [name for name in listings.Metrics.model_fields if name != "oom"]
    rows = (
        (part, figure, *_score(score))
        for part, metrics in parts.items()
        for figure in figures
        if (score := getattr(metrics, figure)).n
    )
    out.print("")
    print_table(out, "of|figure|>figures|>error|>within 25 %|>in interval", rows)
    oom = answer.metrics.oom
    if oom.n:
        out.print(
            f"out of memory: {oom.positives} of {oom.n} runs; area under the ROC curve {_figure(oom.auc)}, "
            f"Brier score {_figure(oom.brier)}, calibration error {_figure(oom.ece)}"
        )


_GPUS_SHOWN = 5
"""The table shows the GPUs with most rows; `--json` has all of them."""


def _score(score: listings.FigureScore) -> tuple[str, str, str, str]:
    return (f"{score.n:,}", _share(score.mdape), _share(score.within_25pct), _share(score.coverage_80))


def _share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _skipped(out: Console, skipped: Mapping[str, int]) -> None:
    for reason, rows in sorted(skipped.items(), key=lambda item: -item[1]):
        out.print(Text(f"  {rows:,} left out: {reason}"), soft_wrap=True)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


_PRINTERS: dict[type[BaseModel], Callable[[Console, Any], None]] = {
    listings.Gpus: _gpus,
    listings.Models: _models,
    listings.Quants: _quants,
    listings.Flags: _flags,
    listings.Notes: print_notes,
    listings.Observations: _observations,
    listings.Ingested: print_ingested,
    Preview: print_preview,
    listings.Health: _health,
    listings.Trained: _trained,
    listings.Evaluated: _evaluated,
    listings.Limited: print_limits,
}
