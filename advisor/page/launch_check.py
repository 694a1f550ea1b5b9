"""A launch command that somebody has: what it does on the chosen device, and what would make it fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from advisor.config import Check, Fix
from advisor.page import answers, explore, links
from advisor.words import VERDICTS, cards_text, launch_text, range_text, risk_text, short_name, tokens_text
from knowledge.units import format_mib, format_tps

_DEVICE = (
    "gpu", "gpu_count", "vram", "vram_used", "headless", "backend", "engine_version", "ram", "ram_bandwidth",
    "concurrency", "depth", "prompt",
)  # fmt: skip
_TEXT_KINDS = {"fits": st.success, "tight": st.warning, "oom": st.error}


def show(options: Mapping[str, Any]) -> None:
    """The text, and below it the verdict on the chosen device."""
    command = st.text_area(
        "Launch command", key=links.COMMAND, bind="query-params", persist_state="session", height=110,
        placeholder="llama-server -hf unsloth/Qwen3.5-35B-A3B-GGUF:Q4_K_M -c 262144",
        help="llama-server, vllm serve, docker run … as you would type it, line continuations too.",
    )  # fmt: skip
    if not (command or "").strip():
        st.caption("Paste a command: it is read as its engine reads it, and judged on the GPU chosen beside.")
        return
    device = {name: options[name] for name in _DEVICE if name in options}
    found = answers.check(command, device)
    config, figures = found.parsed, found.prediction
    _TEXT_KINDS[found.verdict](
        f"**{VERDICTS[found.verdict]}**: {risk_text(figures.oom_probability)} risk of running out on "
        f"{cards_text(config)}"
    )
    st.markdown(f"{short_name(config.model)} {launch_text(config)}, {tokens_text(config.ctx)} each")
    for flag in found.unknown_flags:
        near = f" Did you mean {' or '.join(f'`{name}`' for name in flag.nearest)}?" if flag.nearest else ""
        st.warning(f"`{flag.flag}`: {flag.reason}.{near}")
    explore.show_memory(figures.memory)
    speeds = [
        ("Decode now", figures.decode_tps),
        ("Decode, full context", figures.decode_tps_full_context),
        ("Prefill", figures.prefill_tps),
    ]
    for column, (label, speed) in zip(st.columns(len(speeds)), speeds, strict=True):
        explore.metric(
            column,
            label,
            format_tps(speed.value) if speed else None,
            f"{range_text(speed)} tok/s" if speed else None,
        )
    _show_fixes(found)
    for warning in found.warnings:
        if warning.rule != "unknown-flag":
            st.caption(explore.caution_words(warning))
    st.download_button(
        "Verdict as JSON", found.model_dump_json(indent=1), file_name="advisor-check.json",
        mime="application/json", on_click="ignore",
    )  # fmt: skip


def _show_fixes(found: Check) -> None:
    if found.verdict == "fits":
        return
    if not found.fixes:
        st.markdown("No single change is known to help: a smaller model, or a shorter context and more.")
        return
    st.markdown("**Single changes that help**, the cheapest first")
    for place, fix in enumerate(found.fixes):
        words, use = st.columns([5, 1], vertical_alignment="center")
        words.markdown(f"{_mark(fix)} **{fix.change}**: {_cost(fix)}")
        if use.button("Use it", key=f"use {place}", width="stretch"):
            links.go({links.COMMAND: fix.command})
        st.code(fix.command, language=None, wrap_lines=True)


def _mark(fix: Fix) -> str:
    return ":material/check_circle:" if fix.fits else ":material/remove_circle:"


def _cost(fix: Fix) -> str:
    """What a change saves and costs, in words."""
    costs = [
        f"{100 * share:.0f} % {name} lost"
        for name, share in (("speed", fix.speed_lost), ("quality", fix.quality_lost))
        if share >= 0.005
    ]
    return f"risk {risk_text(fix.oom_probability)}, saves {format_mib(fix.saves_mib)}, " + (
        " and ".join(costs) or "costs nothing"
    )
