"""Answers as text for people: the ranked table, and one configuration explained. JSON for programs.

It owns words, columns and units and computes nothing. Lists are `advisor.tables`'. Colour and width are the
terminal's; commands and addresses are printed on lines of their own and never broken.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from advisor.asking import flag_of
from advisor.config import Evidence, Interval, PredictedFigures, Prediction, Recommendation
from advisor.explain import instead
from advisor.setups import options_of
from advisor.words import (
    BASIS,
    PARTS,
    cached_text,
    cards_text,
    command_text,
    devices_text,
    launch_text,
    memory_text,
    range_text,
    risk_text,
    short_name,
    tokens_text,
)
from knowledge.units import MIB_PER_GIB, format_mib, format_tokens, format_tps

_ABOUT_THE_HOST = ("vram_used", "ram", "ram_bandwidth")


_TOLD_APART = 0.05
"""Difference of two risks that is worth two figures."""


def console() -> Console:
    """Standard output, without guesses at what deserves a colour."""
    return Console(highlight=False)


def print_json(answer: BaseModel) -> None:
    """The answer as one JSON object."""
    sys.stdout.write(answer.model_dump_json(indent=2) + "\n")


def tell(text: str) -> None:
    """Talk to the person on standard error, which no program reads."""
    if text:
        sys.stderr.write(f"note: {' '.join(text.split())}\n")


def progress(text: str) -> None:
    """Say what is being done, if somebody watches standard error."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text} …\n")


def store_note(predictions: Iterable[Prediction]) -> str:
    """What the store had to say about itself, once."""
    said = (w.text for prediction in predictions for w in prediction.warnings if w.rule == "store")
    return next(said, "")


def nothing_fits(found: Recommendation) -> tuple[str, str]:
    """Why the list is empty: message and hint."""
    request = found.request
    where = f"{request['gpu']} at {format_tokens(request['ctx'])} tokens of context"
    last = found.rejected[-1] if found.rejected else None
    named = [str(last.config[key]) for key in ("model", "quant") if key in last.config] if last else []
    nearest = f": {' '.join(named)}: {last.reason}" if last else ""
    return f"nothing fits {where}{nearest}", "try a smaller --ctx or --model, or --ram to use host memory"


def print_recommendation(found: Recommendation, *, explain: bool = False) -> None:
    """The ranked table, then the first configuration in full; `explain` adds what the second would change."""
    out = console()
    request, best = found.request, found.recommendations[0]
    many = best.config.concurrency > 1
    users = f" for {best.config.concurrency} users" if many else ""
    out.print(
        f"[bold]{cards_text(best.config)}[/] ({memory_text(best.config)}), "
        f"{format_tokens(best.config.ctx)} tokens of context{users}; ordered by goal: {request['goal']}\n"
    )
    table = _table()
    table.add_column("#\n", justify="right")
    table.add_column("model\nformat · engine · KV cache", ratio=1, overflow="fold")
    table.add_column("tok/s\nnow", justify="right", no_wrap=True)
    table.add_column(f"at {format_tokens(best.config.ctx)}\n(80 %)", justify="right", no_wrap=True)
    if many:
        table.add_column("total\n(80 %)", justify="right", no_wrap=True)
    table.add_column("prefill\ntok/s", justify="right", no_wrap=True)
    table.add_column("GiB\nof", justify="right", no_wrap=True)
    table.add_column("OOM\nrisk", justify="right", no_wrap=True)
    for place, item in enumerate(found.recommendations, start=1):
        figures = item.prediction
        model = Text(short_name(item.config.model), style="bold" if place == 1 else "")
        cells: list[str | Text] = [
            str(place),
            model + Text(f"\n{launch_text(item.config)}", style="dim not bold"),
            _two_lines(figures.decode_tps),
            _two_lines(figures.decode_tps_full_context),
            *([_two_lines(figures.decode_tps_total)] if many else []),
            format_tps(figures.prefill_tps.value if figures.prefill_tps else None),
            f"{figures.memory.total_mib / MIB_PER_GIB:.1f}\n{figures.memory.available_mib / MIB_PER_GIB:.1f}",
            risk_text(figures.oom_probability),
        ]
        table.add_row(*cells)
    out.print(table)
    out.print("\n[bold]The first of them[/]\n")
    print_prediction(best, explain=explain)
    if len(found.recommendations) > 1:
        second = found.recommendations[1]
        if explain:
            out.print("The second choice", style="bold")
            text = f"{short_name(second.config.model)} {launch_text(second.config)}: "
            text += instead(best, second)
            out.print(Padding(Text(text), (0, 0, 1, 2), expand=False))
        out.print("The others in full:", style="dim")
        verbatim(out, f"  {predict_command(second, request)}")


