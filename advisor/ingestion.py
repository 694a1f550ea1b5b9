"""Taking a person's files in: runs into the store, starts into the receipts, notes and flags into the facts.

It wires the rooms that do it, for good or as a trial that keeps nothing; it reads no formats and predicts
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.listings import Ingested, Reject
from advisor.own_facts import Kind, Taken, kind_of, take
from advisor.receipts import Receipt, own_receipts, receipt_of, remember, unknown
from knowledge.paths import home_dir, store_path

if TYPE_CHECKING:
    from knowledge.ingest.files import Trial
    from knowledge.ingest.opening import Reading
    from knowledge.ingest.report import IngestReport

Files = Sequence[Path | str] | Path | str
"""One file or several."""

_LOCK_SECONDS = 10.0
"""How long an ingestion waits for another one to have noted its starts."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What an ingestion would come to: its balance, the new starts, and the runs."""

    balance: Ingested
    starts: list[Receipt]
    trial: Trial


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Files by what they hold: runs and starts, which have one road, and facts."""

    way: Reading
    runs: list[Path | str]
    facts: list[tuple[Path | str, Kind]]


def ingest(
    files: Files,
    *,
    dry_run: bool = False,
    file_format: str = "auto",
    gpu: str | None = None,
    model: str | None = None,
    folder: Path | str | None = None,
) -> Ingested:
    """Add files (`-`: standard input) to the user's store, in one transaction.

    They are CSV of runs, outputs of llama-bench, or start logs; `gpu` and `model` say what a file does not.
    Starts that logs tell of calibrate the next answers. CSV of release notes or flags joins the facts. With
    `folder` the files are named within it, and called so in the report and the store.

    Raises:
        UsageError: a file that cannot be read so, or an unknown name; nothing is added then.
        StoreError: the store is locked, cannot be written or is newer; nothing is added then.
        AdvisorError: the receipts of earlier starts are damaged; nothing is added then.
    """
    from knowledge.ingest.files import ingest_files  # noqa: PLC0415 - duckdb is loaded only when it is needed
    from knowledge.ingest.report import IngestReport  # noqa: PLC0415 - as above
    from knowledge.store.lock import writer_lock  # noqa: PLC0415 - as above

    given = _sorted(files, file_format, gpu, model, folder)
    own_receipts()  # damaged ones are said before anything is done
    alone = given.facts and not given.runs
    report = IngestReport() if alone else ingest_files(given.runs, dry_run=dry_run, way=given.way)
    starts = _starts(report)
    if dry_run or not (starts or given.facts):
        new = len(unknown(starts, own_receipts()))
        return _balance(report, starts, new, _facts(given, keep=False), dry_run=dry_run)
    home_dir().mkdir(parents=True, exist_ok=True)
    with writer_lock(home_dir(), wait_seconds=_LOCK_SECONDS):
        new = remember(starts, own_receipts()) if starts else 0
        return _balance(report, starts, new, _facts(given, keep=True), dry_run=False)


def tried(
    files: Files,
    *,
    most: int,
    file_format: str = "auto",
    gpu: str | None = None,
    model: str | None = None,
    folder: Path | str | None = None,
) -> Tried:
    """What `ingest` would do, which does nothing; with the user's runs, at most so many.

    Raises:
        UsageError, StoreError, AdvisorError: as `ingest`.
    """
    from knowledge.ingest.files import Trial, try_files  # noqa: PLC0415 - duckdb is loaded only when needed
    from knowledge.ingest.report import IngestReport  # noqa: PLC0415 - as above

    given, known = _sorted(files, file_format, gpu, model, folder), own_receipts()
    alone = given.facts and not given.runs
    trial = Trial(IngestReport(), [], []) if alone else try_files(given.runs, most=most, way=given.way)
    starts = _starts(trial.report)
    new = unknown(starts, known)
    balance = _balance(trial.report, starts, len(new), _facts(given, keep=False), dry_run=True)
    return Tried(balance, new, trial)


def _sorted(
    files: Files, file_format: str, gpu: str | None, model: str | None, folder: Path | str | None
) -> _Sorted:
    from knowledge.ingest.opening import reading  # noqa: PLC0415 - duckdb is loaded only when it is needed
    from knowledge.ingest.streams import placed  # noqa: PLC0415 - as above

    way = reading(file_format, gpu, model, folder)
    paths = [files] if isinstance(files, (str, Path)) else list(files)
    tables = paths if file_format in {"auto", "csv"} else []
    kinds = {path: kind for path in tables if (kind := kind_of(placed(path, way.folder)))}
    facts = [(placed(path, way.folder), kind) for path, kind in kinds.items()]
    return _Sorted(way, [path for path in paths if path not in kinds], facts)


def _starts(report: IngestReport) -> list[Receipt]:
    receipts = (receipt_of(item.row, item.names) for item in report.receipts)
    return [receipt for receipt in receipts if receipt is not None]


def _facts(given: _Sorted, *, keep: bool) -> list[Taken]:
    return [take(path, kind, keep=keep) for path, kind in given.facts]


def _balance(
    report: IngestReport, starts: list[Receipt], new: int, taken: list[Taken], *, dry_run: bool
) -> Ingested:
    misfits = [reject for one in taken for reject in one.rejects]
    return Ingested(
        read=report.read + sum(one.read for one in taken),
        added=report.added + sum(one.added for one in taken),
        duplicates=report.duplicates + sum(one.duplicates for one in taken),
        rejected=report.rejected + len(misfits),
        quarantined=report.quarantined,
        rejects=[Reject(**asdict(reject)) for reject in [*report.rejects, *misfits]],
        quarantine=[Reject(**asdict(reject)) for reject in report.held],
        effect={
            "dry_run": dry_run,
            "store": str(store_path()),
            "next": "advisor train" if report.added > len(report.receipts) and not dry_run else None,
            "starts": [start.model_dump(exclude_none=True) for start in starts],
            "new_starts": new,
            "facts": sum(one.added for one in taken),
        },
    )
