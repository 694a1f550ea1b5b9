"""`vllm serve`'s command line for a configuration.

It owns the spelling of vLLM's flags; which of them a version has is data. Memory and speed are not here.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable

from advisor.config import LaunchConfig, Setup
from advisor.engines.command_line import CommandLine
from advisor.engines.repos import published_format, repo_of
from advisor.engines.rules import RuleOutcome
from advisor.engines.versions import known_version
from advisor.memory.paged import kv_name, sequences, utilization, ways_of
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError
from knowledge.kv_types import normalise_kv_type

_KV_DTYPES = {
    "f16": None, "bf16": None,  # the model's own type: nothing to print
    "fp8": "fp8", "int8": "int8_per_token_head", "nvfp4": "nvfp4",
}  # fmt: skip
DRAFT_TOKENS = 2
"""Draft tokens per step with MTP; recipes use 1 to 3."""


def render(setup: Setup, rules: RuleOutcome, catalog: Catalog | None = None) -> tuple[str, dict[str, str]]:
    """The command and the environment that launch `setup`, completed by what the rules set.

    Raises:
        UnsupportedError: a setting that vLLM does not have, or that this version lacks.
    """
    launch = setup.launch
    version = known_version(launch.engine, launch.engine_version, catalog)
    source, online = source_of(setup, catalog)
    line = CommandLine(["vllm", "serve", source], version, catalog=catalog)
    if online:
        line.require("--quantization", online)
    line.require("--max-model-len", launch.ctx)
    line.require("--gpu-memory-utilization", utilization(launch))
    line.require("--max-num-seqs", sequences(setup))
    if launch.max_num_batched_tokens is not None:
        line.require("--max-num-batched-tokens", launch.max_num_batched_tokens)
    dtype = kv_dtype(launch)
    if dtype is not None:
        line.require("--kv-cache-dtype", dtype)
    _placement(line, launch)
    if launch.cpu_offload_gib:
        line.require("--cpu-offload-gb", f"{launch.cpu_offload_gib:g}")
    if launch.enforce_eager:
        line.require("--enforce-eager")
    if launch.spec_decode != "none":
        method, _, drafts = launch.spec_decode.partition(":")
        draft = {"method": method, "num_speculative_tokens": int(drafts or DRAFT_TOKENS)}
        line.require("--speculative-config", json.dumps(draft, separators=(",", ":")))
    if launch.prefix_caching is not None:
        line.offer("--enable-prefix-caching" if launch.prefix_caching else "--no-enable-prefix-caching")
    for words in rules.sets:
        flag, *values = shlex.split(words)
        line.offer(flag, *values)
    return str(line), {}


def source_of(setup: Setup, catalog: Catalog | None) -> tuple[str, str | None]:
    """What to serve, and the quantization to do while loading.

    The files that were read, or a repository where the facts name one; the model's own for its unquantized
    form, and for FP8, which vLLM makes from it while loading; else the folder that the user has to have,
    under an honest name.
    """
    model, quant = setup.model, setup.quant
    if "vllm" not in quant.engines or quant.family == "generic":
        raise UnsupportedError(
            f"vLLM does not read {quant.name}",
            "use for example --quant FP8 or AWQ-INT4, or --engine llama.cpp",
        )
    own = setup.launch.path or setup.launch.repo
    if own is not None:
        return own, None
    own_file = setup.launch.weights_gib is not None
    repo = None if own_file else repo_of(model, quant, "safetensors", catalog=catalog)
    if repo is not None:
        return repo, None
    if quant.family == "float" and not published_format(model, catalog):
        return model.hf_id, None
    if quant.family == "fp8" and not own_file:
        return model.hf_id, "fp8"
    return f"./{model.name}-{quant.name.replace(' ', '-')}", None


def states_prefix_caching(words: Iterable[str]) -> bool | None:
    """Whether flags put prefix caching on or off; None where they leave it to the version."""
    flags = {flag.split()[0] for flag in words}
    return True if "--enable-prefix-caching" in flags else None


def _placement(line: CommandLine, launch: LaunchConfig) -> None:
    if launch.n_cpu_moe or launch.n_gpu_layers is not None:
        raise UnsupportedError("vLLM does not split layers between GPU and CPU", "use --engine llama.cpp")
    tensor, stages = ways_of(launch)
    if tensor > 1:
        line.require("--tensor-parallel-size", tensor)
    if stages > 1:
        line.require("--pipeline-parallel-size", stages)


def kv_dtype(launch: LaunchConfig) -> str | None:
    """The cache type as vLLM names it; None where the model's own type is meant.

    Raises:
        UnsupportedError: a type that vLLM lacks, or different ones for keys and values.
    """
    name = kv_name(launch)
    if name != normalise_kv_type(launch.kv_type_v):
        raise UnsupportedError("vLLM stores keys and values in one type", "give one --kv-type")
    if name not in _KV_DTYPES:
        raise UnsupportedError(f"vLLM has no KV cache type {launch.kv_type_k!r}", "use --kv-type f16 or fp8")
    return _KV_DTYPES[name]
