"""Tables of the model card: scores of figures and groups as Markdown.

They show what `advisor.training.accuracy` scored, the largest groups first, and leave out scores that would
tell of single reports. What is said around them is the card's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from advisor.listings import FigureScore
from advisor.training.accuracy import Validation
from advisor.training.rows import Kind
from advisor.training.slices import Slice, groups_of
from advisor.training.validate import GROUPS, Scheme

FEW = 20
"""Scores of fewer figures are left out."""
NAMES: dict[Kind, str] = {
    "decode": "decode, one sequence",
    "total": "total throughput of several sequences",
    "prefill": "prefill",
    "ttft": "time to first token",
}
_WORST = 5
_NOTHING = "–"
_GROUP_NAMES: dict[Scheme, str] = {"source": "source", "gpu": "device", "model": "model"}
_SLICE_COLUMNS = (
    "figures", "error", "within 25 %", "in interval", "simple rule", "new device", "new model", "total",
    "prefill", "first token",
)  # fmt: skip

Lines = list[list[str]]


def headline_table(validation: Validation) -> str:
    """Every headline figure under every scheme, decode beside the rule to beat."""
    schemes = list(validation.predicted)
    lines: Lines = []
    for figure, name in NAMES.items():
        chosen = validation.indices(figure)
        scores = [validation.score(scheme, chosen) for scheme in schemes]
        lines.append([name, f"{len(chosen):,}", *(_headline(score) for score in scores)])
        medians = [_percent(_median_group(validation, scheme, chosen), 1) for scheme in schemes]
        lines.append(["– the median group", "", *medians])
        simple = [validation.simple_score(scheme, chosen) for scheme in schemes]
        if any(score.n for score in simple):
            cells = [f"{_percent(score.mdape, 1)} ({_percent(score.within_25pct)})" for score in simple]
            lines.append(["– bandwidth ÷ bytes × one constant", f"{simple[0].n:,}", *cells])
    return table(["", "figures", *(f"new {_GROUP_NAMES[scheme]}" for scheme in schemes)], lines)


def slice_table(validation: Validation, piece: Slice) -> str:
    """One line per group that has a score, the largest first."""
    grouped = {
        figure: groups_of(validation.cases, piece.figures(validation.cases, figure), piece)
        for figure in NAMES
    }
    sizes: dict[str, int] = defaultdict(int)
    for groups in grouped.values():
        for name, chosen in groups.items():
            sizes[name] += len(chosen)
    lines: Lines = []
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        decode = grouped["decode"].get(name, [])
        score = validation.score("source", decode)
        others = [
            validation.simple_score("source", decode),
            validation.score("gpu", decode),
            validation.score("model", decode),
            *(validation.score("source", grouped[f].get(name, [])) for f in ("total", "prefill", "ttft")),
        ]
        cells = [
            _cell(score, score.mdape),
            _cell(score, score.within_25pct),
            _cell(score, score.coverage_80),
            *(_cell(other, other.mdape) for other in others),
        ]
        if any(cell != _NOTHING for cell in cells):
            lines.append([name, f"{len(decode):,}", *cells])
    return table([piece.name, *_SLICE_COLUMNS], lines)


def worst_table(validation: Validation, scheme: Scheme) -> str:
    """The groups whose decode of one sequence is predicted worst when they are left out."""
    members = _members(validation, scheme, validation.indices("decode"))
    scores = [
        (name, validation.score(scheme, chosen)) for name, chosen in members.items() if len(chosen) >= FEW
    ]
    scores.sort(key=lambda item: (-(item[1].mdape or 0.0), item[0]))
    lines = [
        [name, f"{score.n:,}", _percent(score.mdape), _percent(score.coverage_80)]
        for name, score in scores[:_WORST]
    ]
    return table([f"new {_GROUP_NAMES[scheme]}", "figures", "error", "in interval"], lines)


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column reads from the left, figures from the right."""
    rules = ["---", *["--:"] * (len(head) - 1)]
    rows = (" | ".join(cell.replace("|", "/") for cell in line) for line in (head, rules, *lines))
    return "\n".join(f"| {row} |" for row in rows)


def _members(validation: Validation, scheme: Scheme, chosen: Sequence[int]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = defaultdict(list)
    for index in chosen:
        members[GROUPS[scheme](validation.cases[index])].append(index)
    return members


def _median_group(validation: Validation, scheme: Scheme, chosen: Sequence[int]) -> float | None:
    """The median over groups of each group's median error."""
    members = _members(validation, scheme, chosen).values()
    errors = [error for group in members if (error := validation.score(scheme, group).mdape) is not None]
    return median(errors) if errors else None


def _headline(score: FigureScore) -> str:
    shares = f"{_percent(score.within_25pct)}, {_percent(score.coverage_80)}"
    return f"{_percent(score.mdape, 1)} ({shares})"


def _cell(score: FigureScore, share: float | None) -> str:
    return _percent(share if score.n >= FEW else None)


def _percent(share: float | None, digits: int = 0) -> str:
    return _NOTHING if share is None else f"{100 * share:.{digits}f} %"
