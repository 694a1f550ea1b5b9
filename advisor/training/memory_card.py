"""The model card's pages on memory: how right the accounting is, and how far its risk can be believed.

It reads the scores that `scripts/fit_risk.py` left in `advisor/risk_constants.json`, and words them.
"""

from __future__ import annotations

import json
from typing import Any

from advisor.risk import CONSTANTS
from advisor.training.card_tables import table


def memory_card() -> str:
    """Two sections of Markdown: memory, and the risk of running out."""
    content = json.loads(CONSTANTS.read_text(encoding="utf-8"))
    return f"{_memory(content)}\n\n{_risk(content)}"


def _memory(content: dict[str, Any]) -> str:
    used = table(
        ["engine", "runs", "median error", "nine in ten within"],
        [
            [engine, f"{found['n']:,}", f"{found['mdape']:.1%}", f"{found['p90']:.0%}"]
            for engine, found in content["memory_in_use"].items()
        ],
    )
    starts = content["vllm_starts"]
    return f"""## Memory

Memory is counted from shapes, formats and the engine's own rules; nothing of it is learnt. Against the own
accounting of llama.cpp (7,167 configurations of 78 models) the KV cache and the recurrent state are met
within 0.011 MiB and compute buffers within 0.2 % in 98 of 100 (`tests/test_memory_llamacpp.py`, which prints
the rest). Runs that state the memory they used, against the estimate:

{used}

An engine's figure is what a tool reported, with the driver's part or without, in GiB or in GB: the floor is
two or three per cent. vLLM fills the share of the card it is given, so its figure hangs on the utilization,
which most rows do not state.

Of {starts["n"]} vLLM start-ups, of which {starts["ran_out"]} failed, {starts["right"]} are judged rightly;
the cache that was left is met within {starts["cache_left"]["mdape"]:.1%} (median of
{starts["cache_left"]["n"]} logs)."""


def _risk(content: dict[str, Any]) -> str:
    fitted, fitting, hard = content["fitted_on"], content["called_fitting"], content["borderline"]
    scores = table(
        ["", "runs", "ran out", "area under the ROC curve", "Brier score", "calibration error"],
        [
            [
                name,
                f"{score['n']:,}",
                f"{score['positives']:,}",
                "–" if score["auc"] is None else f"{score['auc']:.3f}",
                f"{score['brier']:.3f}",
                f"{score['ece']:.3f}",
            ]
            for name, score in content["leave_source_out"].items()
        ],
    )
    return f"""## Risk of running out of memory

Only the spread of the accounting's errors is fitted, on {fitted["cases"]:,} runs of {fitted["sources"]:,}
sources, of which {fitted["oom"]:,} ran out of memory. Each run below was judged by constants fitted without
its source. The spread is fitted apart from the speed model and is not renewed by `advisor train`.

{scores}

Of {fitting["n"]:,} runs whose configuration is called fitting (a risk of at most 5 %),
{fitting["ran_out"]} ran out ({fitting["ran_out"] / fitting["n"]:.1%}). On {hard["n"]} borderline cases,
reported because they nearly fit, the likelier outcome is the real one in
{hard["right"] / hard["n"]:.0%}; of {hard["pairs"]} pairs of a failed and a good run on one machine,
{hard["ordered"] / hard["pairs"]:.0%} are in the right order. What fails there most is a long prompt after a
healthy start, in patched builds whose needs nobody wrote down.

![Predicted risk against the share that ran out](risk_reliability.svg)"""
