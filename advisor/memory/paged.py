"""What vLLM and SGLang take unless they are told: defaults by version and card, and their share of the card.

It knows flags' defaults and shares; what the share is spent on is the engines' accounting.
"""

from __future__ import annotations

import re

from advisor.config import LaunchConfig, Setup
from advisor.memory.supply import usable_fraction
from knowledge.errors import UnsupportedError
from knowledge.kv_types import kv_type, normalise_kv_type
from knowledge.units import MIB_PER_GIB

PAGED = ("vllm", "sglang")
"""Servers that take a share of the card and fill it with cache."""
_BIG_CARD_GIB = 70
"""From here on (A100 excepted) the server's defaults are 8,192 batched tokens and 1,024 sequences."""
_CONTEXT_MIB = 300.0
"""The CUDA context that exists before vLLM looks at free memory: a 3090 with 24,124 MiB starts at a share of
0.985 and refuses 0.99 (`data/memory/memory_cases.csv`)."""
_SGLANG_SHARE = 0.9
"""What SGLang's pools and graphs end up holding of a card by default."""
_SGLANG_NEEDED = 0.4
"""Part of SGLang's own reserve that its servers are known to get by with (an H100 runs at 0.93)."""
_V1_SINCE = (0, 8)
_UNCHUNKED_TOKENS = 32_768


def version_of(text: str | None) -> tuple[int, int] | None:
    """(major, minor) of `0.21.0`, `v0.24`, `0.13.0rc2.dev112`; None when not stated or not of that form."""
    match = re.search(r"(\d+)\.(\d+)", text or "")
    return (int(match[1]), int(match[2])) if match else None


def utilization(launch: LaunchConfig) -> float:
    """`--gpu-memory-utilization`: as stated, else 0.92, and 0.90 before 0.20."""
    if launch.gpu_memory_utilization is not None:
        return launch.gpu_memory_utilization
    version = version_of(launch.engine_version)
    return 0.90 if version is not None and version < (0, 20) else 0.92


def batched_tokens(setup: Setup) -> int:
    """`--max-num-batched-tokens`: as stated, else the default of the version for the size of the card.

    Before 0.8 prompts were not cut into chunks up to 32K tokens of context (the profile run had all of them:
    its peak grew from 17.06 to 17.98 GiB from 20,000 to 29,000 tokens, `data/memory/vllm_startup.csv`).
    """
    launch = setup.launch
    if launch.max_num_batched_tokens:
        return launch.max_num_batched_tokens
    version = version_of(launch.engine_version)
    if version is not None and version < _V1_SINCE:
        return max(launch.ctx, 2048) if launch.ctx <= _UNCHUNKED_TOKENS else 2048
    return 8192 if _is_big(setup) else 2048


def sequences(setup: Setup) -> int:
    """`--max-num-seqs`: as stated, else the server's default for the size of the card."""
    return setup.launch.max_num_seqs or (1024 if _is_big(setup) else 256)


def _is_big(setup: Setup) -> bool:
    return setup.launch.vram_gib >= _BIG_CARD_GIB and "A100" not in setup.gpu.name.upper()


def prefix_caching(launch: LaunchConfig) -> bool:
    """Whether hybrids keep states to resume prefixes from: as stated, else the default since 0.26."""
    if launch.prefix_caching is not None:
        return launch.prefix_caching
    version = version_of(launch.engine_version)
    return version is None or version >= (0, 26)


def ways_of(launch: LaunchConfig) -> tuple[int, int]:
    """(tensor-parallel, pipeline-parallel) devices: what tensor parallelism leaves over is pipelined."""
    tensor = max(launch.tensor_parallel, 1)
    return tensor, max(launch.gpu_count // tensor, 1)


def budget_mib(setup: Setup) -> float:
    """MiB of one device that the server takes for itself: its share of the card."""
    device = setup.launch.vram_gib * MIB_PER_GIB * usable_fraction(setup)
    if setup.launch.engine == "vllm":
        return utilization(setup.launch) * device
    share = setup.launch.gpu_memory_utilization
    return _SGLANG_SHARE * device if share is None else share * device + _sglang_reserve_mib(setup)


def asked_of_card_mib(setup: Setup) -> float:
    """MiB that have to be free when the server looks: its budget, and the context that exists by then."""
    return budget_mib(setup) + (_CONTEXT_MIB if setup.launch.engine == "vllm" else 0.0)


def _sglang_reserve_mib(setup: Setup) -> float:
    """What SGLang needs beside its static share: activations of a chunk, captured graphs.

    Its own default leaves 512 MiB, 1.5 MiB per token of a chunk and 2 per captured sequence
    (`server_args.py`); servers that were given less ran out while capturing (memory_cases.csv, 5090 at 0.90).
    """
    gib = setup.launch.vram_gib
    chunk, captured = (8192, 512) if gib >= _BIG_CARD_GIB else (2048, 24 if gib < 35 else 160)
    return _SGLANG_NEEDED * (512 + 1.5 * chunk + 2 * captured)


def kv_name(launch: LaunchConfig) -> str:
    """The cache type of a paged engine, which has one for K and V.

    Raises:
        UnsupportedError: a block type of ggml or ExLlama, which these engines do not have.
    """
    name = normalise_kv_type(launch.kv_type_k)
    if name is None:
        return kv_type(launch.kv_type_k).name  # raises, naming the types
    if name.startswith(("q", "iq")):
        raise UnsupportedError(
            f"{launch.engine} has no KV cache type {launch.kv_type_k!r}", "use --kv-type auto or fp8"
        )
    return name
