"""What was asked, understood: options as text or typed values → a `Request` and the entries its names mean.

It owns the names of the options, how each is read and the checks between them. It knows no figures and ranks
nothing; whatever cannot be understood is a `UsageError` in one line, never a default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, get_args

from advisor.config import Goal, Request
from advisor.engines import engine_named
from advisor.naming import model_asked, quant_asked
from advisor.options import formats_for
from advisor.setups import BACKENDS
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.kv_types import kv_type
from knowledge.names.gpu import GpuMatch
from knowledge.names.match import nearest
from knowledge.names.model import ModelMatch
from knowledge.names.rig import device, resolve_rig
from knowledge.schema import ModelSpec, Quant
from knowledge.units import format_tokens, parse_gib, parse_tokens

if TYPE_CHECKING:
    from knowledge.real_model import RealModel

DEFAULT_CTX = 32768
"""Tokens of context where none is asked for, or the model's maximum where that is less."""

Text = str | int | float | bool | None


class Options(TypedDict, total=False):
    """The keywords of `recommend` and `predict`; values typed or as text, None as if left out."""

    model: Text
    quant: Text
    weights_gib: Text
    gpu: Text
    gpu_count: Text
    vram: Text
    vram_used: Text
    headless: Text
    engine: Text
    engine_version: Text
    backend: Text
    ctx: Text
    depth: Text
    prompt: Text
    concurrency: Text
    kv_type: Text
    kv_type_k: Text
    kv_type_v: Text
    parallel: Text
    kv_unified: Text
    flash_attn: Text
    ubatch: Text
    ngl: Text
    n_cpu_moe: Text
    tensor_parallel: Text
    gpu_memory_utilization: Text
    max_num_seqs: Text
    max_num_batched_tokens: Text
    ram: Text
    ram_bandwidth: Text
    spec: Text
    goal: Text
    min_tps: Text
    max_oom: Text
    top: Text


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with its names settled; `label` is the name to print for the model (a fine-tune's own).

    `files` is the model itself, where it was read from a path or from a repository outside the catalog.
    """

    request: Request
    model: ModelSpec | None
    quant: Quant | None
    label: str | None
    files: RealModel | None = None


def flag_of(option: str) -> str:
    """The command line's spelling of an option: `n_cpu_moe` → `--n-cpu-moe`."""
    return "--tp" if option == "tensor_parallel" else f"--{option.replace('_', '-')}"


def whole_number(value: Text, flag: str, least: int = 1) -> int:
    """The whole number that `value` states, at least `least`; refused under the option's spelling `flag`."""
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}(\.0)?", text, re.ASCII) or float(text) < least:
        raise UsageError(
            f"{flag} {value!r} is not a whole number from {least}", f"write for example {flag} 4"
        )
    return int(float(text))


def _layers(value: Text, flag: str) -> int | None:
    """Layers on the device; llama.cpp's `all`, `auto` and −1 mean that the choice is open."""
    return None if str(value).strip().lower() in {"all", "auto", "-1"} else whole_number(value, flag, 0)


def _number(value: Text, flag: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise UsageError(f"{flag} {value!r} is not a number from 0", f"write for example {flag} 20")
    return number


def _share(value: Text, flag: str) -> float:
    text = str(value).strip()
    share = _number(text[:-1], flag) / 100 if text.endswith("%") else _number(value, flag)
    if share > 1:
        raise UsageError(f"{flag} {value!r} is not between 0 and 1", f"write for example {flag} 0.05")
    return share


def _positive_share(value: Text, flag: str) -> float:
    share = _share(value, flag)
    if share == 0:
        raise UsageError(f"{flag} {value!r} leaves nothing", f"write for example {flag} 0.92")
    return share


def _switch(value: Text, flag: str) -> bool | None:
    """On or off; `auto` leaves it to the engine."""
    text = str(value).strip().lower()
    known = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False, "auto": None}
    if text not in known:
        raise UsageError(f"{flag} {value!r} is neither on nor off", f"write {flag} on")
    return known[text]


def _choice(*choices: str) -> Callable[[Text, str], str]:
    def parse(value: Text, flag: str) -> str:
        text = str(value).strip().lower()
        if text not in choices:
            raise UsageError(f"{flag} {value!r} is unknown", f"use one of: {', '.join(choices)}")
        return text

    return parse


def _gib(value: Text, flag: str) -> float:
    gib = parse_gib(_plain(value, flag), what=flag)
    if gib <= 0:
        raise UsageError(f"{flag} {value!r} must be more than 0", f"write for example {flag} 24")
    return gib


def _plain(value: Text, flag: str) -> str | float:
    if isinstance(value, bool) or value is None:
        raise UsageError(f"{flag} {value!r} is not a number")
    return value


def _text(value: Text, flag: str) -> str:
    text = str(value).strip()
    if not text:
        raise UsageError(f"{flag} is empty")
    return text


