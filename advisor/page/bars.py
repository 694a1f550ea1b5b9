"""Bars: memory by part against the card, and the rungs of a ladder by speed."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from advisor.config import Memory
from advisor.page.marks import BLUE, INK, RED, Drawn, spread
from advisor.what_if import Rung
from advisor.words import PARTS, risk_text
from knowledge.units import MIB_PER_GIB, format_tokens, format_tps

_PART_COLOURS = ("#7fb2d9", "#e69f00", "#cc79a7", "#3db38a", "#a0a0a0", "#e4e4e4")
"""Light enough for dark figures on them."""
_LEAST_LABELLED = 0.06
"""Share of the bar from which a part has room for its figure."""
_UNFIT = " · does not fit"


def memory_bar(memory: Memory) -> Drawn:
    """Memory by part against what the card gives, free memory included, with a tick where the card ends."""
    values = [(part, getattr(memory, field) / MIB_PER_GIB) for part, field in PARTS]
    free = max(0.0, (memory.available_mib - memory.total_mib) / MIB_PER_GIB)
    whole = max(memory.available_mib, memory.total_mib) / MIB_PER_GIB
    rows, start = [], 0.0
    for part, gib in [*values, ("free", free)]:
        label = f"{gib:.1f}" if gib > _LEAST_LABELLED * whole else ""
        rows.append({"part": part, "from": start, "to": start + gib, "GiB": gib, "label": label})
        start += gib
    names = [row["part"] for row in rows]
    gib = alt.Axis(tickCount=6, grid=False, labelExpr="datum.label + ' GiB'")
    base = alt.Chart({"values": rows}).encode(
        x=alt.X("from:Q", title=None, axis=gib, scale=alt.Scale(domain=[0, whole], nice=False)),
        x2="to:Q",
    )
    bars = base.mark_bar(size=28).encode(
        color=alt.Color(
            "part:N",
            scale=alt.Scale(domain=names, range=list(_PART_COLOURS)),
            legend=alt.Legend(orient="top", title=None, columns=3, symbolType="square", offset=2, padding=0),
        ),
        tooltip=[alt.Tooltip("part:N"), alt.Tooltip("GiB:Q", format=".2f")],
    )
    card = memory.available_mib / MIB_PER_GIB
    # beside the tick, not under it
    ends = [min(row["to"], card) if row["from"] < card < row["to"] else row["to"] for row in rows]
    text = (
        alt.Chart(
            {
                "values": [
                    row | {"middle": (row["from"] + end) / 2} for row, end in zip(rows, ends, strict=True)
                ]
            }
        )
        .mark_text(fontSize=12, fontWeight="bold", color="#111")
        .encode(x=alt.X("middle:Q"), text="label:N")
    )
    end = (
        alt.Chart({"values": [{"at": card}]})
        .mark_tick(color=RED, thickness=3, size=40)
        .encode(x="at:Q", tooltip=[alt.Tooltip("at:Q", format=".2f", title="available GiB")])
    )
    return alt.layer(bars, text, end).properties(height=122)


def ladder_chart(rungs: Sequence[Rung], context: int) -> Drawn:
    """Speed at a full context for each rung, fastest first; what does not fit is pale and says so."""
    rows = [
        {
            "name": f"▸ {rung.name}" if rung.asked else rung.name,
            **spread(rung.decode_tps_full_context),
            "fits": rung.fits,
            "label": format_tps(rung.decode_tps_full_context.value) + ("" if rung.fits else _UNFIT),
            "GiB": rung.memory_mib / MIB_PER_GIB,
            "risk": risk_text(rung.oom_probability),
        }
        for rung in rungs
        if rung.decode_tps_full_context and not rung.forbidden
    ]
    base = alt.Chart({"values": rows}).encode(
        y=alt.Y("name:N", title=None, sort="-x", axis=alt.Axis(labelLimit=200)),
        x=alt.X("tok/s:Q", title=f"decode with {format_tokens(context)} in the cache, tok/s"),
    )
    bars = base.mark_bar(color=BLUE, height={"band": 0.7}).encode(
        opacity=alt.condition("datum.fits", alt.value(0.95), alt.value(0.35)),
        tooltip=[
            "name:N", alt.Tooltip("tok/s:Q", format=".3s"), "80 % within:N",
            alt.Tooltip("GiB:Q", format=".1f"), "risk:N",
        ],
    )  # fmt: skip
    text = base.mark_text(align="left", dx=4, color=INK).encode(text="label:N")
    return alt.layer(bars, text).properties(height={"step": 24})
