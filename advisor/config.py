"""What is asked and what is answered: `Request`, `LaunchConfig`, `Prediction`, `Recommendation`.

These are the JSON contract. They hold no physics and look nothing up; units stand in the field names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from knowledge.schema import Gpu, ModelSpec, Quant
from knowledge.weights import WeightBytes

SCHEMA_VERSION = 1

Goal = Literal["balanced", "speed", "quality", "context", "throughput"]
Basis = Literal["measured", "interpolated", "extrapolated", "physics"]
Verdict = Literal["fits", "tight", "oom"]


class Answer(BaseModel):
    """Base of everything that is printed: immutable, and every key always present (null when unknown)."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Request(Answer):
    """What is asked: the options of the contract with their values typed and their names resolved.

    `model`, `quant` and `gpu` are the catalog's own names. None leaves a choice open; what is given is kept.
    """

    model: str | None = None
    quant: str | None = None
    weights_gib: float | None = None
    gpu: str
    gpu_count: int = Field(default=1, ge=1)
    vram: float | None = None
    """GiB per GPU, where it is not what the catalog says."""
    vram_used: float | None = None
    headless: bool = False
    engine: str | None = None
    engine_version: str | None = None
    backend: str | None = None
    ctx: int = Field(ge=1)
    depth: int = Field(default=0, ge=0)
    prompt: int = Field(default=2048, ge=1)
    concurrency: int = Field(default=1, ge=1)
    kv_type_k: str | None = None
    kv_type_v: str | None = None
    parallel: int | None = Field(default=None, ge=1)
    kv_unified: bool | None = None
    flash_attn: bool | None = None
    ubatch: int | None = Field(default=None, ge=1)
    ngl: int | None = Field(default=None, ge=0)
    n_cpu_moe: int | None = Field(default=None, ge=0)
    tensor_parallel: int | None = Field(default=None, ge=1)
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    max_num_seqs: int | None = Field(default=None, ge=1)
    max_num_batched_tokens: int | None = Field(default=None, ge=1)
    ram: float | None = None
    ram_bandwidth: float | None = None
    spec: Literal["none", "mtp"] = "none"
    goal: Goal = "balanced"
    min_tps: float | None = Field(default=None, ge=0)
    max_oom: float = Field(default=0.05, ge=0, le=1)
    top: int = Field(default=10, ge=1)


class LaunchConfig(Answer):
    """One exact way to launch one model: the `config` object of the contract.

    `ctx` is tokens per sequence; `depth` tokens already in the cache when decoding starts; `parallel` the
    server's slots (llama.cpp) and `max_num_seqs` the scheduler's limit (vLLM, SGLang, TabbyAPI).
    """

    model: str
    quant: str
    weights_gib: float | None = None
    gpu: str
    gpu_count: int = 1
    vram_gib: float
    engine: str = "llama.cpp"
    engine_version: str | None = None
    backend: str | None = None
    ctx: int
    depth: int = 0
    prompt: int = 2048
    concurrency: int = 1
    kv_type_k: str = "f16"
    kv_type_v: str = "f16"
    flash_attn: bool = True
    n_gpu_layers: int | None = None
    """None: all layers on the GPU."""
    n_cpu_moe: int = 0
    parallel: int | None = None
    kv_unified: bool | None = None
    batch: int = 2048
    ubatch: int = 512
    tensor_parallel: int = 1
    spec_decode: str = "none"
    gpu_memory_utilization: float | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    enforce_eager: bool = False
    prefix_caching: bool | None = None
    swa_full: bool = False
    """Windowed layers keep every token (llama.cpp `--swa-full`)."""
    kv_offload: bool = True
    """Whether the cache lies on the device with its layers (llama.cpp; off with `--no-kv-offload`)."""
    tensor_split: tuple[float, ...] | None = None
    """Each device's part of the layers, in any unit; None: in proportion to the memory."""
    vram_per_gpu_gib: tuple[float, ...] | None = None
    """Memory of each device where they differ; None: `vram_gib` each."""
    mmproj_gib: float | None = None
    """Vision projector on the (first) device; None or 0: not loaded."""
    draft_gib: float | None = None
    """Weights of a separate draft model on the device; None or 0: none is loaded."""
    cache_tokens: int | None = None
    """Tokens of cache that all sequences share (ExLlama); None: the context of every user."""
    cpu_offload_gib: float = 0.0
    """Weights per device that a paged engine keeps in host memory (vLLM `--cpu-offload-gb`)."""
    path: str | None = None
    """File or folder of one's own that the weights are read from."""
    repo: str | None = None
    """Repository on the Hub outside the catalog that they are read from; for GGUF with `:quant` behind."""


@dataclass(frozen=True, slots=True)
class Host:
    """The machine around the GPU: what is already taken there, and where offloaded parts would live."""

    vram_used_gib: float | None = None
    headless: bool = False
    ram_gib: float | None = None
    ram_bandwidth_gbps: float | None = None
    free_mib: float | None = None
    """MiB that a start of the user's own found free on a device; None: estimated."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What starts on the user's own machine measured, as far as it bears on a setup.

    `compute_scale` and `overhead_scale` are measured ÷ estimated; `certainty` the share of the fixed error of
    the accounting that stays; the rooms are MiB that the accounting leaves free for own starts of the same
    model on such a card: the tightest that came up, the roomiest that ran out of memory as it started, and
    the roomiest that did so later.
    """

    compute_scale: float = 1.0
    overhead_scale: float = 1.0
    certainty: float = 1.0
    came_up_room_mib: float | None = None
    ran_out_room_mib: float | None = None
    gave_out_room_mib: float | None = None
    parts: tuple[str, ...] = ()
    """What was measured, in words."""
    source: str = ""
    """The log, and its day."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A `LaunchConfig` with its names resolved: all that memory, risk and speed are functions of."""

    launch: LaunchConfig
    model: ModelSpec
    quant: Quant
    weights: WeightBytes
    gpu: Gpu
    host: Host = Host()
    calibration: Calibration | None = None

    def with_launch(self, **changes: object) -> Setup:
        """The setup with fields of its launch changed."""
        return replace(self, launch=self.launch.model_copy(update=changes))


