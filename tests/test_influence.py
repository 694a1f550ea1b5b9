"""How answers move without the runs beside them: as a fit without those runs would have them."""

from dataclasses import replace

import pytest

from advisor.asking import understand
from advisor.evidence import nearest_runs
from advisor.influence import with_runs, without
from advisor.service import exact_setup, predict
from advisor.speed.figures import decode_query_of
from advisor.speed.influence import Influence
from advisor.speed.model import ARTEFACT, SpeedModel
from advisor.training.fit import fit_model, influence_of
from advisor.training.rows import cases_of
from knowledge.catalog import default_catalog
from knowledge.store.connection import open_store
from knowledge.store.queries import training_rows

CATALOG = default_catalog()


def asked(**options):
    return exact_setup(understand(options, CATALOG), CATALOG)


@pytest.fixture(scope="module")
def rows(shipped_home):
    with open_store(shipped_home) as store:
        return sorted(training_rows(store.con), key=lambda row: str(row["id"]))


@pytest.fixture(scope="module")
def near(shipped_home):
    setup = asked(model="gpt-oss-120b", quant="MXFP4_MOE", gpu="strix halo", ctx="32k")
    with open_store(shipped_home) as store:
        return setup, nearest_runs(store, [setup], CATALOG)[0]


def test_the_first_order_answer_is_near_to_a_fit_without_the_runs(rows, near, monkeypatch):
    """On a part of the rows, where the nearest ones weigh."""
    setup, found = near
    shown = [row for item in found for row in item.rows]
    ids = {row["id"] for row in shown}
    some = [row for index, row in enumerate(rows) if row["id"] in ids or index % 12 == 0]
    cases = cases_of(some, CATALOG).cases
    model = fit_model(cases)
    model = replace(model, influence=influence_of(cases, model))
    monkeypatch.setattr("advisor.influence.load_model", lambda: model)
    moved = without(setup, shown, CATALOG)
    refitted = fit_model(cases_of([row for row in some if row["id"] not in ids], CATALOG).cases)
    query = decode_query_of(setup, model)
    real = float(model.decode_seconds([query])[0] / refitted.decode_seconds([query])[0])
    assert abs(real - 1) > 0.002  # the runs matter here
    assert moved - 1 == pytest.approx(real - 1, rel=0.6)


def test_runs_that_were_not_fitted_move_nothing(near):
    setup, found = near
    strangers = [{**row, "source_url": "https://example.org/unheard"} for item in found for row in item.rows]
    assert without(setup, strangers, CATALOG) is None
    assert without(setup, [], CATALOG) is None


def test_leaving_more_out_adds_up(near):
    setup, found = near
    shifts = [without(setup, item.rows, CATALOG) for item in found]
    product = 1.0
    for shift in shifts:
        product *= shift or 1.0
    assert product == pytest.approx(
        without(setup, [r for item in found for r in item.rows], CATALOG), rel=1e-6
    )


def test_an_answer_tells_what_it_would_be_without_its_runs(near):
    setup, found = near
    prediction = predict(model="gpt-oss-120b", quant="MXFP4_MOE", gpu="strix halo", ctx="32k")
    bare = prediction.model_copy(update={"evidence": [], "why": "x"})
    told = with_runs(bare, setup, found, CATALOG)
    assert [run.source_url for run in told.evidence] == [item.run.source_url for item in found]
    assert any(run.decode_tps_without for run in told.evidence)
    assert "Without the runs shown, decode would be" in told.why
    assert with_runs(bare, setup, [], CATALOG).why == "x"


def test_what_tells_of_influence_is_written_and_read(near):
    shipped = SpeedModel.load(ARTEFACT).influence
    again = Influence.from_arrays(shipped.to_arrays())
    assert again.cells == shipped.cells
    assert again.curvatures.keys() == shipped.curvatures.keys()
    empty = Influence.from_arrays(Influence().to_arrays())
    assert (empty.curvatures, empty.cells) == ({}, {})
