"""What a speed model says of measured cases: each in its own unit, as it was measured.

Training, validation and evaluation ask here, and it asks the same `SpeedModel` that answers people. It fits
nothing and knows no errors.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from advisor.speed.coefficients import Coefficients
from advisor.speed.model import Query, SpeedModel, first_token_seconds, prompts_seconds
from advisor.training.rows import Case

Floats = npt.NDArray[np.float64]


def decode_query(case: Case, prefill: Coefficients) -> Query:
    """The case's query with the time that prompts take from each token of a loaded server.

    Output over wall time pays for all prompts (`queue_s`); the rate of one request for those of others that
    arrive while it is answered (`stall_s`).
    """
    query = case.query
    protocol, sequences = query.circumstance.protocol, query.sequences
    if query.prompt <= 0 or case.gen <= 0 or protocol in {"bench", "suite"}:
        return query
    if protocol == "end_to_end":
        return replace(query, queue_s=prompts_seconds(query, prefill, sequences, sequences) / case.gen)
    return replace(query, stall_s=prompts_seconds(query, prefill, sequences - 1, 1.0) / case.gen)


def is_decode(case: Case) -> bool:
    """Whether a case times decoding steps."""
    return case.kind in {"decode", "total"}


def predict_cases(model: SpeedModel, cases: Sequence[Case]) -> Floats:
    """Predicted figure of each case in its own unit: tok/s, or ms for time to first token; shape (cases,)."""
    out = np.full(len(cases), math.nan)
    by_kind: dict[str, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        by_kind[case.kind].append(index)
    for kind, chosen in by_kind.items():
        queries = [decode_query(cases[i], model.prefill_factors) for i in chosen]
        where = np.asarray(chosen)
        if kind in {"decode", "total"}:
            rate = 1.0 / model.decode_seconds(queries)
            rate *= [
                model.speculation_factor(cases[i].speculation, q.setup, q.sequences)
                for i, q in zip(chosen, queries, strict=True)
            ]
            out[where] = rate * (np.asarray([q.sequences for q in queries]) if kind == "total" else 1.0)
        else:
            alone = [replace(query, sequences=1.0) for query in queries] if kind == "ttft" else queries
            seconds = model.prefill_seconds(alone)
            if kind == "prefill":
                out[where] = np.asarray([q.prompt for q in queries]) / seconds
            else:
                steps = model.decode_seconds(queries)
                out[where] = [
                    1e3 * first_token_seconds(prompt, step, cases[i].query.sequences, burst=cases[i].gen == 0)
                    for i, prompt, step in zip(chosen, seconds.tolist(), steps.tolist(), strict=True)
                ]
    return out
