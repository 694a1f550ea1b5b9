"""TabbyAPI's command line and config.yml for a configuration: the server of ExLlamaV3.

It owns the spelling of TabbyAPI's flags, which its keys in config.yml share. Memory and speed are not here;
TabbyAPI has no releases, so its newest state is meant.

Every flag takes a value, switches too, and overrides what a config.yml in its folder says
(https://github.com/theroyallab/tabbyAPI/blob/004e837/docs/02.-Server-options.md).
"""

from __future__ import annotations

import re

from advisor.config import LaunchConfig, Setup
from advisor.engines.command_line import CommandLine
from advisor.engines.rules import RuleOutcome
from advisor.engines.versions import newest_without_calendar
from advisor.memory.exllama import cache_cells
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError
from knowledge.kv_types import normalise_kv_type

FACTS = "exllamav3"
BITS_OF = {"q8_0": 8, "q7": 7, "q6": 6, "q5_0": 5, "q4_0": 4, "q3": 3, "q2": 2}
"""Bits of a cache that is not kept at full width (`FP16`), keys and values each."""
FULL_WIDTH = "FP16"
MODELS = "models"
"""The folder that holds the models' folders where none is named."""
_DRAFT_SECTION = ("draft-",)
"""Beginnings of the flags whose keys stand under `draft_model:` in config.yml; the others under `model:`."""


def render(setup: Setup, _rules: RuleOutcome, catalog: Catalog | None = None) -> tuple[str, dict[str, str]]:
    """The command that serves `setup` from a folder of models; its name is one's own where none is known.

    Raises:
        UnsupportedError: a format or setting that TabbyAPI does not have.
    """
    launch = setup.launch
    _refuse(setup)
    line = CommandLine(["python", "main.py"], newest_without_calendar(FACTS), catalog=catalog)
    folder, name = folder_of(setup)
    if folder != MODELS:
        line.require("--model-dir", folder)
    line.require("--model-name", name)
    _room(line, launch)
    _placement(line, launch)
    if launch.mmproj_gib:
        line.require("--vision", "true")
    if launch.spec_decode != "none":
        _, _, length = launch.spec_decode.partition(":")
        line.require("--draft-mode", "mtp")
        if length:
            line.require("--draft-num-tokens", length)
    return str(line), {}


def _room(line: CommandLine, launch: LaunchConfig) -> None:
    line.require("--max-seq-len", launch.ctx)
    line.require("--cache-size", cache_cells(launch))
    mode = cache_mode(launch)
    if mode != FULL_WIDTH:
        line.require("--cache-mode", mode)
    if launch.max_num_seqs is not None:
        line.require("--max-batch-size", launch.max_num_seqs)
    if launch.max_num_batched_tokens is not None:
        line.require("--chunk-size", launch.max_num_batched_tokens)


def _placement(line: CommandLine, launch: LaunchConfig) -> None:
    if launch.tensor_parallel > 1:
        line.require("--tensor-parallel", "true")
    if launch.tensor_split:
        line.require("--gpu-split", *(f"{part:g}" for part in launch.tensor_split))
    if launch.n_cpu_moe:
        line.require("--cpu-moe-offload-layers", launch.n_cpu_moe)


def _refuse(setup: Setup) -> None:
    launch, quant = setup.launch, setup.quant
    if FACTS not in quant.engines:
        raise UnsupportedError(
            f"ExLlamaV3 does not read {quant.name} here", "use for example --quant EXL3-4.0bpw"
        )
    if launch.n_gpu_layers is not None or launch.cpu_offload_gib:
        raise UnsupportedError(
            "ExLlamaV3 keeps no whole layers on the host", "leave --ngl out; --n-cpu-moe moves experts"
        )
    if not launch.flash_attn:
        raise UnsupportedError("ExLlamaV3 always runs flash attention", "leave --flash-attn out")
    if launch.tensor_parallel not in {1, launch.gpu_count}:
        raise UnsupportedError(
            "TabbyAPI splits tensors over every card it uses", f"use --tp {launch.gpu_count} or leave it out"
        )
    if not re.fullmatch(r"none|mtp(:\d+)?", launch.spec_decode):
        raise UnsupportedError(
            f"speculation by {launch.spec_decode} is not known of TabbyAPI", "use --spec mtp"
        )


def folder_of(setup: Setup) -> tuple[str, str]:
    """Where the model's folder lies and its name: one's own, or that of a repository put under `models`."""
    launch = setup.launch
    if launch.path is not None:
        head, _, tail = launch.path.rstrip("/").rpartition("/")
        return (head or ("/" if launch.path.startswith("/") else "."), tail)
    if launch.repo is not None:
        return MODELS, launch.repo.rsplit("/", 1)[-1]
    return MODELS, f"{setup.model.hf_id.rsplit('/', 1)[-1]}-{setup.quant.name}"


def cache_mode(launch: LaunchConfig) -> str:
    """The cache's types as TabbyAPI names them: `FP16`, or the bits of keys and values, `8,6`.

    Raises:
        UnsupportedError: a type that ExLlamaV3 lacks, or only one of the two at full width.
    """
    names = [normalise_kv_type(text) or "" for text in (launch.kv_type_k, launch.kv_type_v)]
    if all(name in {"f16", "bf16"} for name in names):
        return FULL_WIDTH
    if not all(name in BITS_OF for name in names):
        raise UnsupportedError(
            f"ExLlamaV3 has no KV cache of {launch.kv_type_k} and {launch.kv_type_v}",
            f"use f16 for both, or any of {', '.join(BITS_OF)}",
        )
    return ",".join(str(BITS_OF[name]) for name in names)


def config_file(words: list[str]) -> str:
    """The config.yml that says what the flags of a rendered command say."""
    sections: dict[str, list[str]] = {"model": [], "draft_model": []}
    at = 0
    while at < len(words):
        end = at + 1
        while end < len(words) and not words[end].startswith("--"):
            end += 1
        flag, values = words[at].removeprefix("--"), words[at + 1 : end]
        drafts = flag.startswith(_DRAFT_SECTION)
        value = f"[{', '.join(values)}]" if flag == "gpu-split" else _scalar(values[0])
        sections["draft_model" if drafts else "model"].append(f"  {flag.replace('-', '_')}: {value}")
        at = end
    return "\n".join(line for name, lines in sections.items() if lines for line in (f"{name}:", *lines))


def _scalar(text: str) -> str:
    """A value as YAML takes it for what it is: a number, a switch, a plain word, else quoted."""
    if re.fullmatch(r"\d+(,\d+)?|true|false|[A-Za-z./~][\w./~-]*", text):
        return text
    return "'" + text.replace("'", "''") + "'"
