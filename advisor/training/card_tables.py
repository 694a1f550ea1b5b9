"""Tables of the model card: scores of figures and groups as Markdown.

They show what `advisor.training.accuracy` scored, the largest groups first, and leave out scores that would
tell of single reports. What is said around them is the card's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from advisor.listings import FigureScore
from advisor.training.accuracy import PARTS, RULES, Validation
from advisor.training.metrics import CLOSE
from advisor.training.reporters import disagreement
from advisor.training.rows import Kind
from advisor.training.slices import Slice, groups_of
from advisor.training.validate import GROUPS, Scheme

FEW = 20
"""Scores of fewer figures are left out."""
_WORST = 5
_NOTHING = "–"
_WITH_GROUPS = frozenset({"decode", "total", "prefill"})
_GROUP_NAMES: dict[Scheme, str] = {"source": "source", "gpu": "device", "model": "model"}
_SLICE_COLUMNS = (
    "figures", "error", "bias", "within 25 %", "in interval", "simple rule", "llmfit", "new device",
    "new model", "total", "– bias", "prefill", "– bias", "first token",
)  # fmt: skip
_SLICED: tuple[Kind, ...] = ("decode", "total", "prefill", "ttft")

Lines = list[list[str]]


def headline_table(validation: Validation) -> str:
    """Every part under every scheme, decode on GPU beside the rules to beat."""
    schemes = list(validation.predicted)
    lines: Lines = []
    for key, part in PARTS.items():
        chosen = validation.indices(key)
        scores = [validation.score(scheme, chosen) for scheme in schemes]
        lines.append([part.name, f"{len(chosen):,}", *(_headline(score) for score in scores)])
        if key in _WITH_GROUPS:
            medians = [_percent(_median_group(validation, scheme, chosen), 1) for scheme in schemes]
            lines.append(["– the median group", "", *medians])
        for rule in RULES if key == "decode" else ():
            said = [validation.rule_score(rule, scheme, chosen) for scheme in schemes]
            cells = [f"{_percent(score.mdape, 1)} ({_percent(score.within_25pct)})" for score in said]
            lines.append([f"– {rule}", f"{said[0].n:,}", *cells])
    return table(["", "figures", *(f"new {_GROUP_NAMES[scheme]}" for scheme in schemes)], lines)


def slice_table(validation: Validation, piece: Slice) -> str:
    """One line per group that has a score, the largest first."""
    grouped = {
        figure: groups_of(validation.cases, piece.figures(validation.cases, figure), piece)
        for figure in _SLICED
    }
    sizes: dict[str, int] = defaultdict(int)
    for groups in grouped.values():
        for name, chosen in groups.items():
            sizes[name] += len(chosen)
    lines: Lines = []
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        decode, total, prefill, first = (grouped[figure].get(name, []) for figure in _SLICED)
        score = validation.score("source", decode)
        cells = [
            _error(validation, "source", decode),
            _bias(validation, decode),
            _cell(score, score.within_25pct),
            _cell(score, score.coverage_80),
            *(_cell(said := validation.rule_score(rule, "source", decode), said.mdape) for rule in RULES),
            _error(validation, "gpu", decode),
            _error(validation, "model", decode),
            _error(validation, "source", total),
            _bias(validation, total),
            _error(validation, "source", prefill),
            _bias(validation, prefill),
            _error(validation, "source", first),
        ]
        if any(cell != _NOTHING for cell in cells):
            lines.append([name, f"{len(decode):,}", *cells])
    return table([piece.name, *_SLICE_COLUMNS], lines)


def reporters_table(validation: Validation) -> str:
    """Reports of the same run against each other and against predictions, where several sources made them."""
    lines: Lines = []
    for key, part in PARTS.items():
        found = disagreement(validation, validation.indices(key))
        if len(found.among_reporters) >= FEW:
            shares = (_spread(errors) for errors in (found.among_reporters, found.of_predictions))
            lines.append([part.name, f"{found.cells:,}", f"{len(found.among_reporters):,}", *shares])
    return table(["", "runs", "reports", "another reporter", "a prediction"], lines)


def _spread(errors: Sequence[float]) -> str:
    return f"{_percent(median(errors))} ({_percent(sum(error <= CLOSE for error in errors) / len(errors))})"


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


def _error(validation: Validation, scheme: Scheme, chosen: Sequence[int]) -> str:
    score = validation.score(scheme, chosen)
    return _cell(score, score.mdape)


def _bias(validation: Validation, chosen: Sequence[int]) -> str:
    bias = validation.bias("source", chosen) if len(chosen) >= FEW else None
    return _NOTHING if bias is None else f"{100 * bias:+.0f} %"


def _cell(score: FigureScore, share: float | None) -> str:
    return _percent(share if score.n >= FEW else None)


def _percent(share: float | None, digits: int = 0) -> str:
    return _NOTHING if share is None else f"{100 * share:.{digits}f} %"
