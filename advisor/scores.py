"""How wrong the loaded speed model is, by part and slice, as the referee wrote it down when it was trained.

It reads what `advisor train` wrote beside the model card and scores nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from advisor.config import Answer
from advisor.listings import Listing
from advisor.speed.model import SCORES, own_model
from knowledge.errors import AdvisorError
from knowledge.paths import bundle_root, home_dir

_Scores = Mapping[str, Mapping[str, float]]
_READ = TypeAdapter(dict[str, dict[str, dict[str, float]] | float])


class SliceScore(Answer):
    """How far off predictions were of a part of the figures (`decode`, `prefill` …), or of a slice of it.

    `slice` is `all`, a property (`device`, `depth` …), or what was left out of the fit (`new source`,
    `new gpu`, `new model`); scores of the others are of rows that the fit has seen. `error`: median of
    |predicted − measured| ÷ measured; the others are shares of the figures.
    """

    part: str
    slice: str
    group: str
    figures: int
    error: float
    within_25pct: float
    coverage_80: float | None


class Accuracy(Listing):
    """The accuracy card of the model that answers; `own`: whether the user trained it."""

    own: bool
    scores: list[SliceScore]


def accuracy() -> Accuracy:
    """Scores of the model that answers, those of rows left out first.

    Raises:
        AdvisorError: the card is not there or damaged.
    """
    own = own_model() is not None
    path = (home_dir() if own else bundle_root() / "docs") / SCORES
    found = _read(path)
    scores = [_score(name, entry) for kind in ("left_out", "fitted") for name, entry in found[kind].items()]
    return Accuracy(own=own, scores=scores)


def _read(path: Path) -> dict[str, _Scores]:
    try:
        content = _READ.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        said = f"the accuracy card {path.name} cannot be read"
        raise AdvisorError(said, "write it anew: advisor train") from error
    tables: dict[str, _Scores] = {}
    for kind in ("left_out", "fitted"):
        table = content.get(kind)
        if not isinstance(table, dict):
            raise AdvisorError(f"the accuracy card {path.name} is damaged", "write it anew: advisor train")
        tables[kind] = table
    return tables


def _score(name: str, entry: Mapping[str, float]) -> SliceScore:
    part, piece, group = (*name.split("/", maxsplit=2), "", "")[:3]
    return SliceScore(
        part=part,
        slice=piece or "all",
        group=group,
        figures=int(entry["figures"]),
        error=entry["error"],
        within_25pct=entry["within_25pct"],
        coverage_80=entry.get("coverage_80"),
    )
