"""What a paged server can hold once it runs: tokens of cache, requests at once, the longest request.

It words no verdict; the budgets behind it are `vllm`'s and `sglang`'s.
"""

from __future__ import annotations

from advisor.config import Capacity, Setup
from advisor.memory.sglang import budget as sglang_budget
from advisor.memory.vllm import budget as vllm_budget


def capacity_of(setup: Setup) -> Capacity | None:
    """The capacity of a paged server; None for engines that allocate what they are asked for.

    Raises:
        UnsupportedError: as the engine's accounting.
    """
    launch = setup.launch
    if launch.engine == "vllm":
        found = vllm_budget(setup)
        return Capacity(
            starts=found.starts,
            kv_tokens=max(found.kv_tokens, 0),
            full_length_requests=round(max(found.requests, 0.0), 2),
            longest_request=found.max_len,
        )
    if launch.engine == "sglang":
        tokens = sglang_budget(setup).kv_tokens
        return Capacity(
            starts=tokens > 0,
            kv_tokens=tokens,
            full_length_requests=round(tokens / launch.ctx, 2),
            longest_request=tokens,
        )
    return None
