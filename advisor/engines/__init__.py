"""Engines: a configuration as the command line that launches it.

This package is the only place that spells engine flags. It knows nothing of memory sizes or speed.
"""

from __future__ import annotations

from collections.abc import Callable

from advisor.config import Setup
from advisor.engines import exllamav3, llamacpp, lmstudio, mlx, ollama, sglang, vllm
from advisor.engines.command_line import flags_in
from advisor.engines.rules import RuleOutcome, apply
from advisor.engines.versions import newest
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError

_Render = Callable[[Setup, RuleOutcome, Catalog | None], tuple[str, dict[str, str]]]
_RENDERERS: dict[str, _Render] = {
    "llama.cpp": llamacpp.render, "vllm": vllm.render, "sglang": sglang.render, "ollama": ollama.render,
    "lmstudio": lmstudio.render, "mlx": mlx.render, "exllamav3": exllamav3.render,
}  # fmt: skip
_SPELLINGS = {
    "llamacpp": "llama.cpp", "llama-cpp": "llama.cpp", "llama-server": "llama.cpp", "lm studio": "lmstudio",
    "lm-studio": "lmstudio", "lms": "lmstudio", "mlx-lm": "mlx", "mlx_lm": "mlx",
    "tabbyapi": "exllamav3",
}  # fmt: skip

PROPOSED = ("llama.cpp", "vllm")
"""Engines that are proposed where none is asked for."""
ENGINES = (*PROPOSED, "sglang", "ollama", "lmstudio", "mlx", "exllamav3")
"""Engines that are predicted for."""
ON_EVERY_LINE = frozenset({
    "--ctx-size", "--n-gpu-layers", "--flash-attn", "--model", "--hf-repo", "--port", "--parallel",
    "--max-model-len", "--gpu-memory-utilization", "--max-num-seqs",
    "--model-name", "--max-seq-len", "--cache-size",
})  # fmt: skip
"""Flags that stand on nearly every command: that they are used says nothing about the configuration."""


def engine_named(text: str) -> str:
    """The engine's own name for what people type.

    Raises:
        UnsupportedError: naming the engines there are.
    """
    key = text.strip().lower()
    name = _SPELLINGS.get(key, key)
    if name not in ENGINES:
        raise UnsupportedError(f"engine {text!r} is not supported", f"use one of: {', '.join(ENGINES)}")
    return name


def render(
    setup: Setup, rules: RuleOutcome | None = None, catalog: Catalog | None = None
) -> tuple[str, dict[str, str]]:
    """The launch command of `setup` (quoted for a POSIX shell) and its environment variables.

    `rules` is what `apply(setup)` said, where it is known already.

    Raises:
        UnsupportedError: an engine, format, setting or flag that cannot be had.
    """
    engine = setup.launch.engine
    if engine not in _RENDERERS:
        engine = engine_named(engine)
    if setup.launch.spec_decode.startswith("mtp") and not setup.model.has_mtp:
        raise UnsupportedError(f"{setup.model.name} has no draft (MTP) head", "leave --spec out")
    return _RENDERERS[engine](setup, apply(setup, catalog=catalog) if rules is None else rules, catalog)


def flags_of(engine: str, command: str) -> set[str]:
    """The flags on a launch command by their long names; short ones that are not known stay as they are."""
    long = llamacpp.LONG if engine == "llama.cpp" else {}
    return {long.get(word, word) for word in flags_in(command)}


__all__ = [
    "ENGINES", "ON_EVERY_LINE", "PROPOSED", "RuleOutcome", "apply", "engine_named", "flags_of", "newest",
    "render",
]  # fmt: skip
