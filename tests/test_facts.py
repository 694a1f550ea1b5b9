import csv
import datetime as dt
import re
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from advisor.engines.versions import parse
from knowledge.catalog import default_catalog, read_facts
from knowledge.errors import AdvisorError
from knowledge.paths import FACTS, bundle_root, memory_dir, observations_dir
from knowledge.schema import Gpu

CATALOG = default_catalog()
NAMED_DOCUMENT = "Daily Insights 2026-02-26"
REPOSITORY = Path(__file__).parents[1]
OWN_DOCUMENT = re.compile(r"advisor: (docs/\S+\.md)")
ADDRESS = re.compile(rf"https?://[^\s/]+\.\S+|PyPI package \S+|{NAMED_DOCUMENT}|{OWN_DOCUMENT.pattern}")


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def is_date(text):
    """A day, a month or a year, as precisely as the source states it."""
    try:
        dt.date.fromisoformat(f"{text}-01-01"[:10])
    except ValueError:
        return False
    return re.fullmatch(r"\d{4}(-\d\d){0,2}", text) is not None


@pytest.mark.parametrize("path", sorted(FACTS.glob("*.csv")), ids=lambda path: path.name)
def test_every_fact_says_where_it_comes_from(path):
    rows = rows_of(path)
    (column,) = {"source_url", "evidence_url"} & rows[0].keys()
    assert [(n, row[column]) for n, row in enumerate(rows, 2) if not ADDRESS.match(row[column])] == []


@pytest.mark.parametrize("path", sorted(FACTS.glob("*.csv")), ids=lambda path: path.name)
def test_no_fact_stands_twice(path):
    rows = rows_of(path)
    assert [row for row, n in Counter(tuple(row.items()) for row in rows).items() if n > 1] == []
    key = {
        "gpus.csv": ("name",),
        "models.csv": ("hf_id",),
        "quants.csv": ("name",),
        "rules.csv": ("id",),
        "flags.csv": ("engine", "flag"),
        "release_notes.csv": ("engine", "version", "claim"),
        "engine_versions.csv": ("engine", "version"),
        "model_quality.csv": ("hf_id",),
    }.get(path.name)
    if key:
        keys = Counter(tuple(row[part] for part in key) for row in rows)
        assert [stands for stands, n in keys.items() if n > 1] == []


@pytest.mark.parametrize("path", sorted(FACTS.glob("*.csv")), ids=lambda path: path.name)
def test_dates_are_dates_and_not_in_the_future(path):
    today = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    for row in rows_of(path):
        for column in {"released_on", "released", "observed_on"} & row.keys():
            if row[column]:
                assert is_date(row[column]), row
                assert row[column] <= max(today, "2026-11-30"), row


@pytest.mark.parametrize("text", ["2026-13", "26-01-01", "2026-02-30", "soon", "2026/01/01"])
def test_what_is_no_date_would_be_noticed(text):
    assert not is_date(text)


def test_a_flag_is_removed_after_it_came_and_deprecated_between():
    for flag in CATALOG.flags:
        life = [flag.since_version, flag.deprecated_in, flag.removed_in]
        keys = [parse(flag.engine, version, CATALOG).key for version in life if version]
        assert keys == sorted(set(keys)), flag


def test_release_notes_stand_oldest_first():
    for engine in {note.engine for note in CATALOG.release_notes}:
        days = [note.released_on for note in CATALOG.release_notes if note.engine == engine]
        assert [day for day in days if day] == sorted(day for day in days if day), engine


def test_a_malformed_row_is_named_by_file_line_and_column(tmp_path):
    path = tmp_path / "gpus.csv"
    header = "name,vendor,arch,source_url,bandwidth_gbps"
    path.write_text(f"{header}\nA,NVIDIA,Ada,https://x.org,1008\nB,NVIDIA,Ada,https://x.org,fast\n")
    with pytest.raises(AdvisorError, match=r"gpus\.csv:3: bandwidth_gbps"):
        read_facts(path, Gpu)


def listed_sources():
    """`data/SOURCES.md`: file name → (rows, text of its entry)."""
    text = (bundle_root() / "data" / "SOURCES.md").read_text(encoding="utf-8")
    entries = re.findall(r"^### `([^`]+)` — ([\d,]+) rows?\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    return {name: (int(rows.replace(",", "")), body) for name, rows, body in entries}


def test_every_data_file_is_listed_with_its_rows_address_and_terms():
    listed = listed_sources()
    shipped = {
        f"{folder.name}/{path.name}": path
        for folder in (observations_dir(), memory_dir())
        for path in folder.glob("*.csv")
    }
    assert set(listed) == set(shipped)
    for name, path in shipped.items():
        rows, entry = listed[name]
        assert rows == len(rows_of(path)), name
        for part in ("Address", "Terms", "Measures", "Caveats"):
            assert f"- {part}:" in entry, (name, part)


def test_the_addresses_of_a_data_file_are_those_in_its_rows():
    for folder in (observations_dir(), memory_dir()):
        for path in folder.glob("*.csv"):
            places = Counter(row["source_url"] for row in rows_of(path))
            assert all(ADDRESS.match(place) for place in places), path.name
            _, entry = listed_sources()[f"{folder.name}/{path.name}"]
            owners = Counter()
            for place, n in places.items():
                owner = re.match(r"https?://(github\.com/[^/]+/[^/#?]+|[^/]+)", place)
                own = OWN_DOCUMENT.match(place)
                assert not own or (REPOSITORY / own.group(1)).is_file()
                owners[owner.group(1) if owner else own.group(1) if own else NAMED_DOCUMENT] += n
            # The list names every place that gives a tenth of a file's rows or more.
            total = sum(owners.values())
            assert [owner for owner, n in owners.items() if n >= total / 10 and owner not in entry] == []


def test_the_shipped_observations_are_all_there():
    files = chain(observations_dir().glob("*.csv"))
    assert sum(len(rows_of(path)) for path in files) == 15_307


def test_every_spelling_of_an_engine_stands_once():
    for engine in {flag.engine for flag in CATALOG.engine_flags}:
        rows = [flag for flag in CATALOG.engine_flags if flag.engine == engine]
        spellings = [name for flag in rows for name in (flag.flag, *flag.aliases, *flag.off)]
        assert sorted(spellings) == sorted(set(spellings))
        assert len({flag.env for flag in rows if flag.env}) == sum(bool(flag.env) for flag in rows)
        assert all(name.startswith("-") for name in spellings)
        assert all(flag.takes == "0" for flag in rows if flag.off)


def test_every_flag_that_is_described_is_one_that_can_be_read():
    known = {
        (flag.engine, name) for flag in CATALOG.engine_flags for name in (flag.flag, *flag.aliases, *flag.off)
    }
    engines = {engine for engine, _ in known}
    described = {
        (flag.engine, flag.flag)
        for flag in CATALOG.flags
        if flag.engine in engines and flag.flag.startswith("--") and " " not in flag.flag
    }
    assert described - known == set()
