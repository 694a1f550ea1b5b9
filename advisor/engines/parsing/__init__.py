"""Launch commands read back: a text → what the engine would do with it.

It is the inverse of `advisor.engines.render`. It resolves no names, knows no memory sizes and no speed.
"""

from __future__ import annotations

from collections.abc import Callable

from advisor.engines.parsing import (
    exllamav3_args,
    llamacpp_args,
    lmstudio_args,
    mlx_args,
    ollama_env,
    sglang_args,
    vllm_args,
)
from advisor.engines.parsing.arguments import Unknown
from advisor.engines.parsing.programs import Launch, launch_in
from advisor.engines.parsing.reading import ALL_LAYERS, Reading, Remark
from knowledge.catalog import Catalog, default_catalog

_READERS: dict[str, Callable[[Launch, str | None, Catalog], Reading]] = {
    "llama.cpp": llamacpp_args.read,
    "vllm": vllm_args.read,
    "sglang": sglang_args.read,
    "ollama": ollama_env.read,
    "exllamav3": exllamav3_args.read,
    "lmstudio": lmstudio_args.read,
    "mlx": mlx_args.read,
}


def parse_command(text: str, version: str | None = None, catalog: Catalog | None = None) -> Reading:
    """What `text` launches, as the engine's `version` understands it (else its image's tag, else the newest).

    Raises:
        UsageError: no known engine, a broken quote, a flag without its value or with one of the wrong type.
    """
    launch = launch_in(text)
    return _READERS[launch.engine](launch, version or launch.version, catalog or default_catalog())


__all__ = ["ALL_LAYERS", "Reading", "Remark", "Unknown", "parse_command"]
