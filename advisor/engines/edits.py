"""What a changed setting changes on a launch command: flags to set, and flags to take away.

It owns which flag carries which field of a `LaunchConfig`, per engine. How a command is put together is
`rewriting`'s, and whether a change is worth it is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from advisor.config import Setup
from advisor.engines import exllamav3, llamacpp, lmstudio, mlx, sglang, vllm
from advisor.engines.parsing import Reading
from advisor.engines.versions import known_version, parse
from advisor.memory.exllama import cache_cells
from advisor.memory.llamacpp import total_context
from knowledge.catalog import Catalog

Edits = dict[str, tuple[str, ...] | None]
"""Flag → its values; None takes the flag away."""


def _llamacpp(reading: Reading, after: Setup, changed: set[str], catalog: Catalog) -> Edits:
    launch = after.launch
    edits: Edits = {
        flag: (str(getattr(launch, field)),) for field, flag in _LLAMACPP_VALUES.items() if field in changed
    }
    if "flash_attn" in changed:
        version = known_version("llama.cpp", reading.version, catalog)
        valued = version.is_in(parse("llama.cpp", llamacpp.TRI_STATE_FLASH_ATTN, catalog), None)
        edits["--flash-attn"] = ("on" if launch.flash_attn else "off",) if valued else ()
    if "kv_unified" in changed or ("parallel" in changed and launch.parallel == 1):
        edits["--kv-unified"] = () if launch.kv_unified else None
    if changed & {"ctx", "parallel"} and (reading.context or 0) != total_context(launch):
        edits["--ctx-size"] = (str(total_context(launch)),)
    if "n_cpu_moe" in changed:
        edits["--cpu-moe"] = None
    if "tensor_split" in changed:
        shares = launch.tensor_split
        edits["--tensor-split"] = (",".join(f"{part:g}" for part in shares),) if shares else None
    if "swa_full" in changed:
        edits["--swa-full"] = () if launch.swa_full else None
    if "mmproj_gib" in changed:
        edits |= {"--mmproj": None, "--mmproj-url": None}
        if reading.found.text("--hf-repo"):
            edits["--no-mmproj"] = ()
    if "draft_gib" in changed:
        edits |= dict.fromkeys(("--model-draft", "--hf-repo-draft", "--spec-type"))
    return edits


_LLAMACPP_VALUES = {
    "kv_type_k": "--cache-type-k", "kv_type_v": "--cache-type-v", "parallel": "--parallel",
    "ubatch": "--ubatch-size", "n_cpu_moe": "--n-cpu-moe", "n_gpu_layers": "--n-gpu-layers",
}  # fmt: skip


def _vllm(_reading: Reading, after: Setup, changed: set[str], _catalog: Catalog) -> Edits:
    launch = after.launch
    edits: Edits = {}
    if "kv_type_k" in changed:
        edits["--kv-cache-dtype"] = (vllm.kv_dtype(launch) or "auto",)
    if "ctx" in changed:
        edits["--max-model-len"] = (str(launch.ctx),)
    for field in ("max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization"):
        if field in changed:
            edits[f"--{field.replace('_', '-')}"] = (f"{getattr(launch, field):g}",)
    if "enforce_eager" in changed:
        edits["--enforce-eager"] = () if launch.enforce_eager else None
    if "mmproj_gib" in changed:
        edits["--language-model-only"] = ()
    return edits


def _sglang(_reading: Reading, after: Setup, changed: set[str], _catalog: Catalog) -> Edits:
    launch = after.launch
    values = {
        "kv_type_k": ("--kv-cache-dtype", sglang.kv_dtype(launch) or "auto"),
        "ctx": ("--context-length", launch.ctx),
        "max_num_seqs": ("--max-running-requests", launch.max_num_seqs),
        "gpu_memory_utilization": ("--mem-fraction-static", launch.gpu_memory_utilization),
    }
    return {flag: (str(value),) for field, (flag, value) in values.items() if field in changed}


def _exllamav3(_reading: Reading, after: Setup, changed: set[str], _catalog: Catalog) -> Edits:
    launch = after.launch
    edits: Edits = {}
    if changed & {"kv_type_k", "kv_type_v"}:
        edits["--cache-mode"] = (exllamav3.cache_mode(launch),)
    if "ctx" in changed:
        edits["--max-seq-len"] = (str(launch.ctx),)
    if changed & {"ctx", "cache_tokens"}:
        edits["--cache-size"] = (str(cache_cells(launch)),)
    values = {
        "max_num_seqs": "--max-batch-size",
        "max_num_batched_tokens": "--chunk-size",
        "n_cpu_moe": "--cpu-moe-offload-layers",
    }
    edits |= {flag: (str(getattr(launch, field)),) for field, flag in values.items() if field in changed}
    if "mmproj_gib" in changed:
        edits["--vision"] = None
    if "draft_gib" in changed:
        edits |= dict.fromkeys(("--draft-model-name", "--draft-model-dir", "--draft-mode"))
    return edits


def _lmstudio(_reading: Reading, after: Setup, changed: set[str], _catalog: Catalog) -> Edits:
    launch = after.launch
    values = {
        "ctx": ("--context-length", launch.ctx),
        "parallel": ("--parallel", launch.parallel),
        "n_gpu_layers": ("--gpu", lmstudio.share_of(launch.n_gpu_layers, after.model.n_layers)),
    }
    return {flag: (str(value),) for field, (flag, value) in values.items() if field in changed}


def _mlx(_reading: Reading, after: Setup, changed: set[str], _catalog: Catalog) -> Edits:
    launch = after.launch
    edits: Edits = {}
    if changed & {"kv_type_k", "kv_type_v"}:
        bits = mlx.kv_bits(after)
        edits["--kv-bits"] = None if bits is None else (str(bits),)
    if "max_num_batched_tokens" in changed:
        edits["--prefill-step-size"] = (str(launch.max_num_batched_tokens),)
    if "draft_gib" in changed:
        edits |= dict.fromkeys(("--draft-model", "--num-draft-tokens"))
    return edits


EDITORS: Mapping[str, Callable[[Reading, Setup, set[str], Catalog], Edits]] = {
    "llama.cpp": _llamacpp, "vllm": _vllm, "sglang": _sglang, "exllamav3": _exllamav3,
    "lmstudio": _lmstudio, "mlx": _mlx,
}  # fmt: skip
"""Reading, setup after the change, its changed fields → the edits; Ollama has variables instead."""