class Interval(Answer):
    """A predicted figure with its central `level` interval."""

    value: float
    low: float
    high: float
    level: float = 0.8


class GpuMemory(Answer):
    """Memory of one device by part, in MiB."""

    weights_mib: float
    kv_cache_mib: float
    recurrent_state_mib: float
    compute_mib: float
    output_host_mib: float
    overhead_mib: float
    total_mib: float
    available_mib: float
    growth_mib: float = 0.0
    """The part of the total that is taken only at run time, as prompts and images are read."""


class Memory(GpuMemory):
    """Memory of the fullest device; `per_gpu` lists each of several, `host_mib` is what RAM holds."""

    host_mib: float = 0.0
    per_gpu: list[GpuMemory] = Field(default_factory=list)


class Capacity(Answer):
    """What a paged server (vLLM, SGLang) can hold once it runs: it fills its share of the card with cache.

    `kv_tokens` of the cache in all, `full_length_requests` of the asked length at once, `longest_request` in
    tokens ("estimated maximum model length").
    """

    starts: bool
    kv_tokens: int
    full_length_requests: float
    longest_request: int


class PredictedFigures(Answer):
    """The `prediction` object of the contract. Null where no honest figure can be given."""

    decode_tps: Interval | None
    decode_tps_full_context: Interval | None
    decode_tps_total: Interval | None
    prefill_tps: Interval | None
    ttft_ms: Interval | None
    memory: Memory
    oom_probability: float
    """At the latest when the context is full."""
    oom_probability_start: float
    """When the server starts."""
    fits: bool
    capacity: Capacity | None = None
    basis: Basis
    support: int


class Evidence(Answer):
    """A measured run near the asked configuration, and what differs in it."""

    source_url: str
    observed_on: str | None
    gpu: str
    model: str
    quant: str
    engine: str
    engine_version: str | None
    depth: int | None
    concurrency: int | None
    decode_tps: float | None
    prefill_tps: float | None
    vram_used_gib: float | None
    differs_in: list[str]
    decode_tps_without: float | None = None
    """The predicted decode, had this run been left out of the fit; null for one that was not in it."""


class Note(Answer):
    """A release note that touches the asked configuration."""

    engine: str
    version: str
    released_on: str | None
    claim: str
    evidence_url: str


class Caution(Answer):
    """A rule that fired, or a limit of the prediction, with its address."""

    rule: str
    text: str
    evidence_url: str | None


class FlagReason(Answer):
    """Why a flag, or a variable of the environment, stands on a launch command."""

    flag: str
    reason: str
    evidence_url: str | None = None
    """Of the rule that asks for it, where one does."""


class OtherForm(Answer):
    """The same configuration in other words: a run that measures it, a container, a Modelfile."""

    name: str
    text: str


class Prediction(Answer):
    """The answer for one exact configuration: `advisor predict --json`."""

    schema_version: int = SCHEMA_VERSION
    config: LaunchConfig
    command: str
    env: dict[str, str] = Field(default_factory=dict)
    prediction: PredictedFigures
    evidence: list[Evidence] = Field(default_factory=list)
    notes: list[Note] = Field(default_factory=list)
    warnings: list[Caution] = Field(default_factory=list)
    why: str = ""
    quality: float | None = None
    """Points of the catalog's common scale (0 to 100) with this format and cache; null for a model outside
    the catalog."""
    flags: list[FlagReason] = Field(default_factory=list)
    """In the command's order."""
    other_forms: list[OtherForm] = Field(default_factory=list)


class UnknownFlag(Answer):
    """A word of a command that the engine's version would not accept, with the flags that may be meant."""

    flag: str
    reason: str
    nearest: list[str] = Field(default_factory=list)


class Fix(Answer):
    """One change to a command that lowers its risk: what it saves on the fullest device, and what it costs.

    `speed_lost` (of decoding at a full context) and `quality_lost` are shares from 0 to 1; gains count as 0.
    """

    change: str
    command: str
    saves_mib: float
    oom_probability: float
    fits: bool
    decode_tps: Interval | None
    decode_tps_full_context: Interval | None
    speed_lost: float
    quality_lost: float


class Check(Answer):
    """What an existing launch command does on a device: `advisor check --json`."""

    schema_version: int = SCHEMA_VERSION
    verdict: Verdict
    command: str
    parsed: LaunchConfig
    unknown_flags: list[UnknownFlag] = Field(default_factory=list)
    prediction: PredictedFigures
    fixes: list[Fix] = Field(default_factory=list)
    warnings: list[Caution] = Field(default_factory=list)


class Rejected(Answer):
    """A configuration that was considered and not recommended."""

    config: dict[str, Any]
    reason: str


class Recommendation(Answer):
    """Ranked configurations: `advisor recommend --json`."""

    schema_version: int = SCHEMA_VERSION
    request: dict[str, Any]
    recommendations: list[Prediction]
    rejected: list[Rejected] = Field(default_factory=list)
