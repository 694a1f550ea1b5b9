"""Release notes by engine, version and area; claims beside what was measured of them."""

from __future__ import annotations

import streamlit as st

from advisor import service
from advisor.listings import Measured, Notes
from advisor.page import explore
from advisor.words import claim_text

KEYS = ("notes_engine", "notes_since", "notes_area", "notes_text")
"""Keys of the widgets, in the address too."""
_ALL = "all"
_ENGINES = (_ALL, "llama.cpp", "vllm", "sglang", "ollama", "mlx")
_AREAS = (
    _ALL, "bug", "cache", "decode", "default-change", "hardware", "memory", "model-support", "prefill",
    "scheduling",
)  # fmt: skip
_MOST = 60


def show() -> None:
    """The filters, and what they find."""
    which, since, area, text = st.columns(4)
    engine = which.selectbox(
        "Engine", _ENGINES, 2, key="notes_engine", bind="query-params", persist_state="session"
    )
    version = since.text_input(
        "Since version", key="notes_since", bind="query-params", persist_state="session",
        placeholder="0.20" if engine == "vllm" else "b7000",
    )  # fmt: skip
    about = area.selectbox("Area", _AREAS, key="notes_area", bind="query-params", persist_state="session")
    words = text.text_input(
        "Containing", key="notes_text", bind="query-params", persist_state="session",
        placeholder="prefix caching",
    )  # fmt: skip
    found = service.notes(
        words or None,
        engine=None if engine == _ALL else engine,
        since=version or None,
        area=None if about == _ALL else about,
    )
    _show_measured(found)
    more = f", the newest {_MOST} of them below" if len(found.notes) > _MOST else ""
    st.caption(f"{len(found.notes)} release notes{more}. {found.note}")
    for note in found.notes[:_MOST]:
        flags = " ".join(f"`{flag}`" for flag in note.flags.split())
        st.markdown(
            f"**{note.engine} {note.version}** {note.released_on} · {note.area}  \n{note.claim} {flags} "
            f"([source]({note.evidence_url}))"
        )


def _show_measured(found: Notes) -> None:
    """Claims with their verdicts, and pairs of runs that differ in one thing."""
    for claim in found.claims:
        said = f"**{claim.engine} {claim.version} claims:** {claim.claim_short}"
        st.info(f"{said}  \n{claim_text(claim)}")
    if found.measured:
        st.dataframe(
            [_row(item) for item in found.measured],
            hide_index=True,
            column_config={"source": explore.source_column()},
            alt="What one change brought where pairs of runs differ in it alone",
        )


def _row(item: Measured) -> dict[str, object]:
    return {
        "engine": item.engine,
        "change": item.change + (" (reverses)" if item.reverses else ""),
        "figure": item.metric,
        "pairs": item.pairs,
        "sources": item.sources,
        "median": f"×{item.median:.2f}",
        "range": f"{item.low:.2f}–{item.high:.2f}",
        "one sequence": _ratio(item.one_sequence),
        "several": _ratio(item.several_sequences),
        "source": item.source_urls[0] if item.source_urls else "",
    }


def _ratio(value: float | None) -> str:
    return "" if value is None else f"×{value:.2f}"
