"""The door of memory accounting: one setup in, its memory by part out.

It knows which engine is accounted by whom, and nothing else.
"""

from __future__ import annotations

from advisor.config import Memory, Setup
from advisor.memory.llamacpp import FAMILY
from advisor.memory.llamacpp import account as account_llamacpp
from advisor.memory.sglang import account as account_sglang
from advisor.memory.vllm import account as account_vllm
from knowledge.errors import UnsupportedError

ENGINES = (*FAMILY, "vllm", "sglang")
"""Engines whose memory can be computed."""


def account(setup: Setup) -> Memory:
    """Memory that `setup` needs and may have, in MiB, on its fullest device.

    `total_mib <= available_mib` means that the estimate fits; how sure that is, is `advisor.risk`'s answer.

    Raises:
        UnsupportedError: the engine, or the model's architecture on that engine, cannot be computed honestly.
    """
    engine = setup.launch.engine
    if engine in FAMILY:
        return account_llamacpp(setup)
    if engine == "vllm":
        return account_vllm(setup)
    if engine == "sglang":
        return account_sglang(setup)
    raise UnsupportedError(
        f"the memory of engine {engine!r} cannot be computed", f"use one of: {', '.join(ENGINES)}"
    )
