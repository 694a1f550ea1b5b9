"""What changes brought: pairs that differ in one thing, claims held against them, and what finds them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor import service
from advisor.cli import main
from advisor.effects import Pair, published, stored, summaries
from knowledge.catalog import default_catalog
from knowledge.errors import StoreError, UsageError
from knowledge.store.connection import open_store
from knowledge.store.queries import PAIRED, pairs

CATALOG = default_catalog()


@pytest.fixture
def home(shipped_home, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(shipped_home))
    monkeypatch.setenv("COLUMNS", "160")
    return shipped_home


def pair(ratio, several=False, change=("off", "on"), metric="decode_tps", source="https://example.org/a"):
    return Pair("vllm", change, metric, ratio, several, source, "", "")


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_a_summary_lies_within_its_pairs(ratios):
    (found,) = summaries([pair(ratio) for ratio in ratios], "store")
    assert found.low == min(ratios) <= found.median <= max(ratios) == found.high
    assert (found.pairs, found.sources) == (len(ratios), 1)
    assert found.several_sequences is None
    assert not found.reverses


def test_what_helps_one_sequence_and_harms_several_reverses():
    (found,) = summaries([pair(1.9), pair(0.8, several=True), pair(0.7, several=True)], "store")
    assert (found.one_sequence, found.several_sequences, found.reverses) == (1.9, 0.75, True)
    (level,) = summaries([pair(1.9), pair(1.01, several=True)], "store")
    assert not level.reverses


def test_changes_of_one_kind_come_together_and_most_pairs_first():
    found = summaries(
        [pair(1.1, change=("a", "b")), pair(1.2), pair(1.3), pair(0.9, metric="ttft_ms")], "store"
    )
    assert [(item.change, item.metric, item.pairs) for item in found] == [
        ("off → on", "decode_tps", 2), ("a → b", "decode_tps", 1), ("off → on", "ttft_ms", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("column", PAIRED)
def test_pairs_of_the_store_differ_in_one_column(home, column):
    with open_store(home) as store:
        found = pairs(store.con, column)
        assert all(row["setting_a"] != row["setting_b"] for row in found)
    for item in stored(column, found):
        assert item.ratio > 0
        assert item.change[0] != item.change[1]
        assert item.metric != "decode_tps_total" or item.several


def test_a_column_of_another_kind_is_refused(home):
    with open_store(home) as store, pytest.raises(ValueError, match="not paired"):
        pairs(store.con, "decode_tps")


def test_speculation_is_held_against_none(home):
    with open_store(home) as store:
        found = stored("spec_decode", pairs(store.con, "spec_decode"))
    against_none = [item for item in found if "spec none" in item.change]
    assert against_none
    assert all(item.change[0] == "spec none" for item in against_none)
    faster = [item.ratio for item in against_none if item.metric == "decode_tps" and not item.several]
    assert sum(ratio > 1 for ratio in faster) > 0.8 * len(faster)


def test_every_published_pair_and_claim_is_loaded():
    assert len(CATALOG.effects) == len(published(CATALOG.effects)) == 833
    assert len(CATALOG.claims) == 37
    assert all(effect.source_url for effect in CATALOG.effects)
    measured = [claim for claim in CATALOG.claims if claim.verdict in {"confirmed", "contradicted"}]
    assert all(claim.n_pairs for claim in measured)


FOUNDING = {
    "prefix caching": "weaker", "async scheduling": "confirmed", "streaming input": None,
}  # fmt: skip


@pytest.mark.parametrize(("words", "verdict"), FOUNDING.items())
def test_the_founding_notes_are_found_with_what_came_of_them(home, words, verdict):
    found = service.notes(words, engine="vllm")
    assert {"0.15.0", "0.16.0"} & {note.version for note in found.notes}
    if verdict is None:
        assert (found.claims, found.measured) == ([], [])
    else:
        assert verdict in {claim.verdict for claim in found.claims}
        assert found.measured


def test_notes_of_a_version_and_later_ones():
    found = service.notes(engine="vllm", since="0.26")
    assert found.notes
    assert all(float(re.match(r"0\.\d+", note.version)[0][2:]) >= 26 for note in found.notes)
    everything = service.notes(engine="vllm")
    assert len(found.notes) < len(everything.notes)
    assert everything.measured == []  # nothing was looked for
    llamacpp = service.notes(engine="llama.cpp", since="b9000")
    assert "cannot be put in order" in llamacpp.note


def test_notes_by_area_model_and_flag(home):
    assert {note.area for note in service.notes(area="cache").notes} == {"cache"}
    hybrid = service.notes(model="qwen3.5-35b-a3b", engine="vllm")
    dense = service.notes(model="llama 3.3 70b", engine="vllm")
    assert any("mamba" in note.claim.lower() for note in hybrid.notes)
    assert not any("mamba" in note.claim.lower() for note in dense.notes)
    flagged = service.notes(flag="--no-enable-prefix-caching")
    assert all("prefix-caching" in note.flags for note in flagged.notes)
    assert flagged.notes


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"since": "0.14"}, "add --engine"),
        ({"since": "soon", "engine": "vllm"}, "cannot tell how old"),
        ({"area": "chache"}, "use one of: bug, cache"),
        ({"model": "qwen9"}, "unknown model"),
        ({"engine": "vlm"}, "vlm"),
    ],
)
def test_what_means_nothing_known_is_refused(asked, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        service.notes(**asked)


def test_the_terminal_shows_claims_apart_from_what_was_measured(home, capsys):
    assert main(["notes", "mtp", "--engine", "llama.cpp"]) == 0
    out = capsys.readouterr().out
    assert out.index("Claims, held against") < out.index("Measured, by pairs")
    assert "(reverses)" in out
    assert "contradicted; 4 pairs" in out
    assert main(["notes", "streaming input", "--engine", "vllm"]) == 0
    assert "no measured pair of runs was found" in capsys.readouterr().out


def test_without_a_store_the_published_pairs_are_still_shown(monkeypatch):
    def closed(*_):
        raise StoreError("the store is locked", "wait")

    monkeypatch.setattr("knowledge.store.connection.open_store", closed)
    found = service.notes("prefix caching", engine="vllm")
    assert found.measured
    assert {item.origin for item in found.measured} == {"published"}
    assert "the store's own pairs are not shown" in found.note
