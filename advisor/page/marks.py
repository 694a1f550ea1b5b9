"""What the charts have in common: colours, axes in tokens, legends, and rows of speeds with their intervals.

It draws nothing by itself.
"""

from __future__ import annotations

from typing import Any

import altair as alt

from advisor.config import Interval
from advisor.what_if import Curves, DepthPoint
from knowledge.units import format_tokens, format_tps

Drawn = alt.LayerChart | alt.FacetChart
"""What Altair types a layered chart as."""

INK = "#808080"
"""Rules and labels: grey that reads on white and on black."""
BLUE, ORANGE, RED = "#4c78a8", "#d97706", "#c2410c"
SERIES = ("#2f6ea5", "#d97706", "#1b9e77", "#b5468b")
HEIGHT = 280
_TOKENS_LABEL = (
    "datum.value >= 1048576 ? format(datum.value / 1048576, '~r') + 'Mi' : "
    "datum.value >= 1024 ? format(datum.value / 1024, '~r') + 'Ki' : datum.value"
)


def at_depth(point: DepthPoint) -> dict[str, Any]:
    """A row of a curve over depth."""
    return {"depth": point.depth, "tokens": format_tokens(point.depth), **spread(point.decode_tps)}


def spread(speed: Interval | None) -> dict[str, Any]:
    """A speed with its interval, in numbers and in words; nothing where it is not known."""
    if speed is None:
        return {}
    within = f"{format_tps(speed.low)}–{format_tps(speed.high)}"
    return {"tok/s": speed.value, "low": speed.low, "high": speed.high, "80 % within": within}


def by_cache() -> dict[str, Any]:
    """One colour and one dash for each type of cache."""
    return {
        "color": alt.Color("KV cache:N", scale=alt.Scale(range=list(SERIES)), legend=above()),
        "strokeDash": alt.StrokeDash("KV cache:N", legend=None),
    }


def above(columns: int = 4) -> alt.Legend:
    """A legend of strokes above the chart."""
    return alt.Legend(
        orient="top", title=None, columns=columns, labelLimit=420, symbolType="stroke", symbolSize=200
    )


def context_axis(curves: Curves) -> alt.X:
    """Contexts, from none to the longest that is drawn."""
    most = max((point.ctx for point in curves.contexts), default=1)
    return alt.X("context:Q", title="context, tokens per user", axis=tokens_axis(most))


def tokens_axis(most: int) -> alt.Axis:
    """Ticks at round numbers of tokens, about six of them."""
    step = 1024
    while most / step > 8:
        step *= 2
    return alt.Axis(values=list(range(0, most + 1, step)), labelExpr=_TOKENS_LABEL, labelOverlap=True)


def asked_line(ctx: int, field: str = "depth") -> alt.Chart:
    """A dashed line at the asked context."""
    rule: alt.Chart = (
        alt.Chart({"values": [{field: ctx, "says": f"asked: {format_tokens(ctx)}"}]})
        .mark_rule(color=INK, strokeDash=[5, 4], strokeWidth=1.5)
        .encode(x=f"{field}:Q", tooltip=[alt.Tooltip("says:N", title=" ")])
    )
    return rule
