"""Rows and start logs of one's own: what would be added and change, and only then the adding.

A file is read from a folder that goes away again; nothing is kept before the confirmation. What is in a file,
and what would change, the service says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import streamlit as st

from advisor import service
from advisor.listings import Reject
from advisor.page import links
from advisor.previews import Preview
from advisor.words import risk_text, short_name
from knowledge.units import format_mib, format_tps

_MOST_MIB = 50
_KINDS = ("csv", "json", "jsonl", "md", "txt", "log", "out", "err")
_ROUND = "uploads so far"
"""Counts what was taken in, so that the uploader is empty again afterwards."""
_SHOWN_REJECTS = 200

Files = tuple[tuple[str, bytes], ...]


def show(options: Mapping[str, Any]) -> None:
    """The uploader, and for what lies in it what would happen."""
    st.markdown(
        "Your own measurements move the predictions for your own machines, and no others. Bring a CSV of"
        " runs, what `llama-bench` printed in any of its forms, or the log of a start of llama.cpp or vLLM."
    )
    taken = st.session_state.setdefault(_ROUND, 0)
    uploaded = st.file_uploader(
        f"Files, each up to {_MOST_MIB} MiB; nothing is kept before you say so",
        type=_KINDS,
        accept_multiple_files=True,
        max_upload_size=_MOST_MIB,
        key=f"files {taken}",
    )
    said = st.checkbox(
        f"They were measured on {options['gpu']} with {options.get('model')}",
        key="files said",
        help="For logs and tables that name no device or no model. A CSV names both in every row.",
    )
    files = _named([(file.name, file.getvalue()) for file in uploaded or []])
    if not files:
        return
    about = {"gpu": options["gpu"], "model": options.get("model")} if said else {}
    found = _preview(files, {**options}, about, service.stamp())
    _show_balance(found)
    _show_changes(found)
    _show_rejects(found.rejects, "Rejected")
    _show_rejects(found.quarantine, "Implausible, kept apart")
    if not (found.added or found.quarantined):
        st.info("There is nothing in these files that is not known already.")
    elif st.button(f"Add {found.added} rows", type="primary"):
        with _written(files) as (folder, names):
            done = service.ingest(names, folder=folder, **about)
        st.session_state[_ROUND] = taken + 1
        learn = " Predictions learn from them with `advisor train`." if done.effect["next"] else ""
        links.go({}, said=f"{done.added} rows were added.{learn}")


def _show_balance(found: Preview) -> None:
    parts = (
        ("Read", found.read),
        ("New", found.added),
        ("Known already", found.duplicates),
        ("Implausible", found.quarantined),
        ("Rejected", found.rejected),
    )
    for column, (label, count) in zip(st.columns(len(parts)), parts, strict=True):
        column.metric(label, f"{count:,}", border=True)


def _show_changes(found: Preview) -> None:
    """What predictions would say of the measured runs, of the starts, and of what is looked at."""
    if found.learnt is not None:
        learnt = found.learnt
        before = "" if learnt.error_before is None else f" instead of {learnt.error_before:.0%}"
        st.markdown(
            f"**Once learnt from** (`advisor train`), predictions are off by {learnt.error_after:.0%}{before}"
            f" in the median on these {learnt.figures} figures."
        )
    if found.configurations:
        rows = [
            {
                "model": short_name(item.model),
                "format": item.quant,
                "GPU": item.gpu if item.gpu_count == 1 else f"{item.gpu_count} × {item.gpu}",
                "engine": item.engine,
                "figure": item.figure.removesuffix("_tps").replace("_", " "),
                "runs": item.figures,
                "measured": format_tps(item.measured),
                "predicted": format_tps(item.before),
                "once learnt": format_tps(item.after),
            }
            for item in found.configurations
        ]
        st.dataframe(
            rows, hide_index=True, alt="Measured configurations with their predictions, before and after"
        )
    if found.starts:
        rows = [
            {
                "model": short_name(item.config.model),
                "GPU": item.config.gpu,
                "context": item.config.ctx,
                "came up": item.outcome == "ok",
                "memory now": format_mib(item.total_mib_before),
                "then": format_mib(item.total_mib_after),
                "risk now": risk_text(item.oom_probability_before),
                "then, risk": risk_text(item.oom_probability_after),
            }
            for item in found.starts
        ]
        st.dataframe(
            rows, hide_index=True, alt="Starts with their predicted memory and risk, before and after"
        )
    if found.answer is not None:
        now, then = found.answer.before, found.answer.after
        speeds = [
            f"{name} {format_tps(one.value)} → {format_tps(two.value)} tok/s"
            for name, one, two in (
                ("decode", now.decode_tps, then.decode_tps),
                ("prefill", now.prefill_tps, then.prefill_tps),
            )
            if one and two
        ]
        risk = f"risk {risk_text(now.oom_probability)} → {risk_text(then.oom_probability)}"
        st.markdown(f"**What is chosen now**: {', '.join([*speeds, risk])}.")
    for note in found.notes:
        st.caption(note)


def _show_rejects(rejects: Sequence[Reject], title: str) -> None:
    if rejects:
        with st.expander(f"{title}: {len(rejects)}", expanded=True):
            st.dataframe(
                [
                    {
                        "file": one.file,
                        "line": one.line,
                        "column": one.column or "",
                        "why": one.reason,
                        "is": one.text,
                    }
                    for one in rejects[:_SHOWN_REJECTS]
                ],
                hide_index=True,
                alt=f"{title} rows with their line and the reason",
            )


@st.cache_data(scope="session", max_entries=4, show_spinner="Reading …")
def _preview(files: Files, question: dict[str, Any], about: dict[str, Any], stamp: str) -> Preview:
    """What `service.preview` says of the files, kept for the one who brought them."""
    del stamp  # it makes the cache forget
    exact: Any = question if "quant" in question else None
    with _written(files) as (folder, names):
        return service.preview(names, folder=folder, question=exact, **about)


@contextmanager
def _written(files: Files) -> Iterator[tuple[Path, list[str]]]:
    """The files in a folder of their own, for as long as they are read."""
    with tempfile.TemporaryDirectory(prefix="advisor-") as folder:
        for name, content in files:
            Path(folder, name).write_bytes(content)
        yield Path(folder), [name for name, _ in files]


def _named(files: Sequence[tuple[str, bytes]]) -> Files:
    """The files under plain names, each its own."""
    named: dict[str, bytes] = {}
    for name, content in files:
        plain = Path(name.replace("\\", "/")).name or "file"
        while plain in named:
            plain = f"another-{plain}"
        named[plain] = content
    return tuple(named.items())
