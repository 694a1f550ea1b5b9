"""SGLang's command line for a configuration.

It owns the spelling of SGLang's flags; which of them a version has is data. Memory and speed are not here.
"""

from __future__ import annotations

from advisor.config import LaunchConfig, Setup
from advisor.engines.command_line import CommandLine
from advisor.engines.rules import RuleOutcome
from advisor.engines.versions import newest_without_calendar, parse
from advisor.engines.vllm import source_of
from advisor.memory.paged import kv_name, ways_of
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError

_KV_DTYPES = {"f16": None, "bf16": None, "fp8": "fp8_e4m3", "nvfp4": "nvfp4"}


def render(setup: Setup, _rules: RuleOutcome, catalog: Catalog | None = None) -> tuple[str, dict[str, str]]:
    """The command and the environment that launch `setup`.

    Raises:
        UnsupportedError: a setting that SGLang does not have, or that this version lacks.
    """
    launch = setup.launch
    text = launch.engine_version
    version = parse("sglang", text, catalog) if text else newest_without_calendar("sglang")
    source, online = source_of(setup, catalog)
    program = ["python", "-m", "sglang.launch_server", "--model-path", source]
    line = CommandLine(program, version, catalog=catalog)
    if online:
        line.require("--quantization", online)
    line.require("--context-length", launch.ctx)
    if launch.gpu_memory_utilization is not None:
        line.require("--mem-fraction-static", f"{launch.gpu_memory_utilization:g}")
    if launch.max_num_seqs is not None:
        line.require("--max-running-requests", launch.max_num_seqs)
    if launch.max_num_batched_tokens is not None:
        line.require("--chunked-prefill-size", launch.max_num_batched_tokens)
    dtype = kv_dtype(launch)
    if dtype is not None:
        line.require("--kv-cache-dtype", dtype)
    _placement(line, launch)
    if launch.enforce_eager:
        line.require("--disable-cuda-graph")
    if launch.prefix_caching is False:
        line.require("--disable-radix-cache")
    if launch.spec_decode != "none":
        raise UnsupportedError("speculation by SGLang is not supported", "use --spec none")
    return str(line), {}


def _placement(line: CommandLine, launch: LaunchConfig) -> None:
    if launch.n_cpu_moe or launch.n_gpu_layers is not None:
        raise UnsupportedError("SGLang does not split layers between GPU and CPU", "use --engine llama.cpp")
    tensor, stages = ways_of(launch)
    if tensor > 1:
        line.require("--tp-size", tensor)
    if stages > 1:
        line.require("--pp-size", stages)
    if launch.cpu_offload_gib:
        line.require("--cpu-offload-gb", f"{launch.cpu_offload_gib:g}")


def kv_dtype(launch: LaunchConfig) -> str | None:
    """The cache type as SGLang names it; None where the model's own type is meant.

    Raises:
        UnsupportedError: a type that SGLang lacks.
    """
    name = kv_name(launch)
    if name not in _KV_DTYPES:
        raise UnsupportedError(
            f"SGLang has no KV cache type {launch.kv_type_k!r}", "use --kv-type f16 or fp8"
        )
    return _KV_DTYPES[name]
