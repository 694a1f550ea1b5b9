"""Write `docs/founding_questions.md`: the questions this project began with, beside what was measured.

Every figure comes through `advisor.service`, as for anybody else. Run it again after each training.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor import service
from advisor.asking import Options, flag_of
from advisor.config import Interval, Prediction
from knowledge.units import MIB_PER_GIB, format_tps

OUTPUT = Path(__file__).parents[1] / "docs" / "founding_questions.md"
SOURCE = "Daily Insights"
"""The pages that the questions come from, as the runs taken from them name their source."""

SMALL: Options = {"model": "qwen3.5-35b-a3b", "quant": "Q4_K_M", "weights_gib": 18.35}
"""The 4-bit file of the questions: 19.7 GB."""
BIG: Options = {"gpu": "4090", "vram": 48}
DENSE_FP8: Options = {**BIG, "model": "qwen3.5-27b", "quant": "FP8"}
SMALL_FP8: Options = {**BIG, "model": "qwen3.5-35b-a3b", "quant": "FP8"}

Run = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One row of the table: what is asked, how, and which measured runs stand beside it."""

    name: str
    options: Options
    measured: Callable[[Run], bool]
    ranked: bool = False
    """Whether the program chooses the flags (recommend) or takes the engine's own (predict)."""


@dataclass(frozen=True)
class Question:
    """A question and its cases."""

    title: str
    cases: tuple[Case, ...]


def _is(model: str, quant: str, gpu: str, **cells: object) -> Callable[[Run], bool]:
    def matches(run: Run) -> bool:
        named = (run["model"], run["quant"], run["gpu_id"]) == (model, quant, gpu)
        return named and all(run[name] == value for name, value in cells.items())

    return matches


def _never(_: Run) -> bool:
    return False


MOE, DENSE, MODDED = "Qwen3.5-35B-A3B", "Qwen3.5-27B", "RTX 4090 48GB (modded)"

QUESTIONS = (
    Question(
        "Qwen3.5-35B-A3B in 4 bits (19.7 GB) on a 24 GiB RTX 3090",
        (
            Case("4K, default flags", {**SMALL, "gpu": "3090", "ctx": 4096},
                 _is(MOE, "4-bit", "RTX 3090", ctx_limit=4096)),
            Case("262K, default flags", {**SMALL, "gpu": "3090", "ctx": 262144},
                 _is(MOE, "4-bit", "RTX 3090", ctx_limit=262144, outcome="oom")),
            Case("262K, as recommended", {**SMALL, "gpu": "3090", "ctx": 262144},
                 _is(MOE, "4-bit", "RTX 3090", ctx_limit=262144, outcome="ok"), ranked=True),
        ),
    ),
    Question(
        "Qwen3.5-27B in FP8 on a 48 GiB RTX 4090, 200K of context",
        (
            Case("one user, short so far", {**DENSE_FP8, "ctx": "200k", "kv_type": "fp8"},
                 _is(DENSE, "FP8", MODDED, depth=None, concurrency=1)),
            Case("one user, 200K in the cache",
                 {**DENSE_FP8, "ctx": "200k", "kv_type": "fp8", "depth": "200k", "prompt": 4000},
                 _is(DENSE, "FP8", MODDED, depth=200000, concurrency=1)),
            Case("six users of 200K each", {**DENSE_FP8, "ctx": "200k", "kv_type": "fp8", "concurrency": 6},
                 _never),
            Case("six users of 32K each",
                 {**DENSE_FP8, "ctx": "32k", "kv_type": "fp8", "concurrency": 6, "max_num_seqs": 6},
                 _is(DENSE, "FP8", MODDED, concurrency=6)),
        ),
    ),
    Question(
        "Qwen3.5-35B-A3B in FP8 on the same card",
        (
            Case("short so far", {**SMALL_FP8, "ctx": "200k", "max_num_seqs": 1},
                 _is(MOE, "FP8", MODDED, depth=None)),
            Case("200K in the cache", {**SMALL_FP8, "ctx": "200k", "depth": "200k", "max_num_seqs": 1},
                 _is(MOE, "FP8", MODDED, depth=200000)),
        ),
    ),
    Question(
        "Qwen3.5-35B-A3B in 4 bits elsewhere, 8K of context",
        (
            Case("RTX 4090", {**SMALL, "gpu": "4090", "ctx": 8192}, _is(MOE, "4-bit", "RTX 4090")),
            Case("RTX 5090", {**SMALL, "gpu": "5090", "ctx": 8192}, _is(MOE, "4-bit", "RTX 5090")),
            Case("RX 6800 XT with 64 GiB of RAM", {**SMALL, "gpu": "6800 xt", "ctx": 8192, "ram": 64},
                 _is(MOE, "4-bit", "RX 6800 XT"), ranked=True),
        ),
    ),
)  # fmt: skip


def main() -> None:
    runs = service.observations(text=SOURCE, limit=1000).observations
    parts = [_question(question, runs) for question in QUESTIONS]
    OUTPUT.write_text("\n".join([_INTRODUCTION, *parts]), encoding="utf-8")
    print(f"wrote {OUTPUT.name}")


_INTRODUCTION = """# The founding questions

This page is written by `python scripts/founding_questions.py`; do not edit it. Predicted figures are medians
with their central 80 % interval, tokens per second of one user; in brackets where a configuration does not
fit. What was measured comes from `data/observations/daily_insights.csv`, whose runs rarely state engine,
flags and depth. They are among the rows that the model was fitted on, so this page shows consistency, not
skill: for that see `docs/model_card.md`.
"""


def _question(question: Question, runs: list[Run]) -> str:
    rows, commands = [], []
    for case in question.cases:
        answer = _answer(case)
        memory = answer.prediction.memory
        need, have = memory.total_mib / MIB_PER_GIB, memory.available_mib / MIB_PER_GIB
        speed = answer.prediction.decode_tps
        risk = answer.prediction.oom_probability
        cells = [
            case.name,
            _interval(speed) if answer.prediction.fits else f"[{_interval(speed)}]",
            f"{need:.1f} of {have:.1f} GiB",
            "<0.1 %" if risk < 0.001 else f"{100 * risk:.3g} %",
            "yes" if answer.prediction.fits else "**no**",
            _measured([run for run in runs if case.measured(run)]),
        ]
        rows.append(f"| {' | '.join(cells)} |")
        asked = shlex.join(["advisor", "recommend" if case.ranked else "predict", *_words(case.options)])
        commands.append(f"{case.name}:\n\n```sh\n{asked}\n# {answer.command}\n```\n")
    head = "| case | predicted tok/s | memory | OOM risk | fits | measured |\n|---|---|---|---|---|---|"
    return "\n".join([f"## {question.title}\n", head, *rows, "", *commands])


def _answer(case: Case) -> Prediction:
    if not case.ranked:
        return service.predict(**case.options)
    return service.recommend(**case.options).recommendations[0]


def _words(options: Options) -> list[str]:
    return [word for name, value in options.items() for word in (flag_of(name), str(value))]


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    return f"{format_tps(interval.value)} ({format_tps(interval.low)}–{format_tps(interval.high)})"


def _measured(runs: list[Run]) -> str:
    figures = [run["outcome"] if run["decode_tps"] is None else f"{run['decode_tps']:g}" for run in runs]
    return ", ".join(sorted(figures)) or "–"


if __name__ == "__main__":
    main()
