"""Shared text helpers of names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from knowledge.names.match import nearest, normalise


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once


@given(st.text(max_size=200), st.lists(st.text(max_size=20), max_size=8), st.integers(1, 5))
def test_nearest_are_some_of_the_names(text, names, n):
    found = nearest(text, names, n)
    assert len(found) <= n
    assert set(found) <= set(names)


def test_a_slip_of_the_finger_finds_the_name():
    names = ["Qwen/Qwen3.5-27B", "google/gemma-3-27b-it", "openai/gpt-oss-20b"]
    assert nearest("qwn3.5 27b", names)[0] == "Qwen/Qwen3.5-27B"
    assert nearest("", names) == []
