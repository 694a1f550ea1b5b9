"""The records that are known: devices, models, quantizations, observations, flags, notes, rules.

Every record is immutable, carries the address it came from, and names its units in its fields
(`_gib`, `_mib`, `_gbps`, `_tps`, `_ms`). Nothing here is computed and nothing is looked up.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Tokens = Annotated[int, Field(ge=0, le=1_000_000_000)]


def _as_flag(value: object) -> object:
    return False if value in ("", None) else value


def _as_zero(value: object) -> object:
    return 0 if value in ("", None) else value


Flagged = Annotated[bool, BeforeValidator(_as_flag)]
"""A 0/1 cell where empty means no."""
Number = Annotated[int, BeforeValidator(_as_zero), Field(ge=0)]
"""A count where empty means none."""


class Record(BaseModel):
    """Base of every fact: immutable, and no column that is not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Gpu(Record):
    """An accelerator or a CPU, as sold. Rates are dense (no sparsity); None where the source is silent."""

    name: str
    aliases: tuple[str, ...] = ()
    kind: Literal["gpu", "apu", "cpu"] = "gpu"
    """`apu`: shares memory with its host (Apple, Strix Halo, GB10); `cpu`: no accelerator at all."""
    vendor: str
    arch: str
    compute_capability: str = ""
    """CUDA compute capability (`8.9`), gfx target (`gfx1151`) or `metal`."""
    memory_gib: Positive | None = None
    memory_each_gib: tuple[float, ...] = ()
    """Of cards that differ and work as one device, in their order; `memory_gib` is then the mean."""
    memory_type: str = ""
    bandwidth_gbps: Positive | None = None
    fp16_tflops: Positive | None = None
    fp8_tflops: Positive | None = None
    fp4_tflops: Positive | None = None
    fp32_tflops: Positive | None = None
    int8_tops: Positive | None = None
    tensor_basis: str = ""
    l2_mib: Positive | None = None
    tdp_w: Positive | None = None
    pcie_gen: int | None = None
    pcie_lanes: int | None = None
    unified_memory: Flagged = False
    released: str = ""
    source_url: str
    notes: str = ""


class ModelSpec(Record):
    """A model's shape: everything memory and speed follow from. Layer counts partition the stack by kind.

    `head_dim_k`/`head_dim_v`/`n_kv_heads` describe sliding layers too, unless `global_*` or `swa_*` differ.
    """

    hf_id: str
    aliases: tuple[str, ...] = ()
    """Other names of the same shape: repositories, spellings and fine-tunes that keep it."""
    family: str
    architecture: str
    llama_arch: str = ""
    total_params_b: Positive
    active_params_b: Positive
    n_layers: Number
    layers_full: Number = 0
    layers_sliding: Number = 0
    layers_linear: Number = 0
    layers_mamba2: Number = 0
    layers_mla: Number = 0
    layers_conv: Number = 0
    layers_mlp_only: Number = 0
    n_heads: Number = 0
    n_kv_heads: Number = 0
    head_dim_k: Number = 0
    head_dim_v: Number = 0
    global_head_dim: int | None = None
    global_n_kv_heads: int | None = None
    swa_n_kv_heads: int | None = None
    n_kv_shared_layers: Number = 0
    sliding_window: int | None = None
    kv_lora_rank: int | None = None
    q_lora_rank: int | None = None
    qk_nope_head_dim: int | None = None
    qk_rope_head_dim: int | None = None
    linear_num_value_heads: int | None = None
    linear_num_key_heads: int | None = None
    linear_key_head_dim: int | None = None
    linear_value_head_dim: int | None = None
    linear_conv_kernel_dim: int | None = None
    ssm_num_heads: int | None = None
    ssm_head_dim: int | None = None
    ssm_state_size: int | None = None
    ssm_groups: int | None = None
    ssm_conv_kernel: int | None = None
    hidden_size: Number = 0
    intermediate_size: int | None = None
    moe_intermediate_size: int | None = None
    shared_expert_intermediate_size: int | None = None
    n_experts: Number = 0
    n_experts_used: Number = 0
    n_shared_experts: Number = 0
    n_dense_layers: Number = 0
    vocab_size: Number = 0
    tie_embeddings: Flagged = False
    max_context: Number = 0
    has_mtp: Flagged = False
    multimodal: Flagged = False
    released: str = ""
    licence: str = ""
    basis: str
    """`two_sources+param_check` … `inferred` as researched; `derived`: fitted from sizes, wider intervals."""
    source_url: str
    source_url_2: str = ""
    notes: str = ""

    @property
    def name(self) -> str:
        """The repository's own name, without its owner."""
        return self.hf_id.rsplit("/", 1)[-1]

    @property
    def is_moe(self) -> bool:
        """Whether tokens are routed to a subset of experts."""
        return self.n_experts > 0


