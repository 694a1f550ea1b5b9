"""Ingestions for people at a terminal: what became of the files, and what they would change.

It computes nothing; the reports are `advisor.ingestion`'s and `advisor.preview`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from advisor.columns import print_table
from advisor.listings import Ingested
from advisor.previews import ConfigurationChange, Preview, StartChange
from advisor.words import risk_text, short_name, tokens_text
from knowledge.units import format_mib, format_tokens, format_tps

_STARTS_SHOWN, _REFUSED_SHOWN = 20, 50
_RATES = {"decode_tps": "decode", "decode_tps_total": "total", "prefill_tps": "prefill"}


def print_ingested(out: Console, answer: Ingested) -> None:
    """The balance, what was refused and why, and what the files told."""
    kept = " (nothing is kept: --dry-run)" if answer.effect["dry_run"] else ""
    out.print(
        f"read {answer.read} = added {answer.added} + duplicates {answer.duplicates} + "
        f"rejected {answer.rejected} + quarantined {answer.quarantined}{kept}"
    )
    refused = (*answer.rejects, *answer.quarantine)
    for reject in refused[:_REFUSED_SHOWN]:
        column = f", {reject.column}" if reject.column else ""
        out.print(Text(f"  {reject.file}:{reject.line}{column}: {reject.reason}"), soft_wrap=True)
    more = answer.rejected + answer.quarantined - len(refused[:_REFUSED_SHOWN])
    if more:
        out.print(f"  and {more:,} more (--json lists up to 1,000 of each kind)")
    for start in answer.effect["starts"][:_STARTS_SHOWN]:
        out.print(Text(f"  {_start_line(start)}"), soft_wrap=True)
    if answer.effect["new_starts"]:
        out.print(f"starts that calibrate the next answers for their GPU: {answer.effect['new_starts']}")
    if answer.effect["next"]:
        out.print(f"to learn from them: {answer.effect['next']}")


def print_preview(out: Console, answer: Preview) -> None:
    """The balance, and what would change."""
    print_ingested(out, answer)
    change = answer.learnt
    if change and change.error_before is not None:
        out.print(
            f"\nlearning from them (advisor train): median error on the {change.figures:,} new figures "
            f"{change.error_before:.1%} now, {change.error_after:.1%} then",
            soft_wrap=True,
        )
        rows = map(_changed, answer.configurations)
        print_table(out, "configuration|tok/s|>runs|>measured|>predicted|>then", rows)
    for start in answer.starts:
        out.print(Text(f"  {_recalibrated(start)}"), soft_wrap=True)
    for note in answer.notes:
        out.print(Text(note, style="dim"), soft_wrap=True)


def _changed(item: ConfigurationChange) -> tuple[object, ...]:
    cards = item.gpu if item.gpu_count == 1 else f"{item.gpu_count} × {item.gpu}"
    figures = map(format_tps, (item.measured, item.before, item.after))
    return (
        f"{item.model} {item.quant}, {cards}, {item.engine}",
        _RATES[item.figure],
        f"{item.figures:,}",
        *figures,
    )


def _recalibrated(item: StartChange) -> str:
    """What a start changes in the answer for its own launch."""
    launch = item.config
    total = f"{format_mib(item.total_mib_before)} → {format_mib(item.total_mib_after)}"
    free = f"{format_mib(item.available_mib_before)} → {format_mib(item.available_mib_after)}"
    risk = f"{risk_text(item.oom_probability_before)} → {risk_text(item.oom_probability_after)}"
    what = f"{short_name(launch.model)} {launch.quant} at {tokens_text(launch.ctx)}"
    return f"answers for {what}: needs {total} of {free}, risk {risk}"


def _start_line(start: Mapping[str, Any]) -> str:
    """A start as its log told it, so that a person can see whether it was understood."""
    cards = start["gpu"] if start["gpu_count"] == 1 else f"{start['gpu_count']} × {start['gpu']}"
    version = start.get("engine_version", "")
    ctx = f"{format_tokens(start['ctx'])} tokens" if "ctx" in start else ""
    what = [short_name(start["model"]), start.get("quant", ""), f"{start['engine']} {version}".strip(), ctx]
    sizes = [
        f"{name} {format_mib(start[field])}"
        for name, field in (
            ("free before", "free_mib"),
            ("weights", "model_mib"),
            ("KV cache", "kv_mib"),
            ("compute", "compute_mib"),
        )
        if field in start
    ]
    ended = "ran out of memory" if start["outcome"] == "oom" else "came up"
    return f"{cards}, {', '.join(filter(None, what))}: {ended}; {', '.join(sizes)}".rstrip("; ")
