"""llama-server's command line for a configuration.

It owns the spelling of llama.cpp's flags; which of them a version has is data. Memory and speed are not here.
"""

from __future__ import annotations

import shlex

from advisor.config import Setup
from advisor.engines.command_line import CommandLine
from advisor.engines.repos import repo_of
from advisor.engines.rules import RuleOutcome
from advisor.engines.traits import is_gguf
from advisor.engines.versions import Version, known_version, parse
from advisor.memory.llamacpp import backend_of, total_context
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError
from knowledge.weights import file_tag

SHORT = {
    "--hf-repo": "-hf", "--model": "-m", "--ctx-size": "-c", "--n-gpu-layers": "-ngl", "--flash-attn": "-fa",
    "--cache-type-k": "-ctk", "--cache-type-v": "-ctv", "--parallel": "-np", "--kv-unified": "-kvu",
    "--batch-size": "-b", "--ubatch-size": "-ub", "--split-mode": "-sm", "--tensor-split": "-ts",
}  # fmt: skip
"""The spelling people know a flag by."""
LONG = {short: flag for flag, short in SHORT.items()}

PORT = 8080
_ALL_LAYERS = 99
"""What people write for "all layers"; deeper stacks get their real number."""
TRI_STATE_FLASH_ATTN = "PR 15434"
"""`--flash-attn` takes on, off or auto from here; before, it was a switch that was off."""
_MTP_SINCE = "210a6570c"
"""First commit read whose `--spec-type` knows `draft-mtp`."""
DRAFT_TOKENS = 3
"""llama.cpp's own default of `--spec-draft-n-max` (source at 63d93d173)."""
_DEFAULT_BATCH, _DEFAULT_UBATCH = 2048, 512
_RDNA2_AS_GFX1030 = ("gfx1031", "gfx1032", "gfx1034", "gfx1035", "gfx1036")


def render(setup: Setup, rules: RuleOutcome, catalog: Catalog | None = None) -> tuple[str, dict[str, str]]:
    """The command and the environment that launch `setup`, completed by what the rules set.

    Raises:
        UnsupportedError: the format is not GGUF, or this version lacks a flag that the setup needs.
    """
    launch = setup.launch
    if launch.tensor_parallel > 1:
        raise UnsupportedError("llama.cpp splits layers over GPUs here, not tensors", "leave --tp out")
    version = known_version(launch.engine, launch.engine_version, catalog)
    line = CommandLine(["llama-server"], version, SHORT, catalog)
    from_hub = _weights(line, setup, catalog)
    line.require("--ctx-size", total_context(launch))
    _placement(line, setup)
    _cache(line, setup, version, catalog)
    _batching(line, setup)
    _speculation(line, setup, version, catalog)
    for words in rules.sets:
        flag, *values = shlex.split(words)
        line.offer(flag, *values)
    if from_hub and setup.model.multimodal and not launch.mmproj_gib:
        line.offer("--no-mmproj")  # -hf would load a projector beside the weights that were counted
    line.offer("--port", PORT)
    return str(line), _environment(setup)


def _weights(line: CommandLine, setup: Setup, catalog: Catalog | None) -> bool:
    """The files that were read; else the repository that the facts name, or a file under an honest name.

    Whether it is a repository, with which llama.cpp loads a projector unless told not to.
    """
    quant = setup.quant
    if not is_gguf(quant) or quant.family == "generic":
        raise UnsupportedError(
            f"llama.cpp reads GGUF files, and {quant.name} is not one of their formats",
            "use for example --quant Q4_K_M",
        )
    if setup.launch.path is not None:
        line.require("--model", setup.launch.path)
        return False
    if setup.launch.repo is not None:
        line.require("--hf-repo", setup.launch.repo)
        return True
    drafts = setup.launch.spec_decode == "mtp"
    repo = repo_of(setup.model, quant, "gguf", draft_head=drafts, catalog=catalog)
    if repo is None or setup.launch.weights_gib is not None:
        line.require("--model", f"{setup.model.name}{'-MTP' if drafts else ''}-{file_tag(quant)}.gguf")
        if setup.launch.mmproj_gib:
            line.require("--mmproj", f"mmproj-{setup.model.name}.gguf")
    else:
        line.require("--hf-repo", f"{repo}:{file_tag(quant)}")
        return True
    return False


def _placement(line: CommandLine, setup: Setup) -> None:
    launch = setup.launch
    everything = max(_ALL_LAYERS, setup.model.n_layers + 1)
    line.require("--n-gpu-layers", everything if launch.n_gpu_layers is None else launch.n_gpu_layers)
    if launch.n_cpu_moe:
        line.require("--n-cpu-moe", launch.n_cpu_moe)
    if launch.gpu_count > 1:
        line.require("--split-mode", "layer")
        if launch.tensor_split is not None:
            line.require("--tensor-split", ",".join(f"{part:g}" for part in launch.tensor_split))
        elif launch.vram_per_gpu_gib is None:  # cards that differ are filled in proportion by themselves
            line.require("--tensor-split", ",".join(["1"] * launch.gpu_count))
    if not launch.kv_offload:
        line.require("--no-kv-offload")


def _cache(line: CommandLine, setup: Setup, version: Version, catalog: Catalog | None) -> None:
    launch = setup.launch
    if version.is_in(parse("llama.cpp", TRI_STATE_FLASH_ATTN, catalog), None):
        line.require("--flash-attn", "on" if launch.flash_attn else "off")
    elif launch.flash_attn:
        line.require("--flash-attn")
    if launch.kv_type_k != "f16":
        line.require("--cache-type-k", launch.kv_type_k)
    if launch.kv_type_v != "f16":
        line.require("--cache-type-v", launch.kv_type_v)
    if launch.swa_full:
        line.require("--swa-full")


def _batching(line: CommandLine, setup: Setup) -> None:
    launch = setup.launch
    if launch.parallel is not None:
        line.require("--parallel", launch.parallel)
    elif launch.kv_unified is False:
        line.require("--no-kv-unified")
    batch = max(launch.batch, launch.ubatch)
    if batch != _DEFAULT_BATCH:
        line.require("--batch-size", batch)
    if launch.ubatch != _DEFAULT_UBATCH:
        line.require("--ubatch-size", launch.ubatch)


def _speculation(line: CommandLine, setup: Setup, version: Version, catalog: Catalog | None) -> None:
    method = setup.launch.spec_decode
    if method == "none":
        return
    kind, _, drafts = method.partition(":")
    if kind != "mtp":
        raise UnsupportedError(f"speculation by {method!r} is not supported", "use --spec mtp or --spec none")
    if not version.is_in(parse("llama.cpp", _MTP_SINCE, catalog), None):
        raise UnsupportedError(f"llama.cpp {version.text} has no MTP", f"it is there from {_MTP_SINCE} on")
    line.require("--spec-type", "draft-mtp")
    line.require("--spec-draft-n-max", int(drafts or DRAFT_TOKENS))


def _environment(setup: Setup) -> dict[str, str]:
    """ROCm ships kernels of RDNA 2 for gfx1030 only; its siblings run them under that name.

    Source: https://github.com/ggml-org/llama.cpp/issues/26702 (HSA override 10.3.0 on gfx1031).
    """
    if backend_of(setup) == "rocm" and setup.gpu.compute_capability in _RDNA2_AS_GFX1030:
        return {"HSA_OVERRIDE_GFX_VERSION": "10.3.0"}
    return {}
