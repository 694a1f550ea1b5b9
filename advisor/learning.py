"""What learns from what is known, and what checks it: train, evaluate, doctor.

It loads scikit-learn (through `advisor.training`) and the store only when asked; it owns no formats, no
fitting and no figures.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.listings import Check, Evaluated, Health, Trained
from advisor.receipts import FILE_NAME as RECEIPTS
from advisor.receipts import own_receipts
from knowledge.errors import AdvisorError, StoreError, UsageError
from knowledge.paths import app_path, home_dir, store_path

if TYPE_CHECKING:
    from advisor.speed.model import SpeedModel

_CATALOG_FILES = ("gpus", "models", "quants", "flags", "release_notes", "rules", "quality")


_CROWDED = "enough rows of the same configuration and source"
Files = Sequence[Path | str] | Path | str
"""One file or several."""


def train(output: Path | str | None = None, *, tell: Callable[[str], None] = lambda _: None) -> Trained:
    """Fit the speed model on the shipped rows and the user's own, and write it with its card.

    `output` is the folder for both; without it they go where predictions look. `tell` hears of the progress.

    Raises:
        UsageError: a folder that cannot be written.
        StoreError: the store cannot be used, or the data folder cannot be written.
    """
    from advisor.speed.model import SCORES  # noqa: PLC0415 - numpy is loaded only when needed
    from advisor.training.destination import destination  # noqa: PLC0415 - scikit-learn takes seconds to load
    from advisor.training.model_card import model_card  # noqa: PLC0415 - as above
    from advisor.training.own_rows import learnt  # noqa: PLC0415 - as above
    from advisor.training.plots import plots  # noqa: PLC0415 - as above
    from advisor.training.replay import replay_json  # noqa: PLC0415 - as above
    from advisor.training.training_run import train_on  # noqa: PLC0415 - as above
    from knowledge.catalog import default_catalog  # noqa: PLC0415 - as above
    from knowledge.store.connection import open_store, plain_errors  # noqa: PLC0415 - as above
    from knowledge.store.queries import (  # noqa: PLC0415 - as above
        MOST_TRAINING_ROWS,
        counts,
        training_rows,
    )

    with open_store() as store, plain_errors(store.path):
        rows, note = training_rows(store.con), store.note
        crowded = len(rows) >= MOST_TRAINING_ROWS
        rest = counts(store.con)["observations"] - len(rows) if crowded else 0
    own_rows = sum(row["origin"] == "user" for row in rows)
    place = destination(output, own_rows)
    place.prepare()
    before = _model_in_use()
    run = train_on(rows, default_catalog(), tell)
    beside = plots(run.validation)
    files = place.write(run.model, model_card(run), {**beside, SCORES: replay_json(run)})
    return Trained(
        rows=run.found.rows + rest,
        own_rows=own_rows,
        cases=len(run.found.cases),
        skipped=dict(sorted({**run.found.skipped, **({_CROWDED: rest} if rest else {})}.items())),
        headline=run.headlines(),
        learnt=learnt(run.found.cases, before, run.model),
        files=[str(file) for file in files],
        loaded=place.loaded,
        note=note,
    )


def _model_in_use() -> SpeedModel | None:
    """The model that answers until now; None when it cannot be read, which training mends."""
    from advisor.speed.model import load_model  # noqa: PLC0415 - numpy is loaded only when needed

    try:
        return load_model()
    except AdvisorError:
        return None


def evaluate(files: Files) -> Evaluated:
    """Score the loaded model against the measured rows of CSV files (`-`: standard input); nothing is learnt.

    Raises:
        UsageError: a path that is no CSV of ours.
        AdvisorError: the speed model cannot be read.
    """
    from advisor.speed.model import load_model  # noqa: PLC0415 - numpy and scikit-learn take seconds to load
    from advisor.training.evaluation import evaluate_files  # noqa: PLC0415 - as above
    from knowledge.catalog import default_catalog  # noqa: PLC0415 - as above

    return evaluate_files(_several(files), load_model(), default_catalog())


def _several(files: Files) -> Sequence[Path | str]:
    return [files] if isinstance(files, (str, Path)) else files


def serve_page(host: str, port: str) -> int:
    """Run the page until it is interrupted; its exit code.

    Raises:
        UsageError: a port that is none.
        AdvisorError: the page is not installed.
    """
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--port {port!r} is not a port", "write for example --port 8501")
    where = ["--server.address", host, "--server.port", port]
    page = ["-m", "streamlit", "run", _page(), *where, "--browser.gatherUsageStats", "false"]
    return subprocess.call([sys.executable, *page])  # noqa: S603 - our own page; no shell is involved


def stamp() -> str:
    """What answers rest on, as a word that changes with the user's rows, starts, facts and model."""
    from advisor.speed.model import OWN_MODEL  # noqa: PLC0415 - numpy is loaded only when needed

    try:
        home = home_dir()
    except StoreError:
        return ""
    names = (store_path().name, RECEIPTS, OWN_MODEL, "facts")
    return " ".join(_changed(home / name) for name in names)


