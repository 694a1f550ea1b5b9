"""The ranked configurations: goal and limits, table, quality against speed, and one of them in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import streamlit as st

from advisor.config import Goal, Interval, Prediction
from advisor.page import answers, charts, choice, compare, explore, links
from advisor.words import command_text, launch_text, risk_text, short_name
from knowledge.units import MIB_PER_GIB, format_tokens

_EVERY, _THIS = "every model", "the chosen model"
KEYS = ("scope", "goal", "min_tps", "max_oom")
"""Keys of the widgets, in the address too."""
_EXACT_ONLY = ("weights_gib", "n_cpu_moe", "ngl")
"""Options of one exact launch, which a search decides itself."""


def show(options: Mapping[str, Any]) -> None:
    """The ranking for the chosen device, context and users."""
    asked = _asked(options)
    with st.spinner("Ranking what fits …"):
        found = answers.recommend(asked)
    if not found.recommendations:
        st.warning("Nothing fits. Try a smaller context or model, or let parts live in host memory.")
        explore.show_rejected(found)
        return
    items = found.recommendations
    st.dataframe(
        [_row(place, item) for place, item in enumerate(items, start=1)],
        hide_index=True,
        alt="Ranked configurations with their predicted speed, memory, risk and quality",
    )
    _pareto(items)
    chosen = st.selectbox(
        "In full",
        range(len(items)),
        format_func=lambda index: f"{index + 1} · {explore.title(items[index])}",
        key="ranked place",
    )
    best = items[chosen or 0]
    here, pin, _ = st.columns([1, 1, 4])
    if here.button("Explore it", width="stretch"):
        links.go(choice.widgets_for(answers.exactly(best, options)), links.EXPLORE)
    if pin.button("Compare it", width="stretch"):
        compare.pin(answers.exactly(best, options))
    st.code(command_text(best), language=None, wrap_lines=True)
    explore.show_speeds(best)
    explore.show_warnings(best)
    st.markdown(f"**Why.** {best.why}")
    explore.show_rejected(found)
    st.download_button(
        "Ranking as JSON", found.model_dump_json(indent=1), file_name="advisor-ranking.json",
        mime="application/json", on_click="ignore",
    )  # fmt: skip


def _asked(options: Mapping[str, Any]) -> dict[str, Any]:
    scope, goal, least, risk = st.columns(4)
    asked = {name: value for name, value in options.items() if name not in _EXACT_ONLY}
    chosen = scope.selectbox(
        "Among", (_EVERY, _THIS), key="scope", bind="query-params", persist_state="session"
    )
    if chosen == _EVERY:
        asked.pop("model", None)
        asked.pop("quant", None)
    asked["goal"] = goal.selectbox(
        "Goal", get_args(Goal), key="goal", bind="query-params", persist_state="session",
        help="Balanced weighs quality against speed; the others want the most of one.",
    )  # fmt: skip
    asked["min_tps"] = least.number_input(
        "Tokens per second at least", 0.0, 1000.0, 5.0, 1.0, key="min_tps", bind="query-params",
        persist_state="session", help="For each user, at a full context.",
    )  # fmt: skip
    asked["max_oom"] = risk.number_input(
        "Risk at most, %", 0.1, 100.0, 5.0, 1.0, key="max_oom", bind="query-params", persist_state="session"
    ) / 100  # fmt: skip
    return asked


def _row(place: int, item: Prediction) -> dict[str, object]:
    """One line of the ranked table."""
    config, figures = item.config, item.prediction
    total = {"all users, tok/s": _value(figures.decode_tps_total)} if config.concurrency > 1 else {}
    return {
        "#": place,
        "model": short_name(config.model),
        "launched as": launch_text(config),
        "tok/s now": _value(figures.decode_tps),
        f"tok/s at {format_tokens(config.ctx)}": _value(figures.decode_tps_full_context),
        **total,
        "prefill, tok/s": _value(figures.prefill_tps),
        "GiB": round(figures.memory.total_mib / MIB_PER_GIB, 1),
        "risk": risk_text(figures.oom_probability),
        "quality": None if item.quality is None else round(item.quality, 1),
    }


def _pareto(items: list[Prediction]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "place": place,
            "name": f"{short_name(item.config.model)} {launch_text(item.config)}",
            "tok/s": speed.value,
            "quality": item.quality,
            "GiB": item.prediction.memory.total_mib / MIB_PER_GIB,
            "risk": risk_text(item.prediction.oom_probability),
        }
        for place, item in enumerate(items, start=1)
        if (speed := item.prediction.decode_tps_full_context) and item.quality is not None
    ]
    if rows:
        best = max(rows, key=lambda row: row["quality"])
        fastest = max(rows, key=lambda row: row["tok/s"])
        st.altair_chart(
            charts.pareto_chart(rows),
            width="stretch",
            alt=f"Quality against speed: {best['name']} has most points, {fastest['name']} is fastest",
        )


def _value(interval: Interval | None) -> float | None:
    """The figure, rounded as it is read."""
    return None if interval is None else float(f"{interval.value:.3g}")
