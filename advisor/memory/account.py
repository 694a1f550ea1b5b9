"""The door of memory accounting: one setup in, its memory by part out.

It knows which engine is accounted by whom, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

from advisor.config import Memory, Setup
from advisor.memory.exllama import EXLLAMA
from advisor.memory.exllama import account as account_exllama
from advisor.memory.llamacpp import FAMILY
from advisor.memory.llamacpp import account as account_llamacpp
from advisor.memory.mlx import account as account_mlx
from advisor.memory.sglang import account as account_sglang
from advisor.memory.vllm import account as account_vllm
from knowledge.errors import UnsupportedError

_ACCOUNTS: dict[str, Callable[[Setup], Memory]] = {
    **dict.fromkeys(FAMILY, account_llamacpp),
    **dict.fromkeys(EXLLAMA, account_exllama),
    "mlx": account_mlx,
    "vllm": account_vllm,
    "sglang": account_sglang,
}
ENGINES = tuple(_ACCOUNTS)
"""Engines whose memory can be computed."""


def account(setup: Setup) -> Memory:
    """Memory that `setup` needs and may have, in MiB, on its fullest device.

    `total_mib <= available_mib` means that the estimate fits; how sure that is, is `advisor.risk`'s answer.

    Raises:
        UnsupportedError: the engine, or the model's architecture on that engine, cannot be computed honestly.
    """
    engine = setup.launch.engine
    if engine not in _ACCOUNTS:
        raise UnsupportedError(
            f"the memory of engine {engine!r} cannot be computed", f"use one of: {', '.join(ENGINES)}"
        )
    return _ACCOUNTS[engine](setup)