def _changed(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "-"
    return f"{status.st_mtime_ns}.{status.st_size}.{status.st_ino}"


def doctor() -> Health:
    """What this installation has to work with; nothing is repaired."""
    parts: tuple[tuple[str, Callable[[], str]], ...] = (
        ("versions", _versions),
        ("facts", _facts),
        ("speed model", _speed_model),
        ("home", _home),
        ("store", _store),
        ("own starts", _own_starts),
        ("page", _page),
    )
    checks, codes = [], []
    for name, look in parts:
        try:
            checks.append(Check(name=name, ok=True, detail=look()))
        except AdvisorError as error:
            checks.append(Check(name=name, ok=False, detail=str(error)))
            codes.append(error.exit_code)
    return Health(exit_code=codes[0] if codes else 0, checks=checks)


def installed(package: str) -> str:
    """The package with its version; a checkout that nobody installed has none."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} (not installed)"


def _versions() -> str:
    packages = ("duckdb", "numpy", "pydantic", "scikit-learn", "streamlit", "typer")
    parts = [f"Python {platform.python_version()}", *map(installed, packages)]
    return f"{installed('advisor')}; {', '.join(parts)}"


def _facts() -> str:
    from knowledge.catalog import default_catalog  # noqa: PLC0415 - a facts file that cannot be read is a finding

    catalog = default_catalog()
    return ", ".join(f"{len(getattr(catalog, name))} {name.replace('_', ' ')}" for name in _CATALOG_FILES)


def _speed_model() -> str:
    from advisor.speed.model import load_model, own_model  # noqa: PLC0415 - numpy is loaded only when needed

    model = load_model()
    whose = "your own, " if own_model() else ""
    return f"{whose}fitted on {sum(n for key, n in model.counts.items() if key.endswith('|||'))} figures"


def _home() -> str:
    folder = home_dir()
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise StoreError(
            f"the data folder {folder} cannot be written", "point ADVISOR_HOME at a folder that can"
        )
    return str(folder)


def _store() -> str:
    from knowledge.store import queries  # noqa: PLC0415 - duckdb is loaded only when it is needed
    from knowledge.store.connection import open_store, plain_errors  # noqa: PLC0415 - as above

    with open_store() as store, plain_errors(store.path):
        counts = queries.counts(store.con)
        note = f" ({store.note})" if store.note else ""
    return (
        f"{counts['observations']} runs ({counts['user']} of them yours) of {counts['sources']} sources; "
        f"kept apart: {counts['quarantined']} implausible, {counts['duplicates']} duplicate, "
        f"{counts['rejected']} rejected; of an unknown GPU {counts['unknown_gpu']}, "
        f"of an unknown model {counts['unknown_model']}{note}"
    )


def _own_starts() -> str:
    receipts = own_receipts()
    if not receipts.starts:
        return "none: a start log of llama.cpp or vLLM calibrates answers (advisor ingest boot.log)"
    cards = Counter(receipt.gpu for receipt in receipts.starts)
    on = ", ".join(f"{count} on {card}" for card, count in cards.most_common())
    failed = sum(receipt.outcome == "oom" for receipt in receipts.starts)
    return f"{len(receipts.starts)} of your logs calibrate answers: {on}; {failed} ran out of memory"


def _page() -> str:
    if not app_path().is_file():
        raise AdvisorError("the page is not installed", "install advisor again")
    return str(app_path())
