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

from advisor.config import Host, LaunchConfig, Setup
from advisor.speed.builds import assumed_year, build_year, year_of
from advisor.speed.features import Circumstance, Protocol
from advisor.speed.intervals import Regime, regime
from advisor.speed.model import Query
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.kv_types import normalise_kv_type
from knowledge.names.quant import match_quant
from knowledge.schema import Gpu, ModelSpec, Quant
from knowledge.sources import source_of
from knowledge.weights import best_weight_bytes

Kind = Literal["decode", "total", "prefill", "ttft"]

_SPECULATION = re.compile(r"\b(mtp|eagle\d?|dflash|draft|speculat\w*|ngram|nextn|medusa)\b", re.IGNORECASE)
_NO_SPECULATION = re.compile(r"\b(no|without|off|disabled)[ -](mtp|draft|speculat\w*)", re.IGNORECASE)
_WHOLE_REQUEST = re.compile(
    r"wall (tok|rate|output|tps)|end.to.end|prefill includ|incl\. prefill|includes prefill|whole.request|"
    r"\be2e\b",
    re.IGNORECASE,
)
_CPU_MOE_NOTE = re.compile(r"(\d+) layers' MoE tensors on CPU", re.IGNORECASE)
_DDR_NOTE = re.compile(r"DDR[345][X]?-(\d{4,5})", re.IGNORECASE)
_SERVER_ENGINES = frozenset({"vllm", "sglang", "tensorrt-llm", "lmdeploy"})
_USUAL_ENGINE = "llama.cpp"
_VENDOR_BACKEND = {"NVIDIA": "cuda", "Apple": "metal"}
_MAX_NGL = 90
"""`-ngl 99` and the like mean all layers."""


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

    @property
    def setup(self) -> Setup:
        """What was run."""
        return self.query.setup

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


_NATIVE_QUANTS = {
    "gpt-oss": "MXFP4",
    "DeepSeek V3": "FP8",
    "DeepSeek R1": "FP8",
    "DeepSeek V4": "FP8",
    "MiniMax M2": "FP8",
}
"""What the repositories of some families hold; the others publish BF16."""


def default_quant(model: ModelSpec, engine: str, catalog: Catalog) -> Quant | None:
    """The format a row that names none was most likely run in: that of its repository, or the usual GGUF."""
    if engine in _SERVER_ENGINES:
        return match_quant(_NATIVE_QUANTS.get(model.family, "BF16"), catalog)
    if engine == "mlx":
        return match_quant("MLX-4bit", catalog)
    if engine in {"exllamav3", "exllamav2"}:
        return None
    return match_quant("MXFP4" if model.family == "gpt-oss" else "Q4_K_M", catalog)


def _placement(row: Mapping[str, Any], gpu: Gpu, model: ModelSpec) -> tuple[int | None, int] | str:
    """(n_gpu_layers, n_cpu_moe) of the row, or why its placement is not known."""
    if gpu.kind == "cpu":
        return None, 0
    ngl, n_cpu_moe = row.get("ngl"), row.get("n_cpu_moe")
    note = _CPU_MOE_NOTE.search(str(row.get("notes") or ""))
    if n_cpu_moe is None and note:
        n_cpu_moe = int(note.group(1))
    layers = None if ngl is None or ngl < 0 or ngl > min(model.n_layers, _MAX_NGL) else int(ngl)
    if row.get("offload") == "partial" and layers is None and not n_cpu_moe:
        return "partial offload without a stated split"
    if row.get("offload") == "cpu":
        return 0, 0
    return layers, int(n_cpu_moe or 0)


def _named(row: Mapping[str, Any], catalog: Catalog) -> tuple[Gpu, ModelSpec, Quant] | str:
    """What the row is about, or which of its names is not known."""
    gpu, model = catalog.gpus.get(row["gpu_id"] or ""), catalog.models.get(row["model_id"] or "")
    if gpu is None or gpu.bandwidth_gbps is None:
        return "unknown device"
    if model is None:
        return "unknown model"
    if row.get("quant"):
        quant = match_quant(row["quant_id"] or "", catalog)
    else:
        quant = default_quant(model, row.get("engine") or _USUAL_ENGINE, catalog)
    return "unknown quantization" if quant is None else (gpu, model, quant)


