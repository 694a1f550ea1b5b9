"""`advisor limits` as tables for people: contexts, users, the split with the host, the smallest cards.

It owns the columns and computes nothing; commands are printed on lines of their own and never broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from advisor.config import PredictedFigures
from advisor.listings import CardLimit, ContextLimit, Limited, Solved, SplitLimit, UserLimit
from advisor.words import cards_text, memory_text, risk_text, short_name
from knowledge.units import MIB_PER_GIB, format_mib, format_tokens, format_tps

_BOUNDS = {
    "memory": "",
    "model": "the model's most",
    "speed": "by speed",
    "search": "or more",
    "rule": "",
}
"""What stopped a search, where that is not the memory."""


def print_limits(out: Console, answer: Limited) -> None:
    """All sections that the answer has."""
    request = answer.request
    ctx, risk = format_tokens(request["ctx"]), f"{request['max_oom']:.0%}"
    if answer.contexts:
        config = answer.contexts[0].config
        out.print(
            Text.assemble(
                (short_name(config.model), "bold"),
                f" {config.quant} · {config.engine}, on {cards_text(config)} ({memory_text(config)}); "
                f"at most {risk} risk of running out of memory\n",
            )
        )
        _contexts(out, answer.contexts)
        _users(out, answer.users, ctx)
    if answer.split is not None:
        _split(out, answer.split, ctx)
    _cards(out, answer.cards, ctx, request["concurrency"])
    for note in answer.notes:
        out.print(Text(f"· {note}"))


def _table(out: Console, title: str, columns: str, rows: Iterable[Sequence[str]]) -> None:
    """Rows under `columns`; a leading `>` aligns right, and a last column that is empty is left out."""
    cells, names = list(rows), columns.split("|")
    if not any(row[-1] for row in cells):
        cells, names = [row[:-1] for row in cells], names[:-1]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for index, name in enumerate(names):
        folds = index == len(names) - 1 and not name
        table.add_column(
            name.lstrip(">"), justify="right" if name.startswith(">") else "left", no_wrap=not folds
        )
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    out.print(title, style="bold")
    out.print(Padding(table, (0, 0, 0, 2), expand=False))


def _none(out: Console, title: str, items: Sequence[ContextLimit] | Sequence[UserLimit]) -> bool:
    """One line where no cache type does; the narrowest one, which comes last, was the nearest to it."""
    if any(item.command for item in items):
        return False
    out.print(title, style="bold")
    last = items[-1]
    out.print(Text(f"  none: KV {_cache(last)} {last.reason}\n"))
    return True


def _cache(item: ContextLimit | UserLimit) -> str:
    if item.config.engine == "vllm" and item.kv_type_k in {"f16", "bf16"}:
        return "auto"
    return item.kv_type_k if item.kv_type_k == item.kv_type_v else f"{item.kv_type_k}/{item.kv_type_v}"


def _memory(figures: PredictedFigures) -> str:
    memory = figures.memory
    return f"{memory.total_mib / MIB_PER_GIB:.1f} of {memory.available_mib / MIB_PER_GIB:.1f}"


def _full(figures: PredictedFigures) -> str:
    return format_tps(figures.decode_tps_full_context.value if figures.decode_tps_full_context else None)


def _contexts(out: Console, items: Sequence[ContextLimit]) -> None:
    rows = (
        (_cache(item), "–", "", "", "", item.reason)
        if item.ctx is None
        else (
            _cache(item),
            f"{item.ctx:,}",
            _full(item.prediction),
            _memory(item.prediction),
            risk_text(item.prediction.oom_probability),
            _BOUNDS[item.bounded_by],
        )
        for item in items
    )
    if _none(out, "Longest context", items):
        return
    _table(out, "Longest context", "KV cache|>tokens|>tok/s, full|>GiB|>risk|", rows)
    _commands(out, items)


def _users(out: Console, items: Sequence[UserLimit], ctx: str) -> None:
    rows = (
        (_cache(item), "–", "", "", "", "", item.reason)
        if item.users is None
        else (
            _cache(item),
            f"{item.users:,}",
            format_tps(item.prediction.decode_tps_total.value if item.prediction.decode_tps_total else None),
            _full(item.prediction),
            _memory(item.prediction),
            risk_text(item.prediction.oom_probability),
            _BOUNDS[item.bounded_by],
        )
        for item in items
    )
    title = f"Most users with {ctx} tokens each"
    if _none(out, title, items):
        return
    _table(out, title, "KV cache|>users|>tok/s, all|>each, full|>GiB|>risk|", rows)
    _commands(out, [max(items, key=lambda item: item.users or 0)])


def _split(out: Console, item: SplitLimit, ctx: str) -> None:
    out.print(f"Split with host memory at {ctx} tokens", style="bold")
    if item.reason:
        out.print(Text(f"  none: {item.reason}\n"))
        return
    if item.n_cpu_moe is not None:
        what = f"experts of {item.n_cpu_moe} of {item.n_layers} layers on the host"
    else:
        what = f"{item.n_gpu_layers} of {item.n_layers} layers on the card"
    kept = "" if item.speed_kept is None else f", {item.speed_kept:.0%} of"
    whole = format_tps(item.whole_decode_tps.value if item.whole_decode_tps else None)
    out.print(
        Text(
            f"  {what}, {format_mib(item.host_mib)} in host memory; risk "
            f"{risk_text(item.prediction.oom_probability)}\n"
            f"  {_full(item.prediction)} tok/s when full{kept} the {whole} of a card as fast with room for "
            f"{item.whole_needs_gib:.1f} GiB"
        )
    )
    _commands(out, [item])


def _cards(out: Console, items: Sequence[CardLimit], ctx: str, users: int) -> None:
    many = f" for {users} users" if users > 1 else ""
    if not items:
        out.print(f"No single card of the catalog holds it at {ctx} tokens{many}.\n")
        return
    rows = (
        (
            card.gpu,
            f"{card.memory_gib:g}",
            f"{card.bandwidth_gbps:,.0f}" if card.bandwidth_gbps else "",
            _full(card.prediction),
            _memory(card.prediction),
            risk_text(card.prediction.oom_probability),
            "",
        )
        for card in items
    )
    _table(
        out, f"Smallest cards for {ctx} tokens{many}", "card|>GiB|>GB/s|>tok/s, full|>GiB used|>risk|", rows
    )
    out.print()


def _commands(out: Console, items: Sequence[Solved]) -> None:
    """The launch command of each, as a shell takes it."""
    for item in items:
        if item.command:
            env = "".join(f"{name}={value} " for name, value in item.env.items())
            out.print(Text(f"  {env}{item.command}"), style="dim", soft_wrap=True)
    out.print()
