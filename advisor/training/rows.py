"""Measured rows as cases: the setup that was run, and what each of its figures means.

Sources count differently (a decode rate behind a prompt, a whole-request rate, a batch total); here each
figure gets the sequences, depth, prompt and protocol it was measured under. Nothing is fitted here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from advisor.config import Setup
from advisor.speed.builds import assumed_year, build_year, year_of
from advisor.speed.device import bandwidth_bytes_per_s
from advisor.speed.features import Circumstance, Protocol
from advisor.speed.figures import chunk_tokens
from advisor.speed.intervals import Rate, Regime, regime
from advisor.speed.model import Query
from advisor.speed.rates import TENSOR_PARALLEL_ENGINES
from advisor.training.row_setups import setup_of
from knowledge.catalog import Catalog
from knowledge.sources import source_of
from knowledge.units import BYTES_PER_MIB

Kind = Literal["decode", "total", "prefill", "ttft"]
Figure = Literal["decode_tps", "decode_tps_total", "prefill_tps", "ttft_ms", "vram_used_gib"]

FIGURE_OF: Mapping[Kind, Figure] = {
    "decode": "decode_tps", "total": "decode_tps_total", "prefill": "prefill_tps", "ttft": "ttft_ms",
}  # fmt: skip
"""Kinds of speed cases by the contract's names."""

_SPECULATION = re.compile(r"\b(mtp|eagle\d?|dflash|draft|speculat\w*|ngram|nextn|medusa)\b", re.IGNORECASE)
_NO_SPECULATION = re.compile(r"\b(no|without|off|disabled)[ -](mtp|draft|speculat\w*)", re.IGNORECASE)
_WHOLE_REQUEST = re.compile(
    r"wall (tok|rate|output|tps)|end.to.end|prefill includ|incl\. prefill|includes prefill|whole.request|"
    r"\be2e\b",
    re.IGNORECASE,
)
_PLAIN_BLAS = re.compile(r"hipblaslt=0|llama\.cpp-(?:hip|rocwmma) ;")
"""hipBLASLt off, or a build listed without it beside the same build with it."""
_UNSTATED = "unstated"
"""Speculation that only its speed betrays."""
_DECODE_SLACK = 1.05


@dataclass(frozen=True, slots=True)
class Case:
    """One figure of one run: `measured` (tok/s; `ttft` in ms) is the answer to `query`."""

    row: int
    kind: Kind
    measured: float
    query: Query
    gen: float
    source: str
    speculation: str = "none"
    offloaded: bool = False
    own: bool = False
    """Measured by the user, not shipped."""

    @property
    def setup(self) -> Setup:
        """What was run."""
        return self.query.setup

    @property
    def rate(self) -> Rate:
        """Which errors its interval comes from."""
        return "decode" if self.kind == "total" else self.kind

    @property
    def regime(self) -> Regime:
        """The kind of run, as intervals and reports slice it."""
        return regime(
            cpu=self.setup.gpu.kind == "cpu",
            offloaded=self.offloaded,
            sequences=self.query.sequences,
            devices=self.setup.launch.gpu_count,
            depth=self.query.depth,
            speculative=self.speculation != "none",
        )


@dataclass(slots=True)
class Cases:
    """All cases of some rows, and why the other rows gave none (reason → rows)."""

    cases: list[Case] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    rows: int = 0

    def skip(self, reason: str) -> None:
        """Count one row that cannot be scored."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


def speculation_of(row: Mapping[str, Any]) -> str:
    """The row's speculative decoding: the stated method, or one that its flags, notes or names betray."""
    stated = row.get("spec_decode") or ""
    if stated:
        return str(stated)
    text = " ".join(str(row.get(key) or "") for key in ("flags", "notes", "quant"))
    found = None if _NO_SPECULATION.search(text) else _SPECULATION.search(text)
    return found.group(1).lower() if found else "none"


def _year(row: Mapping[str, Any], setup: Setup) -> float:
    """When the engine was built: its version's date, else the day of the run, else soon after its parts."""
    built = build_year(setup.launch.engine, setup.launch.engine_version)
    if built is not None:
        return built
    seen = year_of(str(row.get("observed_on") or ""))
    return assumed_year(setup) if math.isnan(seen) else seen


def _outruns(setup: Setup, decode_tps: float) -> bool:
    """Whether one sequence is faster than the weights of a token can be read: tokens were guessed ahead."""
    gpu, devices = setup.gpu, setup.launch.gpu_count
    cached = (gpu.l2_mib or 0) * BYTES_PER_MIB * devices
    read = setup.weights.per_token(setup.model) - cached
    return decode_tps * read > _DECODE_SLACK * bandwidth_bytes_per_s(gpu) * devices


