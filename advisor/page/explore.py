"""One configuration at a glance: command, speeds, memory, risk; below it why, how it moves, and how we know.

It owns words and places on the first screen. The figures are the service's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import streamlit as st

from advisor.config import Caution, Evidence, Interval, Memory, Prediction, Recommendation, Verdict
from advisor.page import answers, bars, compare, curves, links
from advisor.words import (
    BASIS,
    PARTS,
    VERDICTS,
    cards_text,
    command_text,
    devices_text,
    launch_text,
    memory_text,
    range_text,
    risk_text,
    seconds_text,
    short_name,
    tokens_text,
    verdict_of,
)
from knowledge.units import format_mib, format_tokens, format_tps

Colour = Literal["green", "orange", "red"]
_SIGNS: Mapping[Verdict, tuple[Colour, str]] = {
    "fits": ("green", ":material/check_circle:"),
    "tight": ("orange", ":material/warning:"),
    "oom": ("red", ":material/cancel:"),
}
"""Colour and sign of a verdict: the sign and the word read without the colour."""


def show(options: Mapping[str, Any]) -> None:
    """The answer to what is chosen, or why there is none."""
    try:
        found = answers.best(options)
    except answers.NothingFitsError as error:
        st.warning(
            f"No format of {options['model']} fits this card with this context. Choose a quantization to see"
            " by how much, take a shorter context, or let parts live in host memory (More choices)."
        )
        show_rejected(error.found)
        return
    item, config = found.prediction, found.prediction.config
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{title(item)}**", width="stretch")
        if st.button("Compare", help="Put it beside others in the Compare tab"):
            compare.pin(found.options)
        st.download_button(
            "JSON", item.model_dump_json(indent=1), file_name="advisor.json", mime="application/json",
            help="The whole answer, as `advisor predict --json` gives it", on_click="ignore",
        )  # fmt: skip
    st.code(command_text(item), language=None, wrap_lines=True)
    show_speeds(item)
    bar, risk = st.columns([4, 1], gap="small")
    with bar:
        show_memory(item.prediction.memory)
    with risk:
        show_risk(item)
    runs = f", {item.prediction.support} runs" if item.prediction.support else ""
    st.caption(
        f"Speeds are {BASIS[item.prediction.basis]}{runs}; 80 % of measured ones lie within the ranges."
    )
    show_warnings(item)
    if verdict_of(item.prediction.oom_probability) != "fits" and st.button("What would make it fit?"):
        links.go({links.COMMAND: item.command}, links.CHECK)
    st.markdown(f"**Why.** {item.why}")
    curves.show(found.options)
    show_evidence(item.evidence)
    show_notes(item)
    show_forms(item)
    st.caption(f"{config.engine} {config.engine_version or 'newest known'} · {config.backend or ''}")


def show_speeds(item: Prediction) -> None:
    """The speeds, each with its interval below it."""
    config, figures = item.config, item.prediction
    speeds: list[tuple[str, Interval | None]] = [
        (f"Decode, {format_tokens(config.depth)} in cache" if config.depth else "Decode, empty cache",
         figures.decode_tps),
        (f"Decode, {format_tokens(config.ctx)} in cache", figures.decode_tps_full_context),
    ]  # fmt: skip
    if config.concurrency > 1:
        speeds.append((f"{config.concurrency} users together", figures.decode_tps_total))
    speeds.append((f"Prefill, {format_tokens(config.prompt)}", figures.prefill_tps))
    columns = st.columns(len(speeds) + 1, gap="small")
    for column, (label, speed) in zip(columns, speeds, strict=False):
        metric(
            column,
            label,
            format_tps(speed.value) if speed else None,
            f"{range_text(speed)} tok/s" if speed else None,
        )
    wait = figures.ttft_ms
    within = f"{seconds_text(wait.low)}–{seconds_text(wait.high)}" if wait else None
    metric(columns[-1], "First token after", seconds_text(wait.value) if wait else None, within)


def metric(column: Any, label: str, text: str | None, within: str | None) -> None:
    """A figure with its range below it."""
    column.metric(
        label,
        text or "not known",
        within or "no honest figure",
        delta_color="off",
        delta_arrow="off",
        border=True,
    )


def show_memory(memory: Memory) -> None:
    """Memory by part, as a bar and in words."""
    of = " of the fullest GPU" if memory.per_gpu else ""
    st.markdown(
        f"**Memory{of}: {format_mib(memory.total_mib)}** of {format_mib(memory.available_mib)} available"
        + (f"; beside it {format_mib(memory.host_mib)} in host memory" if memory.host_mib >= 1 else "")
    )
    st.altair_chart(bars.memory_bar(memory), width="stretch", alt=memory_words(memory))
    if each := devices_text(memory):
        st.caption(each)


def memory_words(memory: Memory) -> str:
    """The bar in words, for those who do not see it."""
    parts = ", ".join(f"{part} {format_mib(getattr(memory, field))}" for part, field in PARTS)
    return f"Memory by part: {parts}; {format_mib(memory.available_mib)} are available"


def show_risk(item: Prediction) -> None:
    """The risk as a number, a word, a sign and a colour; what is missing or free beside it."""
    figures = item.prediction
    verdict = verdict_of(figures.oom_probability) if figures.fits else "oom"
    colour, sign = _SIGNS[verdict]
    spare = figures.memory.available_mib - figures.memory.total_mib
    st.metric("Risk of running out", risk_text(figures.oom_probability), border=False)
    st.badge(VERDICTS[verdict], icon=sign, color=colour)
    st.caption(f"{format_mib(spare)} free" if spare >= 0 else f"{format_mib(-spare)} missing")


def show_warnings(item: Prediction) -> None:
    """Rules that fired and limits of the prediction, each with its address."""
    for warning in item.warnings:
        st.warning(caution_words(warning))


def caution_words(warning: Caution) -> str:
    """A caution, and the rule behind it as a link where it has an address."""
    link = f" [{warning.rule}]({warning.evidence_url})" if warning.evidence_url else ""
    return f"{warning.text}{link}"


def show_forms(item: Prediction) -> None:
    """Why each flag stands on the command, and what else the configuration can be written as."""
    with st.expander("The command, flag by flag, and its other forms"):
        for flag in item.flags:
            link = f" ([source]({flag.evidence_url}))" if flag.evidence_url else ""
            st.markdown(f"- `{flag.flag}`: {flag.reason}{link}")
        for form in item.other_forms:
            st.markdown(f"**{form.name[0].upper()}{form.name[1:]}**")
            st.code(form.text, language=None, wrap_lines=True)


def show_evidence(runs: list[Evidence]) -> None:
    """The measured runs that the answer rests on, each with its address."""
    st.markdown("**Measured runs nearest to it**" if runs else "No measured run is near to it.")
    if runs:
        rows = [
            {
                "tok/s": measured(run.decode_tps),
                "prefill, tok/s": measured(run.prefill_tps),
                "GiB used": measured(run.vram_used_gib),
                "on": run.observed_on or "",
                "source": run.source_url,
                "differs in": ", ".join(run.differs_in) or "nothing",
                "decode without it": measured(run.decode_tps_without),
            }
            for run in runs
        ]
        st.dataframe(
            rows,
            hide_index=True,
            column_config={"source": source_column()},
            alt="Measured runs with their figures, differences and sources",
        )


def show_notes(item: Prediction) -> None:
    """Release notes that touch the configuration."""
    if item.notes:
        with st.expander(f"{len(item.notes)} release notes touch this configuration"):
            for note in item.notes:
                st.markdown(f"- {note.engine} {note.version}: {note.claim} ([source]({note.evidence_url}))")


def show_rejected(found: Recommendation) -> None:
    """What was considered and why it is not in the list."""
    if found.rejected:
        with st.expander(f"{len(found.rejected)} others were left out"):
            named = ("model", "quant", "engine", "kv_type_k")
            rows = [
                {key: str(item.config[key]) for key in named if key in item.config} | {"why": item.reason}
                for item in found.rejected
            ]
            st.dataframe(rows, hide_index=True, alt="Configurations that were left out, with the reason")


def source_column() -> Any:
    """A column of addresses that shows whose they are."""
    return st.column_config.LinkColumn("source", display_text=r"^(?:https?://)?([^/]+).*$")


def measured(figure: float | None) -> str:
    """A measured figure as it is read; empty where the source is silent."""
    return "" if figure is None else format_tps(figure)


def title(item: Prediction) -> str:
    """`Qwen3.5-9B Q4_K_M · llama.cpp · KV q8_0 on 2 × RTX 3090 (24 GiB)`, with context and users."""
    config = item.config
    users = f", {config.concurrency} users" if config.concurrency > 1 else ""
    where = f"{cards_text(config)} ({memory_text(config)})"
    return f"{short_name(config.model)} {launch_text(config)} on {where}, {tokens_text(config.ctx)}{users}"
