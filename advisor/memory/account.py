"""The door of memory accounting: one setup in, its memory by part out.

It knows which engine is accounted by whom, and nothing else.
"""

from __future__ import annotations

from advisor.config import Memory, Setup
from advisor.memory import llamacpp, sglang, vllm
from knowledge.errors import UnsupportedError

ENGINES = (*llamacpp.FAMILY, "vllm", "sglang")
"""Engines whose memory can be computed."""


def account(setup: Setup) -> Memory:
    """Memory that `setup` needs and may have, in MiB, on its fullest device.

    `total_mib <= available_mib` means that the estimate fits; how sure that is, is `advisor.risk`'s answer.

    Raises:
        UnsupportedError: the engine, or the model's architecture on that engine, cannot be computed honestly.
    """
    engine = setup.launch.engine
    if engine in llamacpp.FAMILY:
        return llamacpp.account(setup)
    if engine == "vllm":
        return vllm.account(setup)
    if engine == "sglang":
        return sglang.account(setup)
    raise UnsupportedError(
        f"the memory of engine {engine!r} cannot be computed", f"use one of: {', '.join(ENGINES)}"
    )