def cases_of_row(index: int, row: Mapping[str, Any], setup: Setup) -> Iterator[Case]:
    """The figures of one row, each with what it was measured under."""
    notes = str(row.get("notes") or "")
    flags_notes = f"{row.get('flags') or ''} {notes}"
    engine = setup.launch.engine
    whole = bool(_WHOLE_REQUEST.search(notes))
    plain_blas = setup.launch.backend == "rocm" and bool(_PLAIN_BLAS.search(notes))
    sequences = int(row.get("concurrency") or 1)
    prompt, gen = float(row.get("prompt_tokens") or 0), float(row.get("gen_tokens") or 0)
    stated_depth = row.get("depth")
    depth = float(stated_depth or 0)
    suite = engine == "llamafile"
    bench = stated_depth is not None and (prompt == 0 or gen == 0)
    protocol: Protocol = "suite" if suite else "bench" if bench else "server"
    # A decode rate averages over the tokens generated, behind whatever prompt the request brought.
    decode_depth = depth + (prompt if protocol != "bench" or gen > 0 else 0.0) + gen / 2
    if suite:
        decode_depth, prompt = 1024.0, 1024.0
    chunk = chunk_tokens(setup)
    offloaded = setup.gpu.kind != "cpu" and (
        setup.launch.n_cpu_moe > 0 or setup.launch.n_gpu_layers is not None
    )

    decode = row.get("decode_tps")
    if decode is None and row.get("tpot_ms"):
        decode = 1000.0 / row["tpot_ms"]
    own = row.get("origin") == "user"
    speculation = speculation_of(row)
    if speculation == "none" and decode and sequences == 1 and _outruns(setup, decode):
        speculation = _UNSTATED

    def case(kind: Kind, measured: float, at: float, protocol: Protocol) -> Case:
        circumstance = Circumstance(_year(row, setup), protocol, plain_blas)
        query = Query(setup, float(sequences), at, prompt, chunk, circumstance)
        source = source_of(str(row["source_url"]))
        return Case(index, kind, measured, query, gen, source, speculation, offloaded, own)

    if decode:
        yield case("decode", decode, decode_depth, "end_to_end" if whole and sequences == 1 else protocol)
    total = row.get("decode_tps_total")
    if total and sequences > 1:
        # Totals of servers are output tokens over wall time unless the source counted a steady window.
        steady = re.search(r"window|steady|generation counter|decode tok", notes, re.IGNORECASE)
        ends = whole or (engine in TENSOR_PARALLEL_ENGINES and not steady and prompt > 0)
        yield case("total", total, decode_depth, "end_to_end" if ends else protocol)
    prefill = row.get("prefill_tps")
    if prefill and prompt > 0 and "prefix" not in flags_notes.lower():
        yield case("prefill", prefill, depth, protocol)
    if row.get("ttft_ms") and prompt > 0 and "prefix" not in flags_notes.lower():
        yield case("ttft", row["ttft_ms"], depth, protocol)


def cases_of(rows: Iterable[Mapping[str, Any]], catalog: Catalog) -> Cases:
    """Cases of many rows; rows that give none are counted by reason."""
    out = Cases()
    setups: dict[tuple[Any, ...], Setup | str] = {}
    for index, row in enumerate(rows):
        out.rows += 1
        if row.get("outcome") not in (None, "", "ok"):
            out.skip("did not run (out of memory or error)")
            continue
        key = tuple(row.get(name) for name in _SETUP_COLUMNS)
        setup = setups.get(key)
        if setup is None:
            setup = setups[key] = setup_of(row, catalog)
        if isinstance(setup, str):
            out.skip(setup)
            continue
        before = len(out.cases)
        out.cases.extend(cases_of_row(index, row, setup))
        if len(out.cases) == before:
            out.skip("no speed figure")
    return out


_SETUP_COLUMNS = (
    "model", "params_b", "weights_gib", "quant", "engine", "engine_version", "backend", "gpu", "gpu_count",
    "vram_gib", "tp", "ngl", "n_cpu_moe", "offload", "kv_type_k", "kv_type_v", "flash_attn", "ctx_limit",
    "depth", "prompt_tokens", "concurrency", "batch", "ubatch", "notes", "flags", "observed_on",
)  # fmt: skip
