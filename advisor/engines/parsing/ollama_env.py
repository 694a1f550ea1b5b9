"""Ollama's variables as settings of a launch: what `advisor.engines.ollama` prints, read back.

Ollama has no flags that move memory: its server reads `OLLAMA_…`. Whether the launch fits is judged
elsewhere.
"""

from __future__ import annotations

import re

from advisor.engines.ollama import CACHE_TYPES
from advisor.engines.parsing.arguments import Arguments, Unknown
from advisor.engines.parsing.programs import Launch
from advisor.engines.parsing.reading import Reading, words_of
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.names.match import nearest

_DEFAULT_QUANT = "Q4_K_M"
_KNOWN = frozenset({
    "OLLAMA_CONTEXT_LENGTH", "OLLAMA_KV_CACHE_TYPE", "OLLAMA_NUM_PARALLEL", "OLLAMA_FLASH_ATTENTION",
    "OLLAMA_HOST", "OLLAMA_MODELS", "OLLAMA_KEEP_ALIVE", "OLLAMA_MAX_LOADED_MODELS", "OLLAMA_MAX_QUEUE",
    "OLLAMA_GPU_OVERHEAD", "OLLAMA_SCHED_SPREAD", "OLLAMA_VULKAN", "OLLAMA_DEBUG", "OLLAMA_ORIGINS",
    "OLLAMA_LOAD_TIMEOUT", "OLLAMA_LLM_LIBRARY", "OLLAMA_NEW_ENGINE", "OLLAMA_NOHISTORY", "OLLAMA_NOPRUNE",
    "OLLAMA_MULTIUSER_CACHE", "OLLAMA_NEW_ESTIMATES", "OLLAMA_INTEL_GPU", "OLLAMA_NO_CLOUD",
    "OLLAMA_REMOTES", "OLLAMA_EDITOR",
})  # fmt: skip
"""https://github.com/ollama/ollama/blob/fb3076099/envconfig/config.go"""
_VALUED = frozenset({"--keepalive", "--format", "--think", "--dimensions"})


def read(launch: Launch, version_text: str | None, _catalog: Catalog) -> Reading:
    """The reading of `ollama run MODEL` or `ollama serve` with the variables before it.

    Raises:
        UsageError: a variable of the wrong type.
    """
    found = Arguments()
    reading = Reading(launch, version_text, found, devices=launch.devices)
    words = words_of(launch)
    at = 0
    while at < len(words):
        if words[at].startswith("-"):
            at += 2 if words[at] in _VALUED else 1
            continue
        reading.model = words[at]
        break  # what follows the model is the prompt
    reading.quant, reading.quant_is_default = _DEFAULT_QUANT, True
    env = launch.env
    for name in env:
        if name.startswith("OLLAMA_") and name not in _KNOWN:
            found.unknown.append(Unknown(name, "Ollama reads no such variable", tuple(nearest(name, _KNOWN))))
    reading.context = _whole(env, "OLLAMA_CONTEXT_LENGTH") or None
    reading.set(parallel=_whole(env, "OLLAMA_NUM_PARALLEL") or None)
    reading.fits_itself = True
    flash = env.get("OLLAMA_FLASH_ATTENTION", "").lower()
    reading.settings["flash_attn"] = flash not in {"0", "false", "off"}
    cache = env.get("OLLAMA_KV_CACHE_TYPE", "").lower()
    if cache and cache not in CACHE_TYPES:
        raise UsageError(
            f"OLLAMA_KV_CACHE_TYPE {cache!r} is unknown", f"use one of: {', '.join(CACHE_TYPES)}"
        )
    if cache:
        reading.set(kv_type_k=cache, kv_type_v=cache)
    return reading


def default_context(vram_gib: float) -> int:
    """Tokens that Ollama takes where nothing is stated, by the memory of all devices together.

    Source: https://github.com/ollama/ollama/blob/fb3076099/docs/context-length.mdx
    """
    return 4096 if vram_gib < 24 else 32768 if vram_gib < 48 else 262144


def _whole(env: dict[str, str], name: str) -> int | None:
    text = env.get(name, "").strip()
    if not text:
        return None
    if not re.fullmatch(r"\d{1,9}", text):
        raise UsageError(f"{name} {text!r} is not a whole number", f"write for example {name}=32768")
    return int(text)
