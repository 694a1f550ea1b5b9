"""What a paged server needs beside its budget while a prompt is read, and what the budget leaves for it.

It knows shapes, cache types and shares of a card; how sure that is, is `risk`'s judgement.
"""

from __future__ import annotations

from advisor.config import Setup
from advisor.memory.kv_cache import attention_rows
from advisor.memory.paged import budget_mib, ways_of
from advisor.memory.supply import free_mib
from advisor.memory.vllm import graphs_on_top_mib
from knowledge.kv_types import normalise_kv_type, row_bytes
from knowledge.units import BYTES_PER_MIB

_UNPACKED_COPIES = 5.0
"""16-bit copies of one layer's keys and values that unpacking holds at once: rotated back in 32 bit, rounded,
and joined to the chunk's own. A 3090's slack of 0.9 GiB fails at prompts of 60K tokens and of 1.4 at 90K, and
passes 50K and 60K (`data/memory/memory_cases.csv`)."""


def prompt_scratch_mib(setup: Setup, tokens: int) -> float:
    """MiB that a prompt of `tokens` takes outside the budget, where the cache type has to be unpacked first.

    Kernels read 8-bit caches as they are; TurboQuant's codes of the whole prompt are unpacked for every chunk
    (https://github.com/noonghunna/club-3090/blob/4a29ab57d42a1d587de1042fa5dfd9535f94a063/docs/CLIFFS.md).
    """
    name = normalise_kv_type(setup.launch.kv_type_k) or ""
    if not name.startswith("turbo"):
        return 0.0
    tensor, _ = ways_of(setup.launch)
    widest = max(
        (row_bytes("f16", row.k_elements) + row_bytes("f16", row.v_elements))
        for row in attention_rows(setup.model)
    )
    return _UNPACKED_COPIES * tokens * widest / tensor / BYTES_PER_MIB


def slack_mib(setup: Setup) -> float:
    """MiB of the card that the server's budget, and graphs outside of it, leave."""
    return free_mib(setup) - budget_mib(setup) - graphs_on_top_mib(setup)
