"""The referee: every shipped row is predicted as well as the committed card says, and worse is noticed."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from advisor.speed.model import ARTEFACT, SCORES, SpeedModel
from advisor.training.diagrams import bars_diagram, coverage_diagram, scatter_diagram
from advisor.training.replay import fitted_scores, worse
from advisor.training.rows import cases_of
from knowledge.catalog import default_catalog
from knowledge.store import queries
from knowledge.store.connection import open_store

COMMITTED = json.loads((Path(__file__).parent.parent / "docs" / SCORES).read_text(encoding="utf-8"))
SVG = "{http://www.w3.org/2000/svg}"


def parsed(text):
    return ET.fromstring(text)  # noqa: S314 - our own drawing


@pytest.fixture(scope="module")
def cases(shipped_home):
    with open_store(shipped_home) as store:
        rows = sorted(queries.training_rows(store.con), key=lambda row: str(row["id"]))
    return cases_of(rows, default_catalog()).cases


def test_the_shipped_model_predicts_every_shipped_row_as_the_card_says(cases):
    now = fitted_scores(cases, SpeedModel.load(ARTEFACT))
    assert worse(COMMITTED["fitted"], now) == []
    assert now.keys() == COMMITTED["fitted"].keys()
    for name, score in now.items():
        assert score == pytest.approx(COMMITTED["fitted"][name], abs=2e-3), name


def test_nine_rows_in_ten_that_tell_a_speed_are_scored(shipped_home):
    with open_store(shipped_home) as store:
        rows = queries.training_rows(store.con)
    found = cases_of(rows, default_catalog())
    silent = found.skipped["no speed figure"] + found.skipped["did not run (out of memory or error)"]
    scored = found.rows - sum(found.skipped.values())
    assert scored / (found.rows - silent) >= 0.9


def test_what_got_worse_is_named():
    before = {"decode": {"figures": 100, "error": 0.10}, "prefill": {"figures": 50, "error": 0.2}}
    assert worse(before, before) == []
    assert worse(before, {**before, "decode": {"figures": 100, "error": 0.114}}) == []
    assert worse(before, {**before, "decode": {"figures": 100, "error": 0.116}}) == [
        "decode: 10.0% before, 11.6% now"
    ]
    assert worse(before, {"prefill": {"figures": 40, "error": 0.1}}) == [
        "decode: no longer scored",
        "prefill: 50 figures before, 40 now",
    ]


def test_diagrams_are_drawings_that_hold_every_figure():
    scatter = parsed(scatter_diagram([1.0, 10.0, 10.0, 300.0], [1.2, 10.0, 10.0, 250.0]))
    cells = [rect.find(f"{SVG}title") for rect in scatter.iter(f"{SVG}rect")]
    assert sum(int(title.text.split()[0]) for title in cells if title is not None) == 4
    curve = parsed(coverage_diagram({"decode & more": [(0.5, 0.4), (0.8, 0.83)]}))
    assert len(list(curve.iter(f"{SVG}circle"))) == 2
    bars = parsed(bars_diagram("a < b", [("x & y", 1200, 0.5), ("z", 20, 0.25)]))
    widths = [float(rect.get("width")) for rect in bars.iter(f"{SVG}rect")][1:]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    texts = [text.text for text in bars.iter(f"{SVG}text")]
    assert "50% of 1,200" in texts
    assert "x & y" in texts


def test_a_scatter_of_one_value_has_an_area():
    parsed(scatter_diagram([10.0], [10.0]))
