"""The page: what is chosen beside it, one view at a time, each an answer of `advisor.service`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from advisor.page import (
    choice,
    compare,
    curves,
    evidence,
    explore,
    launch_check,
    links,
    notes,
    own_data,
    ranked,
)
from knowledge.errors import AdvisorError

VIEWS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    links.EXPLORE: explore.show,
    links.COMPARE: compare.show,
    "Recommend": ranked.show,
    links.CHECK: launch_check.show,
    "Evidence": evidence.show,
    "Notes": lambda _: notes.show(),
    "Your data": own_data.show,
}
KEYS = (
    links.VIEW, compare.KEY, curves.KEY, links.COMMAND, *ranked.KEYS, *evidence.KEYS, *notes.KEYS,
)  # fmt: skip

st.set_page_config("advisor: what should I launch?", layout="wide")
links.begin()
try:
    options = choice.asked(KEYS)
except AdvisorError as error:  # without its facts the page has nothing to ask with
    st.error(str(error))
    st.stop()
st.title("What should I launch?", anchor=False)
links.show_notes()
tabs = st.tabs(list(VIEWS), key=links.VIEW, on_change="rerun", bind="query-params")
for tab, view in zip(tabs, VIEWS.values(), strict=True):
    if tab.open:
        with tab:
            try:
                view(options)
            except AdvisorError as error:
                st.error(str(error))
