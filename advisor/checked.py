"""A checked command as text for people: verdict, memory, and the changes that make it fit.

It owns words and columns and computes nothing; what it shares with other answers is `advisor.render`'s.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from advisor.config import Check, Fix, Interval, Verdict
from advisor.render import bullet, console, print_memory, verbatim
from advisor.words import VERDICTS, cards_text, launch_text, risk_text, short_name, tokens_text
from knowledge.units import format_mib, format_tokens, format_tps

_STYLES: dict[Verdict, str] = {"fits": "bold green", "tight": "bold yellow", "oom": "bold red"}
_HARDLY = 0.0005
"""Shares below it are not worth a figure."""


def print_check(found: Check) -> None:
    """The verdict, what takes the memory, the speed, the changes, and what to know about the command."""
    out = console()
    config, figures = found.parsed, found.prediction
    out.print(
        Text(VERDICTS[found.verdict], style=_STYLES[found.verdict])
        + Text(f": {risk_text(figures.oom_probability)} risk", style="not bold")
    )
    slots = f", {config.parallel} slots" if (config.parallel or 1) > 1 else ""
    out.print(
        Text(short_name(config.model), style="bold")
        + Text(
            f" {launch_text(config)}, {tokens_text(config.ctx)} each{slots}, on {cards_text(config)}\n",
            style="not bold",
        )
    )
    print_memory(out, figures)
    speeds = (_tps(figures.decode_tps), _tps(figures.decode_tps_full_context), _tps(figures.prefill_tps))
    condition = "" if found.verdict == "fits" else ", if it ran"
    out.print(
        f"[bold]Speed[/]{condition}  decode {speeds[0]} tok/s, {speeds[1]} with "
        f"{tokens_text(config.ctx)} in the cache; prefill {speeds[2]} tok/s\n"
    )
    _print_unknown(out, found)
    if found.fixes:
        _print_fixes(out, found)
    elif found.verdict != "fits":
        out.print("No single change is known to help: a smaller model, or a shorter context and more.\n")
    warnings = [warning for warning in found.warnings if warning.rule != "unknown-flag"]
    if warnings:
        out.print("Warnings", style="bold")
        for warning in warnings:
            bullet(out, f"{warning.text} [{warning.rule}]", warning.evidence_url)


def _print_unknown(out: Console, found: Check) -> None:
    if not found.unknown_flags:
        return
    out.print("Not understood by this engine", style="bold")
    for word in found.unknown_flags:
        meant = f"; did you mean {' or '.join(word.nearest[:2])}?" if word.nearest else ""
        bullet(out, f"{word.flag}: {word.reason}{meant}", None)
    out.print()


def _print_fixes(out: Console, found: Check) -> None:
    enough = found.fixes[0].fits
    title = "Changes that make it fit, each alone, cheapest first" if enough else "No single change is enough"
    more = "" if enough else "; these help most, combine them"
    out.print(f"[bold]{title}[/]{more}")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    ctx = format_tokens(found.parsed.ctx)
    for name in ("#", "change", ">saves", ">risk", ">tok/s", ">full", ">answers"):
        table.add_column(
            name.lstrip(">"), justify="right" if name[0] == ">" else "left", no_wrap=name != "change"
        )
    for place, fix in enumerate(found.fixes, start=1):
        table.add_row(str(place), *_cells(fix))
    out.print(table)
    out.print(f"full: tok/s at a full context (now {ctx}); answers: quality lost\n", style="dim")
    for place, fix in enumerate(found.fixes, start=1):
        verbatim(out, f"{place}  {fix.command}")
    out.print()


def _cells(fix: Fix) -> tuple[str, ...]:
    return (
        fix.change,
        format_mib(fix.saves_mib),
        risk_text(fix.oom_probability),
        _tps(fix.decode_tps),
        _tps(fix.decode_tps_full_context),
        "same" if fix.quality_lost < _HARDLY else f"−{100 * fix.quality_lost:.1f} %",
    )


def _tps(interval: Interval | None) -> str:
    return format_tps(interval.value if interval is not None else None)
