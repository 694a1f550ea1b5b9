"""How the answer moves with one choice: a tab for each curve, drawn only while it is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from advisor.page import answers, bars, charts
from advisor.what_if import Curves, Rung
from advisor.words import range_text, risk_text
from knowledge.units import MIB_PER_GIB, format_mib, format_tokens, format_tps

KEY = "curve"
"""The key of the tabs, in the address too."""


def show(options: Mapping[str, Any]) -> None:
    """The curves around exactly `options`."""
    tabs = st.tabs(list(_TABS), key=KEY, on_change="rerun", bind="query-params")
    for tab, (part, draw) in zip(tabs, _TABS.values(), strict=True):
        if tab.open:
            with tab:
                draw(answers.curves(options, part))


def _depth(found: Curves) -> None:
    first, last = found.depths[0], found.depths[-1]
    said = "no speed is known"
    if first.decode_tps and last.decode_tps:
        said = (
            f"from {format_tps(first.decode_tps.value)} tok/s with an empty cache to "
            f"{format_tps(last.decode_tps.value)} with {format_tokens(last.depth)} tokens"
        )
    st.altair_chart(charts.depth_chart(found), width="stretch", alt=f"Decoding against depth: {said}")
    runs = len(found.runs)
    points = f"{runs} measured runs of it are the points: click one for its source" if runs else ""
    st.caption(found.note or points or "No run of exactly this model, card and format has been measured.")
    _save(found)


def _context(found: Curves) -> None:
    memory, risk = st.columns(2)
    config = found.config
    with memory:
        st.altair_chart(charts.context_chart(found), width="stretch", alt=_longest(found))
    with risk:
        st.altair_chart(
            charts.risk_chart(found),
            width="stretch",
            alt=f"Risk of running out of memory against context on {config.gpu}, for each type of KV cache",
        )
    st.caption(f"{_longest(found)}. Dashed: {format_tokens(config.ctx)} as asked, and a risk of 5 %.")
    _save(found)


def _longest(found: Curves) -> str:
    """In words, for each type of cache the longest of the drawn contexts that is safe."""
    safe: dict[str, int] = {}
    for point in found.contexts:
        longest = safe.setdefault(point.kv_type_k, 0)
        if point.oom_probability <= found.request["max_oom"]:
            safe[point.kv_type_k] = max(longest, point.ctx)
    said = [f"{name} {format_tokens(ctx) if ctx else 'not even the shortest'}" for name, ctx in safe.items()]
    return f"Of the contexts drawn, the longest that fits: {', '.join(said)}"


def _users(found: Curves) -> None:
    total, each = st.columns(2)
    last = found.users[-1]
    reached = f"{last.users} users reach {format_tps(last.decode_tps_total.value)} tok/s together" if (
        last.decode_tps_total) else "no total is known"  # fmt: skip
    with total:
        st.altair_chart(
            charts.users_chart(found, "decode_tps_total", "all together, tok/s"),
            width="stretch",
            alt=f"Total throughput against users at once: {reached}",
        )
    with each:
        st.altair_chart(
            charts.users_chart(found, "decode_tps", "each user, tok/s"),
            width="stretch",
            alt="Speed of each user against users at once",
        )
    held = [point.users for point in found.users if point.fits]
    many = f"up to {max(held)} of the drawn numbers" if held else "not even one"
    st.caption(f"With {format_tokens(found.config.ctx)} tokens each, memory holds {many} (hollow: not).")
    _save(found)


def _formats(found: Curves) -> None:
    _ladder(found.quants, found, "format")


def _cards(found: Curves) -> None:
    _ladder(found.cards, found, "card")
    st.caption("Beside the asked one, the cards of which most runs have been measured.")


def _ladder(rungs: Sequence[Rung], found: Curves, kind: str) -> None:
    fitting = sum(rung.fits for rung in rungs)
    chart, table = st.columns([1, 1])
    with chart:
        st.altair_chart(
            bars.ladder_chart(rungs, found.config.ctx),
            width="stretch",
            alt=f"Speed at a full context for each {kind}: {fitting} of {len(rungs)} fit",
        )
    with table:
        st.dataframe(
            [_row(rung, kind) for rung in rungs],
            hide_index=True,
            alt=f"Every {kind} with its speed, memory, quality lost and risk",
        )
    for rung in rungs:
        if rung.forbidden:
            st.caption(f"{rung.name} does not run: {rung.forbidden}")
    _save(found)


def _row(rung: Rung, kind: str) -> dict[str, object]:
    now, full = rung.decode_tps, rung.decode_tps_full_context
    memory = f"{rung.memory_mib / MIB_PER_GIB:.1f} of {format_mib(rung.available_mib)}"
    lost = {"quality lost": f"{rung.quality_lost:.1%}"} if kind == "format" else {}
    return {
        kind: f"▸ {rung.name}" if rung.asked else rung.name,
        "tok/s": format_tps(now.value if now else None),
        "full context": format_tps(full.value if full else None),
        "within": range_text(full) if full else "",
        "memory": memory,
        **lost,
        "risk": risk_text(rung.oom_probability),
    }


def _save(found: Curves) -> None:
    st.download_button(
        "Curves as JSON",
        found.model_dump_json(indent=1),
        file_name="advisor-curves.json",
        mime="application/json",
        on_click="ignore",
        help="Each chart itself can be saved as PNG or SVG from its menu",
    )


_TABS: Mapping[str, tuple[str, Callable[[Curves], None]]] = {
    "Depth": ("depths", _depth),
    "Context": ("contexts", _context),
    "Users": ("users", _users),
    "Formats": ("quants", _formats),
    "Cards": ("cards", _cards),
}
"""Each tab's field of the curves, and what draws it."""
