"""Up to four configurations side by side, what differs between them marked.

They stand in the address, so that a link brings them back. It owns the list and the table, and no figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

import streamlit as st

from advisor.config import Interval, Prediction
from advisor.page import answers, charts, choice, links
from advisor.words import (
    cache_text,
    cards_text,
    command_text,
    memory_text,
    range_text,
    risk_text,
    seconds_text,
    short_name,
)
from knowledge.errors import AdvisorError
from knowledge.units import format_mib, format_tokens, format_tps

KEY = "with"
"""The key of the pinned ones in the address, once for each."""
_MOST = 4
_LETTERS = "ABCD"
_TOGETHER = "all users, tok/s"


def pin(options: Mapping[str, Any]) -> None:
    """Put a configuration beside the others, and go there."""
    text = urlencode(sorted((name, str(value)) for name, value in options.items()))
    pins = _pins()
    if text in pins:
        links.go({}, links.COMPARE, "It stands there already.")
    if len(pins) >= _MOST:
        links.go({}, links.COMPARE, f"{_MOST} are compared at most: remove one first.")
    _keep([*pins, text])
    links.go({}, links.COMPARE)


def show(options: Mapping[str, Any]) -> None:
    """The pinned configurations, and what to do with them."""
    pins = _pins()
    if not pins:
        st.info(
            "Nothing is compared yet. Press *Compare* beside an answer, or begin with what is chosen now."
        )
        if st.button("Begin with what is chosen"):
            pin(answers.best(options).options)
        return
    found = _answers(pins)
    columns = st.columns(_MOST)
    for column, letter, text in zip(columns, _LETTERS, pins, strict=False):
        open_it, remove = column.columns([2, 1], gap="small")
        if open_it.button(f"Explore {letter}", key=f"explore {letter}", width="stretch"):
            links.go(choice.widgets_for(dict(parse_qsl(text))), links.EXPLORE)
        if remove.button(
            ":material/close:", key=f"remove {letter}", help=f"Remove {letter}", width="stretch"
        ):
            _keep([kept for kept in pins if kept != text])
            st.rerun()
    good = [
        (letter, item) for letter, item in zip(_LETTERS, found, strict=False) if isinstance(item, Prediction)
    ]
    for letter, item in zip(_LETTERS, found, strict=False):
        if isinstance(item, AdvisorError):
            st.error(f"{letter}: {item}")
    if good:
        st.markdown(table(good))
        st.caption("**Bold**: differs from A. ▲: the best of the row.")
        lines = [
            (
                f"{letter}: {_name(item)}",
                answers.curves(answers.best(dict(parse_qsl(text))).options, "depths"),
            )
            for letter, item, text in zip(_LETTERS, found, pins, strict=False)
            if isinstance(item, Prediction)
        ]
        st.altair_chart(
            charts.compared_chart(lines),
            width="stretch",
            alt=f"Decoding against tokens in the cache of {', '.join(name for name, _ in lines)}",
        )
    for letter, item in good:
        st.caption(f"{letter}: {_name(item)}")
        st.code(command_text(item), language=None, wrap_lines=True)


def table(items: Sequence[tuple[str, Prediction]]) -> str:
    """A Markdown table: a row for each choice and figure, a column for each configuration."""
    lines = [f"| | {' | '.join(letter for letter, _ in items)} |", "|---" * (len(items) + 1) + "|"]
    for name, said in _CHOICES:
        cells = [said(item) for _, item in items]
        shown = [f"**{cell}**" if cell != cells[0] else cell for cell in cells]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    alone = all(item.config.concurrency == 1 for _, item in items)
    for name, number, said, more_is_better in _FIGURES:
        if name == _TOGETHER and alone:
            continue
        numbers = [number(item) for _, item in items]
        known = [value for value in numbers if value is not None]
        best = (max(known) if more_is_better else min(known)) if known else None
        tells = len(set(known)) > 1
        cells = [
            said(item) + (" ▲" if tells and value == best else "")
            for (_, item), value in zip(items, numbers, strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _host(item: Prediction) -> str:
    config = item.config
    if config.n_cpu_moe:
        return f"{config.n_cpu_moe} layers' experts"
    return "nothing" if config.n_gpu_layers is None else f"all but {config.n_gpu_layers} layers"


_CHOICES: tuple[tuple[str, Callable[[Prediction], str]], ...] = (
    ("model", lambda item: short_name(item.config.model)),
    ("quantization", lambda item: item.config.quant),
    ("GPU", lambda item: f"{cards_text(item.config)}, {memory_text(item.config)}"),
    ("engine", lambda item: f"{item.config.engine} {item.config.engine_version or ''}".strip()),
    ("context", lambda item: format_tokens(item.config.ctx)),
    ("users", lambda item: str(item.config.concurrency)),
    ("KV cache", lambda item: cache_text(item.config.kv_type_k, item.config.kv_type_v)),
    ("on the host", _host),
    ("speculation", lambda item: item.config.spec_decode),
)


def _speed(name: str) -> tuple[Callable[[Prediction], float | None], Callable[[Prediction], str]]:
    def speed(item: Prediction) -> Interval | None:
        found: Interval | None = getattr(item.prediction, name)
        return found

    def said(item: Prediction) -> str:
        found = speed(item)
        return "not known" if found is None else f"{format_tps(found.value)} ({range_text(found)})"

    return lambda item: found.value if (found := speed(item)) else None, said


def _wait(item: Prediction) -> str:
    wait = item.prediction.ttft_ms
    return seconds_text(wait.value) if wait else "not known"


_FIGURES: tuple[
    tuple[str, Callable[[Prediction], float | None], Callable[[Prediction], str], bool], ...
] = (
    ("decode, tok/s", *_speed("decode_tps"), True),
    ("decode, full context", *_speed("decode_tps_full_context"), True),
    (_TOGETHER, *_speed("decode_tps_total"), True),
    ("prefill, tok/s", *_speed("prefill_tps"), True),
    ("first token after", _speed("ttft_ms")[0], _wait, False),
    ("memory", lambda item: item.prediction.memory.total_mib,
     lambda item: f"{format_mib(item.prediction.memory.total_mib)} of "
     f"{format_mib(item.prediction.memory.available_mib)}", False),
    ("risk of running out", lambda item: item.prediction.oom_probability,
     lambda item: risk_text(item.prediction.oom_probability), False),
    ("quality, points", lambda item: item.quality,
     lambda item: "not known" if item.quality is None else f"{item.quality:.1f}", True),
)  # fmt: skip


def _name(item: Prediction) -> str:
    config = item.config
    return f"{short_name(config.model)} {config.quant} · {config.engine} on {cards_text(config)}"


def _answers(pins: Sequence[str]) -> list[Prediction | AdvisorError]:
    found: list[Prediction | AdvisorError] = []
    for text in pins:
        try:
            found.append(answers.best(dict(parse_qsl(text))).prediction)
        except AdvisorError as error:
            found.append(error)
    return found


def _pins() -> list[str]:
    """Those of this session; at first those of the link."""
    if KEY not in st.session_state:
        st.session_state[KEY] = st.query_params.get_all(KEY)[:_MOST]
    pins: list[str] = st.session_state[KEY]
    return pins


def _keep(pins: Sequence[str]) -> None:
    st.session_state[KEY] = list(pins)
    st.query_params[KEY] = list(pins)
