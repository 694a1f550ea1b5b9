"""The charts: shapes of the service drawn with Altair, in colours that read on light and dark and in grey.

They compute no figure. Whoever shows one says in words what it shows (`alt` of `st.altair_chart`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from advisor.config import Interval, Memory
from advisor.what_if import Curves, DepthPoint, Rung
from advisor.words import PARTS, SAFE, risk_text
from knowledge.units import MIB_PER_GIB, format_tokens, format_tps

Rows = Sequence[Mapping[str, Any]]
Drawn = alt.LayerChart | alt.FacetChart
"""What Altair types a layered chart as."""

_INK = "#808080"
"""Rules and labels: grey that reads on white and on black."""
_BLUE, _ORANGE, _RED = "#4c78a8", "#d97706", "#c2410c"
_PART_COLOURS = ("#7fb2d9", "#e69f00", "#cc79a7", "#3db38a", "#a0a0a0", "#e4e4e4")
"""Light enough for dark figures on them."""
_SERIES_COLOURS = ("#2f6ea5", "#d97706", "#1b9e77", "#b5468b")
_TOKENS_LABEL = (
    "datum.value >= 1048576 ? format(datum.value / 1048576, '~r') + 'Mi' : "
    "datum.value >= 1024 ? format(datum.value / 1024, '~r') + 'Ki' : datum.value"
)
_HEIGHT = 280
_LEAST_LABELLED = 0.06
"""Share of the bar from which a part has room for its figure."""


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
        .mark_tick(color=_RED, thickness=3, size=40)
        .encode(x="at:Q", tooltip=[alt.Tooltip("at:Q", format=".2f", title="available GiB")])
    )
    return alt.layer(bars, text, end).properties(height=122)


def depth_chart(curves: Curves) -> Drawn:
    """Decoding against tokens in the cache: the prediction, its interval, and measured runs as points."""
    line = [_at_depth(point) for point in curves.depths if point.decode_tps]
    most = max((row["depth"] for row in line), default=1)
    x = alt.X("depth:Q", title="tokens in the cache", axis=_tokens_axis(most), scale=alt.Scale(nice=False))
    y = alt.Y("tok/s:Q", title="decode, tok/s", scale=alt.Scale(zero=True))
    shown = [alt.Tooltip("tokens:N"), alt.Tooltip("tok/s:Q", format=".3s"), alt.Tooltip("80 % within:N")]
    base = alt.Chart({"values": line})
    band = base.mark_area(opacity=0.22, color=_BLUE).encode(x=x, y=alt.Y("low:Q", title=""), y2="high:Q")
    middle = base.mark_line(color=_BLUE, strokeWidth=2.5).encode(x=x, y=y, tooltip=shown)
    layers: list[alt.Chart] = [band, middle, _mark(curves.config.ctx, "asked")]
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
            color=_ORANGE,
            opacity=0.9,
            stroke="#5b3200",
            strokeWidth=1,
            cursor="pointer",
        )
        layers.append(points.encode(x=x, y=y, href="source:N", tooltip=[*map(alt.Tooltip, details)]))
    return alt.layer(*layers).properties(height=_HEIGHT)


def context_chart(curves: Curves) -> Drawn:
    """Memory against context for each type of cache, and the line where the card ends."""
    rows = [
        {
            "context": point.ctx,
            "tokens": format_tokens(point.ctx),
            "KV cache": _cache(point.kv_type_k, point.kv_type_v),
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
            x=_context_axis(curves),
            y=alt.Y("GiB:Q", title="memory, GiB", scale=alt.Scale(zero=False)),
            tooltip=["KV cache:N", "tokens:N", alt.Tooltip("GiB:Q", format=".2f"), "risk:N"],
            **_by_cache(),
        )
    )
    end = alt.Chart({"values": [{"GiB": limit, "says": f"the card gives {limit:.1f} GiB"}]})
    rule = end.mark_rule(color=_RED, strokeWidth=2).encode(y="GiB:Q")
    words = end.mark_text(align="left", dx=6, dy=-8, color=_RED, fontWeight="bold").encode(
        x=alt.value(0), y="GiB:Q", text="says:N"
    )
    return alt.layer(lines, rule, words, _mark(curves.config.ctx, "asked", "context")).properties(
        height=_HEIGHT
    )


def risk_chart(curves: Curves) -> Drawn:
    """Risk of running out of memory against context for each type of cache."""
    rows = [
        {
            "context": point.ctx,
            "tokens": format_tokens(point.ctx),
            "KV cache": _cache(point.kv_type_k, point.kv_type_v),
            "risk": point.oom_probability,
        }
        for point in curves.contexts
    ]
    lines = (
        alt.Chart({"values": rows})
        .mark_line(strokeWidth=2.5, point=alt.OverlayMarkDef(filled=True, size=45))
        .encode(
            x=_context_axis(curves),
            y=alt.Y(
                "risk:Q",
                title="risk of running out",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(domain=[0, 1]),
            ),
            tooltip=["KV cache:N", "tokens:N", alt.Tooltip("risk:Q", format=".1%")],
            **_by_cache(),
        )
    )
    safe = alt.Chart({"values": [{"risk": SAFE}]})
    rule = safe.mark_rule(color=_RED, strokeDash=[4, 4]).encode(y="risk:Q")
    return alt.layer(lines, rule, _mark(curves.config.ctx, "asked", "context")).properties(height=_HEIGHT)


def users_chart(curves: Curves, field: str, title: str) -> Drawn:
    """Speed against users at once (`field` of `UsersPoint`); what memory does not hold is hollow."""
    rows = [
        {
            "users": point.users,
            **_spread(speed),
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
    band = base.mark_area(opacity=0.18, color=_BLUE).encode(x=x, y=alt.Y("low:Q", title=""), y2="high:Q")
    line = base.mark_line(color=_BLUE, strokeWidth=2.5).encode(x=x, y=y)
    points = base.mark_point(size=80, color=_BLUE, strokeWidth=2, opacity=1).encode(
        x=x,
        y=y,
        fillOpacity=alt.condition("datum.memory == 'holds them'", alt.value(1), alt.value(0)),
        fill=alt.value(_BLUE),
        tooltip=["users:Q", alt.Tooltip("tok/s:Q", format=".3s"), "80 % within:N", "memory:N", "risk:N"],
    )
    return alt.layer(band, line, points).properties(height=_HEIGHT)


def ladder_chart(rungs: Sequence[Rung], context: int) -> Drawn:
    """Speed at a full context for each rung, fastest first; what does not fit is pale and says so."""
    rows = [
        {
            "name": f"▸ {rung.name}" if rung.asked else rung.name,
            **_spread(rung.decode_tps_full_context),
            "fits": rung.fits,
            "label": format_tps(rung.decode_tps_full_context.value)
            + ("" if rung.fits else " · does not fit"),
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
    bars = base.mark_bar(color=_BLUE, height={"band": 0.7}).encode(
        opacity=alt.condition("datum.fits", alt.value(0.95), alt.value(0.35)),
        tooltip=[
            "name:N", alt.Tooltip("tok/s:Q", format=".3s"), "80 % within:N",
            alt.Tooltip("GiB:Q", format=".1f"), "risk:N",
        ],
    )  # fmt: skip
    text = base.mark_text(align="left", dx=4, color=_INK).encode(text="label:N")
    return alt.layer(bars, text).properties(height={"step": 24})


def pareto_chart(rows: Rows) -> Drawn:
    """Quality against speed of ranked configurations; `rows` with place, name, tok/s, quality, GiB, risk."""
    base = alt.Chart({"values": list(rows)}).encode(
        x=alt.X(
            "tok/s:Q", title="decode at the full context, tok/s", scale=alt.Scale(zero=False, padding=24)
        ),
        y=alt.Y("quality:Q", title="quality, points", scale=alt.Scale(zero=False, padding=24)),
    )
    points = base.mark_point(filled=True, size=320, color=_BLUE, opacity=1).encode(
        tooltip=["place:Q", "name:N", alt.Tooltip("tok/s:Q", format=".3s"),
                 alt.Tooltip("quality:Q", format=".3s"), alt.Tooltip("GiB:Q", format=".1f"), "risk:N"],
    )  # fmt: skip
    text = base.mark_text(color="#fff", fontWeight="bold", fontSize=11).encode(text="place:Q")
    return alt.layer(points, text).properties(height=360)


def compared_chart(curves: Sequence[tuple[str, Curves]]) -> alt.Chart:
    """Decoding against tokens in the cache, a line for each configuration."""
    rows = [
        {"configuration": name, **_at_depth(point)}
        for name, one in curves
        for point in one.depths
        if point.decode_tps
    ]
    most = max((row["depth"] for row in rows), default=1)
    names = [name for name, _ in curves]
    shades = alt.Scale(domain=names, range=list(_SERIES_COLOURS))
    chart: alt.Chart = (
        alt.Chart({"values": rows})
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X("depth:Q", title="tokens in the cache", axis=_tokens_axis(most)),
            y=alt.Y("tok/s:Q", title="decode, tok/s", scale=alt.Scale(zero=True)),
            color=alt.Color("configuration:N", scale=shades, legend=_above(columns=1)),
            strokeDash=alt.StrokeDash("configuration:N", scale=alt.Scale(domain=names), legend=None),
            tooltip=["configuration:N", "tokens:N", alt.Tooltip("tok/s:Q", format=".3s"), "80 % within:N"],
        )
        .properties(height=_HEIGHT + 60)
    )
    return chart


_UNFIT = " · does not fit"


def _at_depth(point: DepthPoint) -> dict[str, Any]:
    return {"depth": point.depth, "tokens": format_tokens(point.depth), **_spread(point.decode_tps)}


def _spread(speed: Interval | None) -> dict[str, Any]:
    if speed is None:
        return {}
    within = f"{format_tps(speed.low)}–{format_tps(speed.high)}"
    return {"tok/s": speed.value, "low": speed.low, "high": speed.high, "80 % within": within}


def _cache(key: str, value: str) -> str:
    return key if key == value else f"{key}/{value}"


def _by_cache() -> dict[str, Any]:
    return {
        "color": alt.Color("KV cache:N", scale=alt.Scale(range=list(_SERIES_COLOURS)), legend=_above()),
        "strokeDash": alt.StrokeDash("KV cache:N", legend=None),
    }


def _above(columns: int = 4) -> alt.Legend:
    return alt.Legend(
        orient="top", title=None, columns=columns, labelLimit=420, symbolType="stroke", symbolSize=200
    )


def _context_axis(curves: Curves) -> alt.X:
    most = max((point.ctx for point in curves.contexts), default=1)
    return alt.X("context:Q", title="context, tokens per user", axis=_tokens_axis(most))


def _tokens_axis(most: int) -> alt.Axis:
    """Ticks at round numbers of tokens, about six of them."""
    step = 1024
    while most / step > 8:
        step *= 2
    return alt.Axis(values=list(range(0, most + 1, step)), labelExpr=_TOKENS_LABEL, labelOverlap=True)


def _mark(ctx: int, word: str, field: str = "depth") -> alt.Chart:
    """A dashed line at the asked context."""
    rule: alt.Chart = (
        alt.Chart({"values": [{field: ctx, "says": f"{word}: {format_tokens(ctx)}"}]})
        .mark_rule(color=_INK, strokeDash=[5, 4], strokeWidth=1.5)
        .encode(x=f"{field}:Q", tooltip=[alt.Tooltip("says:N", title=" ")])
    )
    return rule
