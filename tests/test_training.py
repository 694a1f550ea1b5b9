"""`advisor train`: the same rows give the same bytes, what is left out is left out, the result is used."""

import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingRegressor

import advisor
from advisor import service
from advisor.cli import main
from advisor.speed.model import ARTEFACT, OWN_MODEL, SCORES, SpeedModel, load_model
from advisor.training import destination as places
from advisor.training.accuracy import PARTS, RULES, validated
from advisor.training.destination import destination
from advisor.training.export import forest_of, write_artefact
from advisor.training.fit import SEED, TREES
from advisor.training.founding import FILE, noted
from advisor.training.model_card import model_card
from advisor.training.plots import plots
from advisor.training.replay import replay_json
from advisor.training.rows import FIGURE_OF
from advisor.training.slices import SLICES
from advisor.training.training_run import fingerprint_of, train_on
from advisor.training.validate import GROUPS, fold_of_cases, folds_of, out_of_fold
from knowledge.catalog import default_catalog
from knowledge.errors import AdvisorError
from knowledge.store import queries
from knowledge.store.connection import STORE_NAME, open_store

CATALOG = default_catalog()
EVERY = 60
"""One row in so many, so that a training takes seconds."""


def silent(_):
    """Hear of the progress and say nothing."""


@pytest.fixture(scope="module")
def rows(shipped_home):
    with open_store(shipped_home) as store:
        everything = queries.training_rows(store.con)
    # Prefill of several sequences at once was measured by few: some of each, so that no part is without.
    shared = [row for row in everything if row["prefill_tps"] and (row["concurrency"] or 1) > 1]
    by_file = {row["file"]: [r for r in shared if r["file"] == row["file"]] for row in shared}
    some = [row for found in by_file.values() for row in found[:: 1 + len(found) // 12]]
    notes = [row for row in everything if row["file"] == FILE]
    return list({row["id"]: row for row in (*everything[::EVERY], *some, *notes)}.values())


@pytest.fixture(scope="module")
def run(rows):
    return train_on(rows, CATALOG, silent)


@pytest.fixture
def home(shipped_home, tmp_path, monkeypatch, rows):
    """A data folder with a store of its own, of which training sees a part."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copyfile(shipped_home / STORE_NAME, folder / STORE_NAME)
    monkeypatch.setenv("ADVISOR_HOME", str(folder))
    monkeypatch.delenv("ADVISOR_DEBUG", raising=False)
    monkeypatch.setattr(queries, "training_rows", lambda _: rows)
    return folder


@pytest.fixture
def fitted(monkeypatch, run):
    """Training answers at once, with a run that was made before."""
    monkeypatch.setattr("advisor.training.training_run.train_on", lambda *_: run)
    return run


def in_bytes(model, path):
    write_artefact(path, model.to_arrays())
    return path.read_bytes()


def test_the_same_rows_give_the_same_bytes_in_whichever_order_they_come(rows, run, tmp_path):
    shuffled = random.Random(5).sample(rows, len(rows))  # noqa: S311 - an order, no secret
    again = train_on(shuffled, CATALOG, silent)
    assert in_bytes(again.model, tmp_path / "a.npz") == in_bytes(run.model, tmp_path / "b.npz")
    assert model_card(again) == model_card(run)
    assert fingerprint_of(rows[1:]) != fingerprint_of(rows)


def test_exported_trees_predict_what_scikit_learn_does():
    generator = np.random.default_rng(3)
    matrix = generator.normal(size=(3000, 7))
    target = matrix[:, 0] * matrix[:, 1] + np.abs(matrix[:, 2]) + generator.normal(scale=0.1, size=3000)
    trees = HistGradientBoostingRegressor(
        loss="absolute_error", random_state=SEED, early_stopping=False, **TREES
    )
    trees.fit(matrix[:2000], target[:2000])
    ours, theirs = forest_of(trees).predict(matrix), trees.predict(matrix)
    assert np.max(np.abs(ours - theirs)) < 1e-12
    assert np.std(ours) > 0.1  # it did learn


def test_a_written_model_is_read_as_it_was(run, tmp_path):
    path = tmp_path / "artefact.npz"
    write_artefact(path, run.model.to_arrays())
    read = SpeedModel.load(path)
    queries_of = [case.query for case in run.found.cases[:50]]
    assert np.array_equal(read.decode_seconds(queries_of), run.model.decode_seconds(queries_of))
    assert (read.counts, read.fingerprint) == (run.model.counts, run.model.fingerprint)
    assert list(tmp_path.iterdir()) == [path]


@given(st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=200), st.integers(2, 6))
def test_folds_never_split_a_group(groups, folds):
    fold = folds_of(groups, folds).tolist()
    assert len(fold) == len(groups)
    assert len(set(zip(groups, fold, strict=True))) == len(set(groups))
    assert set(fold) == set(range(min(folds, len(set(groups)))))


def test_what_is_scored_was_left_out_of_the_fit(run, monkeypatch):
    seen = []

    def remember(cases, **_):
        seen.append(cases)
        return run.model

    monkeypatch.setattr("advisor.training.validate.fit_model", remember)
    for scheme, group in GROUPS.items():
        seen.clear()
        out_of_fold(run.found.cases, scheme)
        everyone = {group(case) for case in run.found.cases}
        left_out = [everyone - {group(case) for case in cases} for cases in seen]
        assert set().union(*left_out) == everyone
        assert all(left_out)
        assert sum(map(len, left_out)) == len(everyone)  # each once


def test_an_interval_does_not_know_the_errors_it_is_held_against(run):
    cases, predicted = run.found.cases, dict(run.validation.predicted)
    fold = fold_of_cases(cases, "source")
    off = predicted["source"].copy()
    off[fold == 0] *= 1e6  # as wrong as can be, in one part
    covered = validated(cases, predicted | {"source": off}).covered["source"]
    assert not covered[fold == 0].any()
    honest = run.validation.covered["source"]
    assert 0.5 < honest.mean() < 0.95
    assert covered[fold != 0].mean() >= honest[fold != 0].mean()  # the others' widths saw those errors


def test_the_simple_rule_is_one_constant_for_each_part(run):
    chosen = run.validation.indices("decode")
    for rule in RULES:
        spoken = set(np.flatnonzero(~np.isnan(run.validation.rules[rule]["gpu"])).tolist())
        assert spoken >= set(chosen)
        score = run.validation.rule_score(rule, "gpu", chosen)
        assert score.mdape > run.validation.score("gpu", chosen).mdape
        assert run.validation.rule_score(rule, "gpu", run.validation.indices("prefill")).n == 0


def test_every_slice_parts_all_cases_of_a_figure(run):
    for piece in SLICES:
        for figure in ("decode", "total", "prefill", "ttft"):
            chosen = piece.figures(run.found.cases, figure)
            name = piece.namer(run.found.cases)
            assert sum(Counter(name(run.found.cases[i]) for i in chosen).values()) == len(chosen)


def test_the_card_has_its_summary_and_no_date(run):
    card = model_card(run)
    found = re.search(r"<!-- summary -->\n(.*?)<!-- end -->", card, re.DOTALL)
    assert "| decode, one sequence, on GPU |" in found[1]
    assert "bandwidth ÷ bytes" in found[1]
    assert not re.search(r"\b20\d\d-\d\d", card)
    for title in ("By kind of run", "By engine", "By device", "By format family", "By size of the source",
                  "Where it is worst", "Risk of running out of memory", "Limits"):  # fmt: skip
        assert re.search(rf"^##+ {title}$", card, re.MULTILINE)
    counted = re.search(r"^([\d,]+) of ([\d,]+) rows", card, re.MULTILINE)
    used, of = (int(text.replace(",", "")) for text in counted.groups())
    assert of == len(run.rows) == used + sum(run.found.skipped.values())
    assert all(line.count("|") == lines[0].count("|") for lines in tables(card) for line in lines)


def test_the_founding_notes_are_held_against_models_that_never_saw_them(run):
    notes = list(noted(run))
    assert len(notes) >= 10
    for note in notes:
        assert note.inside == (note.predicted.low <= note.case.measured <= note.predicted.high)
        assert note.predicted.low < note.predicted.value < note.predicted.high
    card = model_card(run)
    assert f"{sum(note.inside for note in notes)} of {len(notes)} lie inside" in card


def tables(card):
    return [block.splitlines() for block in card.split("\n\n") if block.startswith("|")]


def test_train_writes_what_an_earlier_training_wrote(home, run, tmp_path):
    folder, before = tmp_path / "one" / "deep", tmp_path / "two"
    said = []
    report = advisor.train(folder, tell=said.append)
    place = destination(before, 0)
    place.prepare()
    place.write(run.model, model_card(run), {**plots(run.validation), SCORES: replay_json(run)})
    one, two = ({path.name: path.read_bytes() for path in where.iterdir()} for where in (folder, before))
    assert sorted(one) == [
        "artefact.npz", "decode_scatter.svg", "error_by_slice.svg", "interval_coverage.svg", "model_card.md",
        "replay.json",
    ]  # fmt: skip
    assert one == two
    assert len(said) == len(GROUPS) + 1
    assert report.files[:2] == [str(folder / "artefact.npz"), str(folder / "model_card.md")]
    assert sorted(report.files) == sorted(str(folder / name) for name in one)
    assert report.learnt is None
    assert not report.loaded
    assert (report.rows, report.cases) == (len(run.rows), len(run.found.cases))
    assert [(item.figure, item.part, item.left_out) for item in report.headline] == [
        (FIGURE_OF[part.kind], key, scheme) for key, part in PARTS.items() for scheme in GROUPS
    ]
    assert not (home / OWN_MODEL).exists()


def test_a_model_with_own_rows_goes_to_the_data_folder_and_is_preferred(
    home, rows, fitted, monkeypatch, capsys
):
    shipped = load_model()
    own = [*rows[:-1], {**rows[-1], "origin": "user"}]
    monkeypatch.setattr(queries, "training_rows", lambda _: own)
    assert main(["train", "--json"]) == 0
    out = capsys.readouterr()
    assert out.err == ""  # nobody watches
    report = json.loads(out.out)
    assert report["schema_version"] == 1
    assert (report["loaded"], report["own_rows"]) == (True, 1)
    assert report["files"][:2] == [str(home / OWN_MODEL), str(home / "model_card.md")]
    assert load_model().fingerprint == fitted.model.fingerprint != shipped.fingerprint
    assert load_model(ARTEFACT).fingerprint == shipped.fingerprint
    assert "your own" in next(c.detail for c in service.doctor().checks if c.name == "speed model")
    # it is renewed there, even when the rows are gone
    assert destination(None, 0).artefact == home / OWN_MODEL
    (home / OWN_MODEL).unlink()
    assert load_model().fingerprint == shipped.fingerprint


@pytest.mark.usefixtures("home")
def test_in_a_checkout_shipped_rows_make_the_shipped_model(monkeypatch, tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / "docs").mkdir(parents=True)
    monkeypatch.setattr(places, "bundle_root", lambda: checkout)
    monkeypatch.setattr(places, "ARTEFACT", checkout / "advisor" / "speed" / "artefact.npz")
    place = destination(None, 0)
    assert (place.artefact, place.card) == (places.ARTEFACT, checkout / "docs" / "model_card.md")
    assert destination(None, 1).artefact.name == OWN_MODEL
    shutil.rmtree(checkout / "docs")  # as where the packages are installed
    assert destination(None, 0).artefact.name == OWN_MODEL


def archive_of_another_format(path):
    np.savez(path, format=np.asarray(99))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no archive"),
        lambda path: path.write_bytes(ARTEFACT.read_bytes()[:5000]),
        lambda path: path.write_bytes(b""),
        archive_of_another_format,
    ],
    ids=["text", "torn", "empty", "format"],
)
@pytest.mark.usefixtures("home")
def test_a_damaged_own_model_says_how_to_renew_it(home, capsys, damage):
    damage(home / OWN_MODEL)
    with pytest.raises(AdvisorError, match="advisor train"):
        load_model()
    assert main(["predict", "--model", "qwen3.5-9b", "--quant", "Q4_K_M", "--gpu", "3090"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "advisor train" in err


def test_without_a_data_folder_the_shipped_model_answers(home, monkeypatch):
    def nobody(_):
        raise RuntimeError("Could not determine home directory.")

    shipped = load_model(ARTEFACT)
    monkeypatch.setenv("ADVISOR_HOME", str(home / "missing"))
    assert load_model() is shipped
    monkeypatch.delenv("ADVISOR_HOME")
    monkeypatch.setattr(Path, "home", classmethod(nobody))
    assert load_model() is shipped


@pytest.mark.usefixtures("home", "fitted")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("in the way")
    for folder in (file, file / "deeper", ""):
        assert main(["train", "--output", str(folder)]) == 2
        out = capsys.readouterr()
        assert out.out == ""
        assert out.err.startswith("error: ")
        assert out.err.count("\n") == 1
        assert "--output" in out.err


def test_a_store_that_cannot_be_read_is_exit_code_5(home, capsys):
    (home / STORE_NAME).write_bytes(b"no database" * 1000)
    assert main(["train"]) == 5
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.usefixtures("home", "fitted")
def test_the_report_reads_as_tables_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    assert main(["train", "--output", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "new source" in out
    assert f"wrote {tmp_path / 'out' / 'model_card.md'}" in out
    assert "predictions do not look there" in out
