"""Links to the page: what a link cannot mean is left out with a note, and one view sends to another.

Widgets write themselves into the address (`bind`); this module sets their values before they are drawn. It
knows no widget and asks the service only what options mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

from advisor import service
from knowledge.errors import AdvisorError

VIEW = "view"
"""The key of the tabs, in the address too."""
EXPLORE, COMPARE, CHECK = "Explore", "Compare", "Check"
"""Views that others send to."""
COMMAND = "command"
"""The key of the command that is checked."""
_PENDING, _NOTES, _LINK, _SAID = "pending values", "notes on the link", "link", "what was done"


def begin() -> None:
    """Before any widget is drawn: keep what the link says, and set what was sent here."""
    if _LINK not in st.session_state:
        st.session_state[_LINK] = st.query_params.to_dict()
    for key, value in st.session_state.pop(_PENDING, {}).items():
        st.session_state[key] = value


def go(values: Mapping[str, Any], view: str | None = None, said: str = "") -> None:
    """Run the page again with widgets set to `values`, in `view`; `said` is shown there once."""
    st.session_state[_PENDING] = dict(values) | ({VIEW: view} if view else {})
    if said:
        st.session_state[_SAID] = said
    st.rerun()


def check(options: Mapping[str, Any], defaults: Mapping[str, Any], others: Iterable[str]) -> None:
    """Once, after the widgets are drawn: go back to `defaults` where the link cannot be meant, and note it.

    `options` is what the widgets make of the link; `others` are the keys that a link may have besides.
    """
    link = st.session_state[_LINK]
    if not link:
        return
    st.session_state[_LINK] = {}
    notes = [
        f"`{key}={text}` is no choice here"
        for key, text in link.items()
        if not key.startswith("embed") and key not in others and _is_lost(key, text, defaults)
    ]
    good: dict[str, Any] = {}
    bad: dict[str, Any] = {}
    for name in sorted(options, key=lambda name: name != "gpu"):
        try:
            service.request_of(**{"gpu": defaults["gpu"], **good, name: options[name]})
        except AdvisorError as error:
            bad[name] = defaults[name]
            notes.append(str(error))
        else:
            good[name] = options[name]
    if notes:
        st.session_state[_NOTES] = notes
    if bad:
        go(bad)


def show_notes() -> None:
    """What the link asked for and did not get, and what was done last; said once."""
    for note in st.session_state.pop(_NOTES, []):
        st.warning(f"The link was not followed in one point: {note}", icon=":material/link_off:")
    if said := st.session_state.pop(_SAID, ""):
        st.success(said)


def _is_lost(key: str, text: str, defaults: Mapping[str, Any]) -> bool:
    """Whether a widget refused a value; one that states what is so anyway is dropped from the address too."""
    if key not in defaults:
        return True
    return key not in st.query_params and text.lower() != str(defaults[key]).lower()