class Quant(Record):
    """A quantization format: how many bits each class of tensor takes, and who can run it."""

    name: str
    aliases: tuple[str, ...] = ()
    family: str
    """`k-quant`, `i-quant`, `legacy`, `ud`, `float`, `fp8`, `fp4`, `int4`, `int8`, `mlx`, `exl3`, …"""
    bpw: Positive
    """Bits per weight of the body: linear layers outside embeddings and output."""
    embed_bpw: Positive
    output_bpw: Positive
    attn_bpw: Positive
    """Attention and recurrent mixers; differs from `bpw` where the mixture protects them."""
    expert_bpw: Positive
    """Routed experts; differs where only experts are quantized (MXFP4 of gpt-oss)."""
    norm_bpw: Positive = 32
    """Norms, biases, convolutions and routers: 32-bit in GGUF, 16-bit elsewhere."""
    mixer_bpw: Positive | None = None
    """Recurrent and convolutional mixers, where the format treats them unlike softmax attention."""
    down_bpw: Positive | None = None
    """Down projections alone, where the mixture spends more on them than the feed-forward's mean `bpw`."""
    block: Annotated[int, Field(ge=1)] = 1
    """Elements a row must be divisible by; other rows fall back to a wider type of 32-element blocks."""
    fallback_bpw: Positive | None = None
    fallback_down_bpw: Positive | None = None
    activation_bits: int = 16
    """Bits of the activations in matrix products: 8 for W8A8, 4 for W4A4, 16 for weight-only."""
    engines: tuple[str, ...] = ()
    min_compute_capability: str = ""
    """Least CUDA capability on which it runs at all, weight-only kernels included; empty: any."""
    ppl_ratio: Positive | None = None
    """Perplexity over the unquantized model's (≥ 6B models, median of published pairs)."""
    ppl_ratio_small: Positive | None = None
    """The same for models under 6B parameters."""
    loss_basis: str = ""
    source_url: str
    notes: str = ""


class Observation(Record):
    """One measured run, as its source states it; an empty field means the source does not say."""

    source_url: str = Field(min_length=1)
    observed_on: dt.date | None = None
    model: str = Field(min_length=1)
    model_raw: str = ""
    weights_gib: Positive | None = None
    params_b: Positive | None = None
    quant: str = ""
    engine: str = ""
    engine_version: str = ""
    backend: str = ""
    gpu: str = Field(min_length=1)
    gpu_count: Count | None = None
    vram_gib: Positive | None = None
    power_limit_w: Positive | None = None
    tp: Count | None = None
    pp: Count | None = None
    ngl: int | None = Field(default=None, ge=-1)
    n_cpu_moe: int | None = Field(default=None, ge=0)
    offload: Literal["", "full", "partial", "cpu"] = ""
    kv_type_k: str = ""
    kv_type_v: str = ""
    flash_attn: bool | None = None
    ctx_limit: Tokens | None = None
    depth: Tokens | None = None
    prompt_tokens: Tokens | None = None
    gen_tokens: Tokens | None = None
    concurrency: Count | None = None
    batch: Count | None = None
    ubatch: Count | None = None
    spec_decode: str = ""
    flags: str = ""
    decode_tps: Positive | None = None
    decode_tps_total: Positive | None = None
    prefill_tps: Positive | None = None
    ttft_ms: Positive | None = None
    tpot_ms: Positive | None = None
    stddev_tps: NonNegative | None = None
    vram_used_gib: Positive | None = None
    outcome: Literal["ok", "oom", "error"] = "ok"
    notes: str = ""