def print_prediction(item: Prediction, *, explain: bool = False) -> None:
    """One configuration in full: command, figures, memory, why, measured runs, warnings, release notes.

    `explain` adds the reason for every flag of the command.
    """
    out = console()
    config, figures = item.config, item.prediction
    out.print(f"[bold]{short_name(config.model)}[/] {launch_text(config)}, on {cards_text(config)}\n")
    verbatim(out, f"  {command_text(item)}\n")
    if not figures.fits:
        out.print("This does not fit.\n", style="bold red")
    _print_figures(out, item)
    print_memory(out, figures)
    out.print("Why", style="bold")
    out.print(Padding(Text(item.why), (0, 0, 1, 2), expand=False))
    if explain:
        out.print("The command, flag by flag", style="bold")
        for flag in item.flags:
            bullet(out, f"{flag.flag}: {flag.reason}", flag.evidence_url)
        out.print()
        for form in item.other_forms:
            out.print(form.name[0].upper() + form.name[1:], style="bold")
            verbatim(out, "".join(f"  {line}\n" for line in form.text.splitlines()))
    _print_evidence(out, item.evidence, item.prediction.decode_tps)
    for title, lines in (
        ("Warnings", [(f"{w.text} [{w.rule}]", w.evidence_url) for w in item.warnings if w.rule != "store"]),
        ("Release notes", [(f"{n.engine} {n.version}: {n.claim}", n.evidence_url) for n in item.notes]),
    ):
        if lines:
            out.print(title, style="bold")
            for text, address in lines:
                bullet(out, text, address)
            out.print()


def _print_figures(out: Console, item: Prediction) -> None:
    config, figures = item.config, item.prediction
    rows = [
        (f"decode, {cached_text(config.depth)}", figures.decode_tps, "tok/s"),
        (f"decode, {cached_text(config.ctx)}", figures.decode_tps_full_context, "tok/s"),
        (f"all {config.concurrency} users together", figures.decode_tps_total, "tok/s")
        if config.concurrency > 1
        else None,
        (f"prefill of {tokens_text(config.prompt)}", figures.prefill_tps, "tok/s"),
        ("time to the first token", figures.ttft_ms, "ms"),
    ]
    table = _table(header=False)
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.columns[1].justify = "right"
    for name, interval, unit in filter(None, rows):
        value = "–" if interval is None else f"{format_tps(interval.value)} {unit}"
        table.add_row(name, value, "" if interval is None else f"80 % within {range_text(interval)}")
    out.print("Speed", style="bold")
    out.print(Padding(table, (0, 0, 0, 2), expand=False))
    runs = f", {figures.support} runs" if figures.support else ""
    out.print(f"  {BASIS[figures.basis]}{runs}\n", style="dim")


def print_memory(out: Console, figures: PredictedFigures) -> None:
    """Memory by part against what is available, the risk of running out, and what a server can hold."""
    memory, risk, start = figures.memory, figures.oom_probability, figures.oom_probability_start
    at_start = f" ({risk_text(start)} at the start)" if risk - start > _TOLD_APART else ""
    per_gpu = " on the fullest GPU" if memory.per_gpu else ""
    out.print(
        f"[bold]Memory[/]{per_gpu}  {format_mib(memory.total_mib)} of {format_mib(memory.available_mib)} "
        f"available; risk of running out: {risk_text(risk)}{at_start}"
    )
    each = devices_text(memory)
    table = _table(header=False)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    for name, field in PARTS:
        if getattr(memory, field) >= 1:
            table.add_row(name, format_mib(getattr(memory, field)))
    if memory.host_mib >= 1:
        table.add_row("beside it, in host memory", format_mib(memory.host_mib), style="dim")
    if figures.capacity is not None:
        held = figures.capacity
        table.add_row("tokens of cache in all", tokens_text(held.kv_tokens))
        table.add_row("requests of full length", f"{held.full_length_requests:.3g}")
        table.add_row("longest request", tokens_text(held.longest_request))
    out.print(Padding(table, (0, 0, 0 if each else 1, 2), expand=False))
    if each:
        out.print(Padding(each, (0, 0, 1, 2)))


def _print_evidence(out: Console, runs: Sequence[Evidence], decode: Interval | None) -> None:
    if not runs:
        return
    out.print("Measured runs nearest to it", style="bold")
    for run in runs:
        figures = [
            f"{format_tps(run.decode_tps)} tok/s" if run.decode_tps is not None else "",
            f"prefill {format_tps(run.prefill_tps)}" if run.prefill_tps is not None else "",
            f"{run.vram_used_gib:.1f} GiB used" if run.vram_used_gib is not None else "",
        ]
        moved = run.decode_tps_without
        shown = moved is not None and decode is not None and format_tps(moved) != format_tps(decode.value)
        without = f"; without it decode would be {format_tps(moved)}" if shown else ""
        when = f" ({run.observed_on})" if run.observed_on else ""
        differs = (
            f"; differs in {', '.join(run.differs_in)}" if run.differs_in else "; the same configuration"
        )
        bullet(out, f"{', '.join(filter(None, figures))}{when}{differs}{without}", run.source_url)
    out.print()


def predict_command(item: Prediction, request: Mapping[str, Any]) -> str:
    """The `advisor predict` that gives this answer again."""
    options = options_of(item.config) | {name: request[name] for name in _ABOUT_THE_HOST}
    words = [word for name, value in options.items() if value for word in (flag_of(name), str(value))]
    return shlex.join(["advisor", "predict", *words, *(["--headless"] if request["headless"] else [])])


def _table(*, header: bool = True) -> Table:
    return Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=header, header_style="dim")


def bullet(out: Console, text: str, address: str | None) -> None:
    """A point of a list and where it comes from."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row("  ·", Text(text))
    out.print(grid)
    if address:
        verbatim(out, f"    {address}", style="dim")


def verbatim(out: Console, text: str, style: str | None = None) -> None:
    """A line that is printed whole, however long."""
    out.print(Text(text), style=style, soft_wrap=True)


def _two_lines(interval: Interval | None) -> str:
    return "–" if interval is None else f"{format_tps(interval.value)}\n{range_text(interval)}"
