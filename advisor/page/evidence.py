"""The measured runs with filters, and how wrong predictions are, slice by slice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from advisor import service
from advisor.page import answers, choice, explore

KEYS = ("runs_model", "runs_gpu", "runs_quant", "runs_engine", "runs_text", "runs_kind", "part")
"""Keys of the widgets, in the address too."""
_ALL = "all"
_MOST = 500
_COLUMNS = {
    "observed_on": "on", "model": "model", "quant": "format", "gpu": "GPU", "gpu_count": "GPUs",
    "engine": "engine", "engine_version": "version", "depth": "depth", "concurrency": "users",
    "decode_tps": "decode, tok/s", "decode_tps_total": "all users", "prefill_tps": "prefill",
    "ttft_ms": "first token, ms", "vram_used_gib": "GiB used", "outcome": "outcome", "source_url": "source",
}  # fmt: skip
_KINDS = {
    "runs": "measured runs",
    "quarantined": "kept apart: say the impossible",
    "rejected": "rejected rows",
}


def show(options: Mapping[str, Any]) -> None:
    """The table, then the accuracy card."""
    _show_runs(options)
    _show_accuracy()


def _show_runs(options: Mapping[str, Any]) -> None:
    gpus, models, quants = choice.names(service.stamp())
    filters: dict[str, Any] = {}
    columns = st.columns(4)
    for column, (name, label, names) in zip(
        columns,
        (
            ("model", "Model", models), ("gpu", "GPU", gpus), ("quant", "Format", quants),
            ("engine", "Engine", ("llama.cpp", "vllm", "sglang", "ollama", "mlx")),
        ),
        strict=True,
    ):  # fmt: skip
        own = str(options.get(name))
        index = 1 + list(names).index(own) if name in ("model", "gpu") and own in names else 0
        filters[name] = column.selectbox(
            label, [_ALL, *names], index, key=f"runs_{name}", bind="query-params", persist_state="session"
        )
    text, kind = st.columns([3, 1])
    words = text.text_input(
        "Containing", key="runs_text", bind="query-params", persist_state="session",
        placeholder="a word in the flags, notes, version or address",
    )  # fmt: skip
    chosen = kind.selectbox(
        "Which", list(_KINDS), key="runs_kind", bind="query-params", persist_state="session",
        format_func=lambda name: _KINDS[name],
    )  # fmt: skip
    found = service.observations(
        **{name: value for name, value in filters.items() if value != _ALL},
        text=words or None,
        kind=chosen,
        limit=_MOST,
    )
    rows = found.observations
    shown = (
        [{label: row[name] for name, label in _COLUMNS.items()} for row in rows] if chosen == "runs" else rows
    )
    more = f", the first {_MOST}" if len(rows) == _MOST else ""
    st.caption(f"{len(rows)} of {found.total} {_KINDS[chosen]}{more}. {found.note}")
    if shown:
        st.dataframe(
            shown,
            hide_index=True,
            height=330,
            placeholder="",
            column_config={"source": explore.source_column()},
            alt="Measured runs that match the filters, with their sources",
        )


def _show_accuracy() -> None:
    card = answers.accuracy()
    whose = "your own training" if card.own else "the shipped model"
    st.markdown(f"**How wrong predictions are** ({whose}; rows that the fit has not seen)")
    left_out = [score for score in card.scores if score.slice.startswith("new ")]
    st.dataframe(
        [
            {
                "figure": score.part.replace("_", " "),
                "left out": score.slice.removeprefix("new "),
                "figures": score.figures,
                "median error": f"{score.error:.1%}",
                "within 25 %": f"{score.within_25pct:.0%}",
                "80 % interval covers": "" if score.coverage_80 is None else f"{score.coverage_80:.0%}",
            }
            for score in left_out
        ],
        hide_index=True,
        alt="Median errors with whole sources, GPUs and models left out of the fit",
    )
    parts = sorted({score.part for score in card.scores if score.group})
    part = st.selectbox(
        "By slice (rows that the fit has seen)", parts, key="part", bind="query-params",
        persist_state="session", format_func=lambda name: name.replace("_", " "),
    )  # fmt: skip
    st.dataframe(
        [
            {
                "slice": score.slice,
                "of": score.group,
                "figures": score.figures,
                "median error": f"{score.error:.1%}",
                "within 25 %": f"{score.within_25pct:.0%}",
            }
            for score in card.scores
            if score.part == part and score.group
        ],
        hide_index=True,
        height=330,
        alt=f"Median errors of {part} by slice",
    )
