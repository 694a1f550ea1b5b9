"""The curated facts: devices, models, quantizations, flags, release notes, rules, quality figures.

Each file in `knowledge/facts/` becomes a tuple of records the first time it is asked for. Nothing is
computed here and no free text is understood: that is `knowledge.names`.
"""

from __future__ import annotations

import csv
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar, get_origin

from pydantic import ValidationError

from knowledge.errors import AdvisorError
from knowledge.paths import FACTS
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
    # A cell of a tuple field holds several values, separated by `|`.
    lists = {name for name, field in record.model_fields.items() if get_origin(field.annotation) is tuple}
    rows: list[R] = []
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            cells = {
                key: tuple(part for part in value.split("|") if part) if key in lists else value
                for key, value in row.items()
                if value != ""
            }
            try:
                rows.append(record.model_validate(cells))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                raise AdvisorError(f"{path.name}:{line}: {where}: {first['msg']}", "mend the row") from error
    return tuple(rows)


class Catalog:
    """The facts of one folder, read lazily; keys are the entries' own names."""

    def __init__(self, folder: Path = FACTS) -> None:
        """Remember the folder; files are opened on first use."""
        self.folder = folder

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
        return read_facts(self.folder / "flags.csv", Flag)

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
        """Release notes, oldest first per engine."""
        return read_facts(self.folder / "release_notes.csv", ReleaseNote)

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


@lru_cache(maxsize=1)
def default_catalog() -> Catalog:
    """The shipped facts, read once per process."""
    return Catalog()
