"""The page: widgets bound to the address bar, one call of `advisor.service`, its answer in figures.

It owns widgets, charts and their words. It computes nothing and looks nothing up by itself; an answer is the
same object that the command line prints.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import streamlit as st

from advisor import service
from advisor.config import Evidence, Interval, LaunchConfig, Memory, Prediction, Recommendation
from advisor.words import (
    BASIS,
    PARTS,
    cached_text,
    cards_text,
    command_text,
    devices_text,
    launch_text,
    range_text,
    risk_text,
    short_name,
    tokens_text,
)
from knowledge.errors import AdvisorError
from knowledge.units import MIB_PER_GIB, format_mib, format_tokens, format_tps

ANY = "any"
CACHES = ("f16", "q8_0", "q4_0", "fp8")


@st.cache_data(show_spinner=False)
def names() -> tuple[list[str], list[str], list[str]]:
    """The names to choose from: devices, models (newest first), formats."""
    return (
        [gpu.name for gpu in service.gpus().gpus],
        [model.name for model in service.models().models],
        [quant.name for quant in service.quants().quants],
    )


def asked() -> dict[str, Any]:
    """What the widgets ask, under the option names of the contract; `ANY` leaves a choice open."""
    gpus, models, quants = names()
    with st.sidebar:
        st.header("What do you have?")
        options: dict[str, Any] = {
            "gpu": st.selectbox(
                "GPU", gpus, gpus.index("RTX 4090"), key="gpu", bind="query-params", accept_new_options=True,
                help="Pick one, or write it as you would say it: `2x3090`, `5060 ti 16gb`, `m4 max`.",
            ),
            "vram": st.text_input(
                "GiB per GPU", key="vram", bind="query-params", placeholder="as sold",
                help="Only where it is not the usual one, such as a 4090 with 48.",
            ),
            "ram": st.text_input(
                "GiB of host memory to use", key="ram", bind="query-params", placeholder="none",
                help="Parts of a model that is too large may live there, at the price of speed.",
            ),
        }  # fmt: skip
        st.header("What do you want?")
        options |= {
            "model": st.selectbox(
                "Model", [ANY, *models], key="model", bind="query-params", accept_new_options=True,
                help="`any` ranks the catalog; a Hugging Face id works too.",
            ),
            "quant": st.selectbox(
                "Quantization", [ANY, *quants], key="quant", bind="query-params", accept_new_options=True
            ),
            "ctx": st.text_input(
                "Context per user", "32Ki", key="ctx", bind="query-params",
                help="Tokens: `200k` = 200,000, `200Ki` = 204,800.",
            ),
            "concurrency": st.number_input(
                "Users at once", 1, 1024, key="concurrency", bind="query-params"
            ),
            "engine": st.selectbox("Engine", [ANY, "llama.cpp", "vllm"], key="engine", bind="query-params"),
            "kv_type": st.selectbox("KV cache", [ANY, *CACHES], key="kv_type", bind="query-params"),
        }  # fmt: skip
    return {name: value for name, value in options.items() if value not in (None, "", ANY)}


@st.cache_data(show_spinner="Thinking …", max_entries=64, ttl=300)
def ask(options: dict[str, Any]) -> Prediction | Recommendation:
    """One exact configuration where model and format are settled, ranked ones otherwise."""
    exact = {"model", "quant"} <= options.keys()
    return service.predict(**options) if exact else service.recommend(**options)


def show_ranked(found: Recommendation) -> None:
    """The ranked table, and the chosen row in full."""
    if not found.recommendations:
        st.warning("Nothing fits. Try a smaller context or model, or let parts live in host memory.")
        show_rejected(found)
        return
    st.dataframe(
        [row(place, item) for place, item in enumerate(found.recommendations, start=1)],
        hide_index=True,
        alt="Ranked configurations with their predicted speed, memory and risk",
    )
    place = st.selectbox(
        "In full",
        range(len(found.recommendations)),
        format_func=lambda index: f"{index + 1} · {title(found.recommendations[index].config)}",
    )
    show_rejected(found)
    show(found.recommendations[place or 0])


def show_rejected(found: Recommendation) -> None:
    """What was considered and why it is not in the list."""
    if found.rejected:
        with st.expander(f"{len(found.rejected)} others were left out"):
            named = ("model", "quant", "engine", "kv_type_k")
            st.dataframe(
                [
                    {key: str(item.config[key]) for key in named if key in item.config} | {"why": item.reason}
                    for item in found.rejected
                ],
                hide_index=True,
            )


def row(place: int, item: Prediction) -> dict[str, object]:
    """One line of the ranked table."""
    config, figures = item.config, item.prediction
    total = {"all users, tok/s": value(figures.decode_tps_total)} if config.concurrency > 1 else {}
    return {
        "#": place,
        "model": short_name(config.model),
        "launched as": launch_text(config),
        "tok/s now": value(figures.decode_tps),
        f"tok/s at {format_tokens(config.ctx)}": value(figures.decode_tps_full_context),
        **total,
        "prefill, tok/s": value(figures.prefill_tps),
        "GiB": round(figures.memory.total_mib / MIB_PER_GIB, 1),
        "risk of running out": risk_text(figures.oom_probability),
    }


def show(item: Prediction) -> None:
    """One configuration: its command, figures, memory, evidence."""
    config, figures = item.config, item.prediction
    st.subheader(title(config))
    # uncoloured: some of Streamlit's colours of code are too pale on the light theme to be read by everybody
    st.code(command_text(item), language=None, wrap_lines=True)
    show_forms(item)
    if not figures.fits:
        st.error(
            f"This does not fit: the risk of running out of memory is {risk_text(figures.oom_probability)}."
        )
    for warning in item.warnings:
        link = f" [{warning.rule}]({warning.evidence_url})" if warning.evidence_url else ""
        st.warning(f"{warning.text}{link}")
    speeds = [
        (f"Decode, {cached_text(config.depth)}", figures.decode_tps, "tok/s"),
        (f"Decode, {cached_text(config.ctx)}", figures.decode_tps_full_context, "tok/s"),
        *([(f"{config.concurrency} users together", figures.decode_tps_total, "tok/s")]
          if config.concurrency > 1 else []),
        (f"Prefill of {tokens_text(config.prompt)}", figures.prefill_tps, "tok/s"),
        ("Time to the first token", figures.ttft_ms, "ms"),
    ]  # fmt: skip
    for column, (label, interval, unit) in zip(st.columns(len(speeds)), speeds, strict=True):
        column.metric(label, f"{format_tps(interval.value)} {unit}" if interval else None, border=True)
        column.caption(between(interval))
    runs = f", {figures.support} runs" if figures.support else ""
    st.caption(f"Speeds are {BASIS[figures.basis]}{runs}.")
    show_memory(figures.memory, figures.oom_probability)
    st.markdown(f"**Why.** {item.why}")
    show_evidence(item.evidence)
    if item.notes:
        with st.expander(f"{len(item.notes)} release notes touch this configuration"):
            for note in item.notes:
                st.markdown(f"- {note.engine} {note.version}: {note.claim} ([source]({note.evidence_url}))")


def show_forms(item: Prediction) -> None:
    """Why each flag stands on the command, and what else the configuration can be written as."""
    with st.expander("The command, flag by flag"):
        for flag in item.flags:
            link = f" ([source]({flag.evidence_url}))" if flag.evidence_url else ""
            st.markdown(f"- `{flag.flag}`: {flag.reason}{link}")
        for form in item.other_forms:
            st.markdown(f"**{form.name[0].upper()}{form.name[1:]}**")
            st.code(form.text, language=None, wrap_lines=True)


def show_memory(memory: Memory, probability: float) -> None:
    """Memory by part against what the card gives, as a bar with a tick where the card ends."""
    st.markdown(
        f"**Memory{' of the fullest GPU' if memory.per_gpu else ''}:** {format_mib(memory.total_mib)} of "
        f"{format_mib(memory.available_mib)} available; risk of running out: **{risk_text(probability)}**"
    )
    if each := devices_text(memory):
        st.caption(each)
    bars = [
        {"part": part, "GiB": getattr(memory, field) / MIB_PER_GIB, "order": order}
        for order, (part, field) in enumerate(PARTS)
    ]
    limit = [{"GiB": memory.available_mib / MIB_PER_GIB}]
    bar = (
        alt.Chart({"values": bars})
        .mark_bar(size=28)
        .encode(
            x=alt.X("sum(GiB):Q", title="GiB"),
            color=alt.Color(
                "part:N", sort=[part for part, _ in PARTS], title=None, legend=alt.Legend(orient="top")
            ),
            order=alt.Order("order:Q"),
            tooltip=[alt.Tooltip("part:N"), alt.Tooltip("GiB:Q", format=".2f")],
        )
    )
    end = (
        alt.Chart({"values": limit})
        .mark_tick(color="#808080", thickness=3, size=44)
        .encode(x="GiB:Q", tooltip=[alt.Tooltip("GiB:Q", format=".2f", title="available GiB")])
    )
    st.altair_chart((bar + end).properties(height=120), width="stretch")
    if memory.host_mib >= 1:
        st.caption(f"Beside it, in host memory: {format_mib(memory.host_mib)}.")


def show_evidence(runs: list[Evidence]) -> None:
    """The measured runs that the answer rests on, each with its address."""
    st.markdown("**Measured runs nearest to it**" if runs else "No measured run is near to it.")
    if runs:
        st.dataframe(
            [
                {
                    "tok/s": measured(run.decode_tps),
                    "prefill, tok/s": measured(run.prefill_tps),
                    "GiB used": measured(run.vram_used_gib),
                    "on": run.observed_on or "",
                    "differs in": ", ".join(run.differs_in) or "nothing",
                    "decode without it": measured(run.decode_tps_without),
                    "source": run.source_url,
                }
                for run in runs
            ],
            hide_index=True,
            column_config={"source": st.column_config.LinkColumn("source")},
            alt="Measured runs with their figures, differences and sources",
        )


def measured(figure: float | None) -> str:
    """A measured figure as it is read; empty where the source is silent."""
    return "" if figure is None else format_tps(figure)


def title(config: LaunchConfig) -> str:
    """`Qwen3.5-9B Q4_K_M · llama.cpp · KV q8_0 on 2 × RTX 3090`."""
    return f"{short_name(config.model)} {launch_text(config)} on {cards_text(config)}"


def value(interval: Interval | None) -> float | None:
    """The figure, rounded as it is read."""
    return None if interval is None else float(f"{interval.value:.3g}")


def between(interval: Interval | None) -> str:
    """The interval in words."""
    if interval is None:
        return "not known"
    return f"{100 * interval.level:.0f} % within {range_text(interval)}"


st.set_page_config("advisor", layout="wide")
st.title("What should I launch?")
try:
    answer = ask(asked())
except AdvisorError as error:
    st.error(str(error))
else:
    if isinstance(answer, Recommendation):
        show_ranked(answer)
    else:
        show(answer)
