"""Ollama's variables and command for a configuration.

It owns the spelling of `OLLAMA_…`; Ollama has no flags that move memory. Memory and speed are not here.
"""

from __future__ import annotations

from advisor.config import Setup
from advisor.engines.rules import RuleOutcome
from advisor.engines.traits import is_gguf
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError
from knowledge.kv_types import normalise_kv_type
from knowledge.weights import file_tag

CACHE_TYPES = ("f16", "q8_0", "q4_0")
"""https://github.com/ollama/ollama/blob/fb3076099/docs/faq.mdx"""


def render(setup: Setup, _rules: RuleOutcome, _catalog: Catalog | None = None) -> tuple[str, dict[str, str]]:
    """The command and the environment that launch `setup`; the tag is a model of one's own (`ollama create`).

    Raises:
        UnsupportedError: a format or setting that Ollama does not have.
    """
    launch = setup.launch
    cache = normalise_kv_type(launch.kv_type_k)
    if cache not in CACHE_TYPES or cache != normalise_kv_type(launch.kv_type_v):
        raise UnsupportedError(
            f"Ollama has no KV cache of {launch.kv_type_k} and {launch.kv_type_v}",
            f"use one of {', '.join(CACHE_TYPES)} for both",
        )
    if not is_gguf(setup.quant):
        raise UnsupportedError(f"Ollama does not read {setup.quant.name}", "use for example --quant Q4_K_M")
    if launch.n_gpu_layers is not None or launch.n_cpu_moe or launch.spec_decode != "none":
        raise UnsupportedError("Ollama places layers by itself and does not speculate", "use llama.cpp")
    env = {"OLLAMA_CONTEXT_LENGTH": str(launch.ctx)}
    if cache != "f16":
        env["OLLAMA_KV_CACHE_TYPE"] = cache
    if not launch.flash_attn or cache != "f16":
        env["OLLAMA_FLASH_ATTENTION"] = "1" if launch.flash_attn else "0"
    if launch.parallel is not None:
        env["OLLAMA_NUM_PARALLEL"] = str(launch.parallel)
    return f"ollama run {setup.model.name.lower()}:{file_tag(setup.quant).lower()}", env
