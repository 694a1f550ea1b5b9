"""The curated facts: devices, models, quantizations, flags, release notes, rules, quality figures.

Each file in `knowledge/facts/` becomes a tuple of records the first time it is asked for. Nothing is
computed here and no free text is understood: that is `knowledge.names`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar, get_origin

from pydantic import ValidationError

from knowledge.errors import AdvisorError, StoreError
from knowledge.paths import FACTS, own_facts_dir
from knowledge.schema import (
    Claim,
    Effect,
    EngineFlag,
    EngineVersion,
    Flag,
    Gpu,
    ModelQuality,
    ModelSpec,
    Quant,
    Record,
    ReleaseNote,
    Repo,
    Rule,
)

R = TypeVar("R", bound=Record)


def read_facts(path: Path, record: type[R]) -> tuple[R, ...]:
    """All rows of one facts file as records; empty cells take the field's default.

    Raises:
        AdvisorError: naming the file, the line and the column that does not fit.
    """
    rows: list[R] = []
    for line, found in checked_facts(path, record):
        if isinstance(found, Misfit):
            raise AdvisorError(f"{path.name}:{line}: {found.column}: {found.reason}", "mend the row")
        rows.append(found)
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A row that is no record: the column that does not fit, and why."""

    column: str
    reason: str


def checked_facts(path: Path, record: type[R]) -> Iterator[tuple[int, R | Misfit]]:
    """Every row of a facts file with its line: a record, or why it is none."""
    # A cell of a tuple field holds several values, separated by `|`.
    lists = {name for name, field in record.model_fields.items() if get_origin(field.annotation) is tuple}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        for row in reader:
            cells = {
                key: tuple(part for part in value.split("|") if part) if key in lists else value
                for key, value in row.items()
                if value
            }
            try:
                found: R | Misfit = record.model_validate(cells)
            except ValidationError as error:
                first = error.errors()[0]
                found = Misfit(".".join(str(part) for part in first["loc"]), first["msg"])
            yield reader.line_num, found


class Catalog:
    """The facts of one folder, read lazily; keys are the entries' own names.

    `own`: a folder with the user's release notes and flags, which stand beside those and, for a flag of the
    same engine and name, in their stead.
    """

    def __init__(self, folder: Path = FACTS, own: Path | None = None) -> None:
        """Remember the folders; files are opened on first use."""
        self.folder, self.own = folder, own

    @cached_property
    def gpus(self) -> dict[str, Gpu]:
        """Devices by name."""
        return {gpu.name: gpu for gpu in read_facts(self.folder / "gpus.csv", Gpu)}

    @cached_property
    def models(self) -> dict[str, ModelSpec]:
        """Models by Hugging Face id."""
        return {model.hf_id: model for model in read_facts(self.folder / "models.csv", ModelSpec)}

    @cached_property
    def quants(self) -> dict[str, Quant]:
        """Quantization formats by name."""
        return {quant.name: quant for quant in read_facts(self.folder / "quants.csv", Quant)}

    @cached_property
    def flags(self) -> tuple[Flag, ...]:
        """Launch flags of every engine."""
        shipped = read_facts(self.folder / "flags.csv", Flag)
        own = self._own("flags.csv", Flag)
        replaced = {(flag.engine, flag.flag) for flag in own}
        return (*(flag for flag in shipped if (flag.engine, flag.flag) not in replaced), *own)

    @cached_property
    def engine_flags(self) -> tuple[EngineFlag, ...]:
        """Every spelling that the engines' command lines accept."""
        return read_facts(self.folder / "engine_flags.csv", EngineFlag)

    @cached_property
    def engine_versions(self) -> tuple[EngineVersion, ...]:
        """Versions of engines that facts refer to, oldest first per engine."""
        return read_facts(self.folder / "engine_versions.csv", EngineVersion)

    @cached_property
    def repos(self) -> tuple[Repo, ...]:
        """Repositories that hold a model in some quantizations."""
        return read_facts(self.folder / "repos.csv", Repo)

    @cached_property
    def release_notes(self) -> tuple[ReleaseNote, ...]:
        """Release notes, oldest first per engine; the user's own last."""
        shipped = read_facts(self.folder / "release_notes.csv", ReleaseNote)
        return (*shipped, *self._own("release_notes.csv", ReleaseNote))

    @cached_property
    def effects(self) -> tuple[Effect, ...]:
        """Published pairs of runs that differ in one thing."""
        return read_facts(self.folder / "effects.csv", Effect)

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """Claims of releases, held against what was measured."""
        return read_facts(self.folder / "claims.csv", Claim)

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """Validity rules."""
        return read_facts(self.folder / "rules.csv", Rule)

    @cached_property
    def quality(self) -> dict[str, ModelQuality]:
        """Public quality on the common scale, by Hugging Face id."""
        return {row.hf_id: row for row in read_facts(self.folder / "model_quality.csv", ModelQuality)}

    def _own(self, name: str, record: type[R]) -> tuple[R, ...]:
        path = self.own / name if self.own else None
        return read_facts(path, record) if path and path.exists() else ()


def default_catalog() -> Catalog:
    """The shipped facts and the user's own, read once per process and again when the user's have changed."""
    try:
        own = own_facts_dir()
    except StoreError:
        return _catalog(None, 0)  # nobody's home: only what is shipped can be meant
    try:
        changed = own.stat().st_mtime_ns
    except OSError:
        return _catalog(None, 0)
    return _catalog(own, changed)


@lru_cache(maxsize=4)
def _catalog(own: Path | None, _changed: int) -> Catalog:
    return Catalog(own=own)
