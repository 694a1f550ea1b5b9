"""The curves: shapes of the service drawn with Altair, in colours that read on light and dark and in grey.

They compute no figure. Whoever shows one says in words what it shows (`alt` of `st.altair_chart`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from advisor.page.marks import (
    BLUE,
    HEIGHT,
    ORANGE,
    RED,
    SERIES,
    Drawn,
    above,
    asked_line,
    at_depth,
    by_cache,
    context_axis,
    spread,
    tokens_axis,
)  # fmt: skip
from advisor.what_if import Curves
from advisor.words import SAFE, cache_text, risk_text
from knowledge.units import MIB_PER_GIB, format_tokens

Rows = Sequence[Mapping[str, Any]]


def depth_chart(curves: Curves) -> Drawn:
    """Decoding against tokens in the cache: the prediction, its interval, and measured runs as points."""
    line = [at_depth(point) for point in curves.depths if point.decode_tps]
    most = max((row["depth"] for row in line), default=1)
    x = alt.X("depth:Q", title="tokens in the cache", axis=tokens_axis(most), scale=alt.Scale(nice=False))
    y = alt.Y("tok/s:Q", title="decode, tok/s", scale=alt.Scale(zero=True))
    shown = [alt.Tooltip("tokens:N"), alt.Tooltip("tok/s:Q", format=".3s"), alt.Tooltip("80 % within:N")]
    base = alt.Chart({"values": line})
    band = base.mark_area(opacity=0.22, color=BLUE).encode(x=x, y=alt.Y("low:Q", title=""), y2="high:Q")
    middle = base.mark_line(color=BLUE, strokeWidth=2.5).encode(x=x, y=y, tooltip=shown)
    layers: list[alt.Chart] = [band, middle, asked_line(curves.config.ctx)]
    runs = [
        {
            "depth": run.depth,
            "tok/s": run.decode_tps,
            "tokens": format_tokens(run.depth or 0),
            "engine": f"{run.engine} {run.engine_version or ''}".strip(),
            "measured on": run.observed_on or "a day not stated",
            "differs in": ", ".join(run.differs_in) or "nothing",
            "source": run.source_url,
        }
        for run in curves.runs
        if (run.depth or 0) <= most
    ]
    if runs:
        details = ["tokens:N", "tok/s:Q", "engine:N", "measured on:N", "differs in:N", "source:N"]
        points = alt.Chart({"values": runs}).mark_point(
            filled=True,
            size=70,
            color=ORANGE,
            opacity=0.9,
            stroke="#5b3200",
            strokeWidth=1,
            cursor="pointer",
        )
        layers.append(points.encode(x=x, y=y, href="source:N", tooltip=[*map(alt.Tooltip, details)]))
    return alt.layer(*layers).properties(height=HEIGHT)


def context_chart(curves: Curves) -> Drawn:
    """Memory against context for each type of cache, and the line where the card ends."""
    rows = [
        {
            "context": point.ctx,
            "tokens": format_tokens(point.ctx),
            "KV cache": cache_text(point.kv_type_k, point.kv_type_v),
            "GiB": point.memory_mib / MIB_PER_GIB,
            "risk": risk_text(point.oom_probability),
        }
        for point in curves.contexts
    ]
    limit = min((point.available_mib for point in curves.contexts), default=0.0) / MIB_PER_GIB
    lines = (
        alt.Chart({"values": rows})
        .mark_line(strokeWidth=2.5, point=alt.OverlayMarkDef(filled=True, size=45))
        .encode(
            x=context_axis(curves),
            y=alt.Y("GiB:Q", title="memory, GiB", scale=alt.Scale(zero=False)),
            tooltip=["KV cache:N", "tokens:N", alt.Tooltip("GiB:Q", format=".2f"), "risk:N"],
            **by_cache(),
        )
    )
    end = alt.Chart({"values": [{"GiB": limit, "says": f"the card gives {limit:.1f} GiB"}]})
    rule = end.mark_rule(color=RED, strokeWidth=2).encode(y="GiB:Q")
    words = end.mark_text(align="left", dx=6, dy=-8, color=RED, fontWeight="bold").encode(
        x=alt.value(0), y="GiB:Q", text="says:N"
    )
    return alt.layer(lines, rule, words, asked_line(curves.config.ctx, "context")).properties(height=HEIGHT)


def risk_chart(curves: Curves) -> Drawn:
    """Risk of running out of memory against context for each type of cache."""
    rows = [
        {
            "context": point.ctx,
            "tokens": format_tokens(point.ctx),
            "KV cache": cache_text(point.kv_type_k, point.kv_type_v),
            "risk": point.oom_probability,
        }
        for point in curves.contexts
    ]
    lines = (
        alt.Chart({"values": rows})
        .mark_line(strokeWidth=2.5, point=alt.OverlayMarkDef(filled=True, size=45))
        .encode(
            x=context_axis(curves),
            y=alt.Y(
                "risk:Q",
                title="risk of running out",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(domain=[0, 1]),
            ),
            tooltip=["KV cache:N", "tokens:N", alt.Tooltip("risk:Q", format=".1%")],
            **by_cache(),
        )
    )
    safe = alt.Chart({"values": [{"risk": SAFE}]})
    rule = safe.mark_rule(color=RED, strokeDash=[4, 4]).encode(y="risk:Q")
    return alt.layer(lines, rule, asked_line(curves.config.ctx, "context")).properties(height=HEIGHT)


def users_chart(curves: Curves, field: str, title: str) -> Drawn:
    """Speed against users at once (`field` of `UsersPoint`); what memory does not hold is hollow."""
    rows = [
        {
            "users": point.users,
            **spread(speed),
            "memory": "holds them" if point.fits else "does not hold them",
            "risk": risk_text(point.oom_probability),
        }
        for point in curves.users
        if (speed := getattr(point, field))
    ]
    x = alt.X(
        "users:Q",
        title="users at once",
        scale=alt.Scale(type="log", base=2),
        axis=alt.Axis(values=[point.users for point in curves.users], format="d"),
    )
    y = alt.Y("tok/s:Q", title=title, scale=alt.Scale(zero=True))
    base = alt.Chart({"values": rows})
    band = base.mark_area(opacity=0.18, color=BLUE).encode(x=x, y=alt.Y("low:Q", title=""), y2="high:Q")
    line = base.mark_line(color=BLUE, strokeWidth=2.5).encode(x=x, y=y)
    points = base.mark_point(size=80, color=BLUE, strokeWidth=2, opacity=1).encode(
        x=x,
        y=y,
        fillOpacity=alt.condition("datum.memory == 'holds them'", alt.value(1), alt.value(0)),
        fill=alt.value(BLUE),
        tooltip=["users:Q", alt.Tooltip("tok/s:Q", format=".3s"), "80 % within:N", "memory:N", "risk:N"],
    )
    return alt.layer(band, line, points).properties(height=HEIGHT)


def pareto_chart(rows: Rows) -> Drawn:
    """Quality against speed of ranked configurations; `rows` with place, name, tok/s, quality, GiB, risk."""
    base = alt.Chart({"values": list(rows)}).encode(
        x=alt.X(
            "tok/s:Q", title="decode at the full context, tok/s", scale=alt.Scale(zero=False, padding=24)
        ),
        y=alt.Y("quality:Q", title="quality, points", scale=alt.Scale(zero=False, padding=24)),
    )
    points = base.mark_point(filled=True, size=320, color=BLUE, opacity=1).encode(
        tooltip=["place:Q", "name:N", alt.Tooltip("tok/s:Q", format=".3s"),
                 alt.Tooltip("quality:Q", format=".3s"), alt.Tooltip("GiB:Q", format=".1f"), "risk:N"],
    )  # fmt: skip
    text = base.mark_text(color="#fff", fontWeight="bold", fontSize=11).encode(text="place:Q")
    return alt.layer(points, text).properties(height=360)


def compared_chart(curves: Sequence[tuple[str, Curves]]) -> alt.Chart:
    """Decoding against tokens in the cache, a line for each configuration."""
    rows = [
        {"configuration": name, **at_depth(point)}
        for name, one in curves
        for point in one.depths
        if point.decode_tps
    ]
    most = max((row["depth"] for row in rows), default=1)
    names = [name for name, _ in curves]
    shades = alt.Scale(domain=names, range=list(SERIES))
    chart: alt.Chart = (
        alt.Chart({"values": rows})
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X("depth:Q", title="tokens in the cache", axis=tokens_axis(most)),
            y=alt.Y("tok/s:Q", title="decode, tok/s", scale=alt.Scale(zero=True)),
            color=alt.Color("configuration:N", scale=shades, legend=above(columns=1)),
            strokeDash=alt.StrokeDash("configuration:N", scale=alt.Scale(domain=names), legend=None),
            tooltip=["configuration:N", "tokens:N", alt.Tooltip("tok/s:Q", format=".3s"), "80 % within:N"],
        )
        .properties(height=HEIGHT + 60)
    )
    return chart