def setup_of(row: Mapping[str, Any], catalog: Catalog) -> Setup | str:
    """The setup a row was measured on, or the reason it cannot be told.

    `row` is an observation with the catalog's names of what it is about: `gpu_id`, `model_id`, `quant_id`.
    """
    names = _named(row, catalog)
    if isinstance(names, str):
        return names
    gpu, model, quant = names
    engine = row.get("engine") or _USUAL_ENGINE
    placement = _placement(row, gpu, model)
    if isinstance(placement, str):
        return placement
    count = int(row.get("gpu_count") or row.get("tp") or 1)
    shares_tensors = engine in _SERVER_ENGINES
    tensor_parallel = int(row.get("tp") or (count if shares_tensors else 1))
    weights_gib = row.get("weights_gib")
    ddr = _DDR_NOTE.search(str(row.get("notes") or ""))
    launch = LaunchConfig(
        model=model.hf_id,
        quant=quant.name,
        weights_gib=weights_gib,
        gpu=gpu.name,
        gpu_count=max(count, tensor_parallel),
        vram_gib=row.get("vram_gib") or gpu.memory_gib or 8.0,
        engine=engine,
        engine_version=row.get("engine_version") or None,
        backend=row.get("backend") or ("cpu" if gpu.kind == "cpu" else _VENDOR_BACKEND.get(gpu.vendor)),
        ctx=int(row.get("ctx_limit") or (row.get("depth") or 0) + (row.get("prompt_tokens") or 0) + 4096),
        kv_type_k=normalise_kv_type(row.get("kv_type_k") or "") or "f16",
        kv_type_v=normalise_kv_type(row.get("kv_type_v") or "") or "f16",
        flash_attn=row.get("flash_attn") is not False,
        n_gpu_layers=placement[0],
        n_cpu_moe=placement[1],
        batch=row.get("batch") or 2048,
        ubatch=row.get("ubatch") or 512,
        tensor_parallel=tensor_parallel if shares_tensors else 1,
        concurrency=int(row.get("concurrency") or 1),
        parallel=int(row.get("concurrency") or 1),
    )
    # Two channels, as the boards of these notes have.
    host = Host(ram_bandwidth_gbps=int(ddr.group(1)) * 8 * 2 / 1000 if ddr else None)
    try:
        weights = best_weight_bytes(model, quant, catalog, weights_gib)
    except UsageError:
        return "implausible file size"
    setup = Setup(launch, model, quant, weights, gpu, host)
    whole = placement == (None, 0) and gpu.kind == "gpu"
    if whole and weights.total_gib > launch.vram_gib * launch.gpu_count:
        # It ran all the same, so it was not this: another format, or partly on the host.
        stated = bool(row.get("quant"))
        return "larger than the device, split not stated" if stated else "quantization not stated"
    return setup


def _year(row: Mapping[str, Any], setup: Setup) -> float:
    """When the engine was built: its version's date, else the day of the run, else soon after its parts."""
    built = build_year(setup.launch.engine, setup.launch.engine_version)
    if built is not None:
        return built
    seen = year_of(str(row.get("observed_on") or ""))
    return assumed_year(setup) if math.isnan(seen) else seen


def cases_of_row(index: int, row: Mapping[str, Any], setup: Setup) -> Iterator[Case]:
    """The figures of one row, each with what it was measured under."""
    notes = str(row.get("notes") or "")
    flags_notes = f"{row.get('flags') or ''} {notes}"
    engine = setup.launch.engine
    whole = bool(_WHOLE_REQUEST.search(notes))
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
    chunk = float(setup.launch.ubatch)
    if engine in _SERVER_ENGINES:
        chunk = float(row.get("batch") or 2048) if (row.get("batch") or 0) >= 512 else 2048.0
    offloaded = setup.gpu.kind != "cpu" and (
        setup.launch.n_cpu_moe > 0 or setup.launch.n_gpu_layers is not None
    )

    def case(kind: Kind, measured: float, at: float, protocol: Protocol) -> Case:
        circumstance = Circumstance(_year(row, setup), protocol)
        query = Query(setup, float(sequences), at, prompt, chunk, circumstance)
        source = source_of(str(row["source_url"]))
        return Case(index, kind, measured, query, gen, source, speculation_of(row), offloaded)

    decode = row.get("decode_tps")
    if decode is None and row.get("tpot_ms"):
        decode = 1000.0 / row["tpot_ms"]
    if decode:
        yield case("decode", decode, decode_depth, "end_to_end" if whole and sequences == 1 else protocol)
    total = row.get("decode_tps_total")
    if total and sequences > 1:
        # Totals of servers are output tokens over wall time unless the source counted a steady window.
        steady = re.search(r"window|steady|generation counter|decode tok", notes, re.IGNORECASE)
        ends = whole or (engine in _SERVER_ENGINES and not steady and prompt > 0)
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
    "depth", "prompt_tokens", "concurrency", "batch", "ubatch", "notes",
)  # fmt: skip