class Flag(Record):
    """A launch flag of an engine, with the versions between which it exists."""

    engine: str
    flag: str
    aliases: str = ""
    value_type: str = ""
    default: str = ""
    since_version: str = ""
    deprecated_in: str = ""
    removed_in: str = ""
    affects: str = ""
    applies_when: str = ""
    effect: str = ""
    history: str = ""
    """The versions as the source words them, where that says more than one comparable version can."""
    source_url: str


class EngineFlag(Record):
    """A spelling that an engine's command line accepts, relevant to memory or not."""

    engine: str
    flag: str
    aliases: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    """Spellings that switch it off."""
    off_of: str = ""
    """The flag that this one switches off, where it has versions of its own."""
    takes: Literal["0", "1", "2", "?", "+"]
    """Values: none, one, two, at most one, one or more."""
    env: str = ""
    """Environment variable that sets it too."""
    missing_in: str = ""
    """Last version read that lacks it, before one that has it."""
    gone_in: str = ""
    """First version read that lacks it again."""
    source_url: str


class EngineVersion(Record):
    """A version of an engine that facts refer to; `build` puts llama.cpp's names on one axis."""

    engine: str
    version: str
    build: int | None = None
    released_on: str = ""
    basis: str
    """`stated`, or `derived: …` where the build number was interpolated between stated ones."""
    source_url: str


class Repo(Record):
    """A Hugging Face repository that holds a model in some quantizations."""

    hf_id: str
    repo: str
    format: Literal["gguf", "safetensors"]
    quants: tuple[str, ...]
    """Glob patterns over quantization names, such as `UD-Q*_K_XL`."""
    source_url: str


class ReleaseNote(Record):
    """What one engine version claims to have changed in speed or memory."""

    engine: str
    version: str
    released_on: str = ""
    area: str = ""
    flags: str = ""
    models_or_hardware: str = ""
    applies_to: str = ""
    """The same as a condition in the rules' language; empty where the note speaks of every setup."""
    claim: str
    evidence_url: str


class Effect(Record):
    """A published pair of runs on one machine that differ in one thing, and what that changed."""

    source_url: str
    observed_on: str = ""
    engine: str = ""
    engine_version_a: str = ""
    engine_version_b: str = ""
    model: str = ""
    quant: str = ""
    gpu: str = ""
    gpu_count: str = ""
    depth: str = ""
    prompt_tokens: str = ""
    concurrency: str = ""
    """As the source words them: some pairs are over several."""
    factor: str
    """What kind of thing differs: flag, version, engine, backend, power …"""
    setting_a: str = ""
    setting_b: str = ""
    metric: str
    value_a: Positive | None = None
    value_b: Positive | None = None
    ratio_b_over_a: Positive
    notes: str = ""


class Claim(Record):
    """What a release claimed to have gained, held against the pairs that were found for it."""

    engine: str
    version: str
    claim_short: str
    claimed_ratio: str = ""
    measured_ratios: str = ""
    n_pairs: Number = 0
    verdict: Literal["confirmed", "weaker", "contradicted", "unmeasured"]
    source_url: tuple[str, ...]


class Rule(Record):
    """If (model, GPU, engine, version, configuration) then set, require, forbid or warn.

    The condition columns are matched by `advisor.engines.rules`; an empty column always matches.
    """

    id: str
    kind: Literal["set", "require", "forbid", "warn"]
    engine: str = ""
    since_version: str = ""
    before_version: str = ""
    model_trait: str = ""
    gpu_trait: str = ""
    quant_family: str = ""
    config: str = ""
    sets: str = ""
    """The flag that a `set` or `require` rule adds to the command line, `{field}` filled in."""
    text: str
    basis: str = ""
    evidence_url: str
    evidence_url_2: str = ""


class ModelQuality(Record):
    """A model's public quality on one common scale, with how the figure was obtained."""

    hf_id: str
    metric: str
    value: NonNegative
    basis: str
    source_url: str