_PARSERS: dict[str, Callable[[Text, str], Any]] = {
    "engine": lambda value, flag: engine_named(_text(value, flag)),
    "engine_version": _text,
    "backend": _choice(*BACKENDS),
    "gpu_count": whole_number,
    "weights_gib": _gib,
    "vram": _gib,
    "vram_used": lambda value, flag: parse_gib(_plain(value, flag), what=flag),
    "headless": _switch,
    "ctx": lambda value, flag: parse_tokens(_plain(value, flag), what=flag),
    "depth": lambda value, flag: parse_tokens(_plain(value, flag), what=flag, minimum=0),
    "prompt": lambda value, flag: parse_tokens(_plain(value, flag), what=flag),
    "concurrency": whole_number,
    "kv_type": lambda value, flag: kv_type(_text(value, flag)).name,
    "kv_type_k": lambda value, flag: kv_type(_text(value, flag)).name,
    "kv_type_v": lambda value, flag: kv_type(_text(value, flag)).name,
    "parallel": whole_number,
    "kv_unified": _switch,
    "flash_attn": _switch,
    "ubatch": lambda value, flag: parse_tokens(_plain(value, flag), what=flag),
    "ngl": _layers,
    "n_cpu_moe": lambda value, flag: whole_number(value, flag, 0),
    "tensor_parallel": whole_number,
    "gpu_memory_utilization": _positive_share,
    "max_num_seqs": whole_number,
    "max_num_batched_tokens": lambda value, flag: parse_tokens(_plain(value, flag), what=flag),
    "ram": _gib,
    "ram_bandwidth": _number,
    "spec": _choice("none", "mtp"),
    "goal": _choice(*get_args(Goal)),
    "min_tps": _number,
    "max_oom": _share,
    "top": whole_number,
}
"""How each option is read; `model`, `quant` and `gpu` are names, which need the catalog."""


def understand(options: Mapping[str, Any], catalog: Catalog) -> Asked:
    """The request that `options` state.

    Raises:
        UsageError: an option that is unknown, missing, unreadable or contradicts another.
        UnknownNameError: a name that means nothing known, or several things.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in Options.__annotations__:
            close = ", ".join(nearest(name, Options.__annotations__))
            raise UsageError(f"unknown option {name!r}", f"did you mean {close}?" if close else "")
    values = {name: parse(given[name], flag_of(name)) for name, parse in _PARSERS.items() if name in given}
    gpu = _gpu(given, values, catalog)
    match, files = model_asked(given, catalog)
    quant = quant_asked(given, match, files, catalog)
    cache = values.pop("kv_type", None)
    for side in ("kv_type_k", "kv_type_v"):
        values.setdefault(side, cache)
    values.setdefault("ctx", _default_ctx(match))
    known = {name: value for name, value in values.items() if value is not None}
    request = Request(
        **known | {"gpu": gpu.gpu.name, "gpu_count": gpu.count, "vram": gpu.vram_gib},
        model=match.model.hf_id if match else None,
        quant=quant.name if quant else None,
    )
    return Asked(request, match.model if match else None, quant, match.label if match else None, files)


def _default_ctx(match: ModelMatch | None) -> int:
    most = match.model.max_context if match else 0
    return min(DEFAULT_CTX, most) if most else DEFAULT_CTX


def _gpu(given: Mapping[str, Any], values: dict[str, Any], catalog: Catalog) -> GpuMatch:
    """The device, how many, and its memory: a CPU has the host's."""
    if "gpu" not in given:
        raise UsageError("no GPU is named", "write for example --gpu 4090, or list them with: advisor gpus")
    text = _text(given["gpu"], "--gpu")
    found = resolve_rig(text, catalog, values.get("vram"))
    count = values.get("gpu_count", found.count)
    if found.count not in (1, count):
        raise UsageError(f"--gpu {text} and --gpu-count {count} contradict each other", "leave one out")
    vram = found.vram_gib
    if vram is None and found.gpu.kind == "cpu":
        vram = values.get("ram")
    if vram is None and found.gpu.memory_gib is None:
        raise UsageError(f"the memory of {found.gpu.name} is not known", "give it: --vram 64")
    return GpuMatch(found.gpu, count, vram)


def own_format(asked: Asked) -> Quant | None:
    """The format of the files that were named, where no other was asked for; None without files."""
    return asked.files.quant if asked.files is not None and asked.quant is None else None


def settled_quant(asked: Asked, engine: str, catalog: Catalog) -> Quant:
    """The one format of an exact configuration.

    Raises:
        UsageError: none is named, or only a width; the message lists the formats to choose from.
    """
    if asked.model is None:
        raise UsageError(
            "no model is named", "write for example --model qwen3.5-9b, or list them with: advisor models"
        )
    if asked.quant is not None and asked.quant.family != "generic":
        return asked.quant
    gpu = device(asked.request.gpu, catalog)
    choices = ", ".join(q.name for q in formats_for(engine, asked.model, gpu, asked.request, catalog))
    if asked.quant is None:
        raise UsageError(f"no quantization of {asked.model.name} is named", f"add --quant, one of: {choices}")
    raise UsageError(f"{asked.quant.name} is a width, no format", f"write --quant, one of: {choices}")


def check_context(asked: Asked) -> None:
    """Refuse a context above the model's own.

    Raises:
        UsageError: naming the maximum.
    """
    model, ctx = asked.model, asked.request.ctx
    if model is not None and model.max_context and ctx > model.max_context:
        most = format_tokens(model.max_context)
        raise UsageError(
            f"{model.name} takes at most {most} tokens of context", f"write --ctx {most} or less"
        )
