"""Rows and start logs of one's own: what would be added and change, and only then the adding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st


def show(options: Mapping[str, Any]) -> None:
    """Where rows are brought, until the page takes them itself."""
    st.info(f"Rows of {options['gpu']}: `advisor ingest runs.csv`")
