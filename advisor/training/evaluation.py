"""Scoring predictions against the measured rows of files, without learning from them.

Files are read, checked and weighed as for ingestion; speeds come from the loaded model by the same road as in
validation, memory and risk by the same as in answers. What a score is, `advisor.training.metrics` says.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

from advisor.config import GpuMemory, Setup
from advisor.listings import Evaluated
from advisor.risk import family_of, risk_under, spreads, standard_error_mib
from advisor.speed.intervals import LEVEL
from advisor.speed.model import SpeedModel
from advisor.training.memory_cases import MemoryCase, case_of, misplaced
from advisor.training.memory_scores import held_mib
from advisor.training.metrics import Compared, Group, Outcome, Scored, metrics_of, slices_of
from advisor.training.predicting import predict_cases
from advisor.training.rows import FIGURE_OF, Case, cases_of
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.ingest.csv_rows import Chunk, open_csv
from knowledge.ingest.identity import has_figure
from knowledge.ingest.plausibility import Judge
from knowledge.ingest.resolving import Names, Resolver
from knowledge.ingest.validation import validate
from knowledge.schema import Observation
from knowledge.units import MIB_PER_GIB

_RATES = ("decode_tps", "decode_tps_total", "prefill_tps", "ttft_ms", "tpot_ms")
_DEVIATIONS = NormalDist().inv_cdf((1 + LEVEL) / 2)


@dataclass(slots=True)
class Row:
    """A believable row on its way: what it gave, or why it gave nothing, for speed and for memory."""

    speed: list[Case] | str
    memory: list[Scored] | str
    reason: str
    """Why it is left out, should nothing of it be scored."""


class Evaluation:
    """Takes files chunk by chunk; every record is scored or counted with a reason."""

    def __init__(self, model: SpeedModel, catalog: Catalog) -> None:
        """Score `model`; names are resolved in `catalog`."""
        self._model, self._catalog = model, catalog
        self._resolver, self._judge = Resolver(catalog), Judge()
        self._rows = 0
        self._skipped: Counter[str] = Counter()
        self._scored_rows = 0
        self._scored: list[Scored] = []

    def take_file(self, path: Path | str) -> None:
        """Score one CSV (`-`: standard input).

        Raises:
            UsageError: when the file as a whole is not ours.
        """
        with open_csv(path) as source:
            for chunk in source.chunks():
                self._take_chunk(chunk)

    def answer(self) -> Evaluated:
        """The scores of everything taken so far."""
        return Evaluated(
            rows=self._rows,
            scored=self._scored_rows,
            skipped=dict(sorted(self._skipped.items())),
            metrics=metrics_of(self._scored),
            slices=slices_of(self._scored),
        )

    def _take_chunk(self, chunk: Chunk) -> None:
        self._rows += len(chunk)
        self._skip("rejected: no record of the header's columns", len(chunk.rejects))
        good, bad = validate(record.cells for record in chunk.records)
        for _, column, _ in bad:
            self._skip(f"rejected: {column} cannot be read")
        rows = [row for _, observation in good if (row := self._row(observation))]
        # All steps of a chunk at once: the trees are walked together.
        cases = [case for row in rows if isinstance(row.speed, list) for case in row.speed]
        predicted = iter(predict_cases(self._model, cases).tolist() if cases else [])
        for row in rows:
            found: list[Scored] = list(row.memory) if isinstance(row.memory, list) else []
            if isinstance(row.speed, list):
                found += [self._compare(case, next(predicted)) for case in row.speed]
            if found:
                self._scored_rows += 1
                self._scored += found
            else:
                self._skip(row.reason)

    def _skip(self, reason: str, rows: int = 1) -> None:
        if rows:
            self._skipped[reason] += rows

    def _row(self, observation: Observation) -> Row | None:
        names = self._resolver.resolve(observation)
        if observation.outcome == "ok" and not has_figure(observation):
            self._skip("nothing was measured")
            return None
        if self._judge.reason(observation, names):
            self._skip("says the impossible")
            return None
        speed, memory = self._speed(observation, names), self._memory(observation, names)
        # A row is left out for the reason that concerns what it measured.
        timed = observation.outcome == "ok" and any(getattr(observation, name) for name in _RATES)
        told = speed if timed else memory
        return Row(speed, memory, told if isinstance(told, str) else "")

    def _speed(self, observation: Observation, names: Names) -> list[Case] | str:
        row = {
            **observation.__dict__,
            "gpu_id": names.gpu and names.gpu.name,
            "model_id": names.model and names.model.hf_id,
            "quant_id": names.quant and names.quant.name,
        }
        try:
            found = cases_of([row], self._catalog)
        except UsageError:
            return "implausible file size"
        return found.cases or next(iter(found.skipped))

    def _memory(self, observation: Observation, names: Names) -> list[Scored] | str:
        cells = {name: "" if value is None else str(value) for name, value in observation.__dict__.items()}
        case = case_of(cells, names, self._catalog)
        if isinstance(case, str):
            return case
        group = self._group(case.setup)
        found: list[Scored] = []
        if case.used_mib is not None and not case.oom:
            found.append(_compare_memory(case, case.used_mib, group))
        unknown = misplaced(case, trust_stated=True)
        if not unknown:
            spread = spreads()[family_of(case.setup.launch.engine)]
            found.append(Outcome(case.oom, risk_under(case.demand, spread).full, group))
        return found or unknown

    def _compare(self, case: Case, predicted: float) -> Compared:
        tier = self._model.support(case.setup).tier
        half = self._model.widths.of(case.rate, tier, case.regime)
        covered = abs(math.log(case.measured / predicted)) <= half
        return Compared(FIGURE_OF[case.kind], case.measured, predicted, covered, self._group(case.setup))

    def _group(self, setup: Setup) -> Group:
        support = self._model.support(setup)
        return Group(setup.launch.engine, setup.gpu.name, support.gpu_rows > 0, support.model_rows > 0)


def _compare_memory(case: MemoryCase, used_mib: float, group: Group) -> Compared:
    """Memory in use over all devices, against the estimate and the spread that risk reckons with."""
    spread = spreads()[family_of(case.setup.launch.engine)]
    devices: Sequence[GpuMemory] = case.memory.per_gpu or [case.memory]
    held = sum(held_mib(case.setup, device) for device in devices)
    # Estimates of equal cards are wrong together.
    error = sum(standard_error_mib(case.demand, device, spread) for device in devices)
    covered = abs(used_mib - held * (1 + spread.shift)) <= _DEVIATIONS * error
    return Compared("vram_used_gib", used_mib / MIB_PER_GIB, held / MIB_PER_GIB, covered, group)


def evaluate_files(paths: Sequence[Path | str], model: SpeedModel, catalog: Catalog) -> Evaluated:
    """Score `model` against all rows of CSV files.

    Raises:
        UsageError: no file, or a path that is no CSV of ours.
    """
    if not paths:
        raise UsageError("no file to evaluate", "write for example: advisor evaluate runs.csv")
    evaluation = Evaluation(model, catalog)
    for path in paths:
        evaluation.take_file(path)
    return evaluation.answer()
