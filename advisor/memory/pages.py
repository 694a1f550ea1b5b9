"""The paged cache of vLLM: blocks of tokens, groups of layers, and the pages a request pins.

All groups of layers draw whole blocks from one pool, so every layer's page has one size: attention blocks are
made longer until their page holds a recurrent layer's state, and the remainder is padding. It knows shapes
and types, not budgets. The rules are those of
vLLM's `kv_cache_utils`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from advisor.memory.kv_cache import LayerRow, attention_rows
from advisor.memory.state import layer_states
from knowledge.errors import UnsupportedError
from knowledge.kv_types import row_bytes
from knowledge.schema import ModelSpec

BLOCK_TOKENS = 16
_F32_STATE = frozenset({"qwen35", "qwen35moe"})
"""Architectures whose configuration keeps the recurrent matrix in f32 (`mamba_ssm_dtype`); others 16 bit."""


@dataclass(frozen=True, slots=True)
class Pool:
    """How one device's cache is cut up.

    `block_bytes` one block of all layers of one group; `full_tokens`, `sliding_tokens` the tokens of an
    attention block (a narrower kind of layer gets more of them, so that pages are equal); `full_groups`,
    `sliding_groups`, `state_groups` how many groups a request draws blocks for.
    """

    full_tokens: int
    sliding_tokens: int
    block_bytes: float
    full_groups: int
    sliding_groups: int
    state_groups: int
    window: int

    @property
    def groups(self) -> int:
        """Groups that share the pool."""
        return self.full_groups + self.sliding_groups + self.state_groups

    def state_blocks(self, drafts: int, *, prefix_caching: bool) -> int:
        """Blocks that one request pins for recurrent state: a copy per draft, one more to resume prefixes."""
        return self.state_groups * (1 + drafts + prefix_caching)

    def attention_blocks(self, tokens: int, batched_tokens: int) -> int:
        """Blocks that one request of `tokens` pins for attention; a window also keeps the running batch."""
        full = self.full_groups * math.ceil(tokens / self.full_tokens)
        if not self.sliding_groups:
            return full
        kept = min(self.window - 1 + batched_tokens, tokens)
        return full + self.sliding_groups * (math.ceil(kept / self.sliding_tokens) + 1)

    def token_capacity(self, blocks: int) -> int:
        """Tokens that vLLM reports for `blocks` ("GPU KV cache size")."""
        return blocks // self.groups * min(self.full_tokens, self.sliding_tokens)


def pool_of(model: ModelSpec, kv_type: str, ways: int, *, draft_layers: int = 0, mtp: bool = False) -> Pool:
    """The pool of one of `ways` tensor-parallel devices, its cache in `kv_type`.

    KV heads are split over the devices and replicated when there are fewer of them; MLA is replicated.
    The layer of an MTP head joins those with full attention; a separate drafter's layers are a kind of their
    own, so that groups become as small as it (180,000 tokens of a 27B with a drafter of five took 9.2 GiB
    instead of 5.6: `data/memory/vllm_startup.csv`).

    Raises:
        UnsupportedError: a mixture of kinds of layers that vLLM's grouping does not describe.
    """
    rows = attention_rows(model)
    if mtp and rows and not rows[0].windowed:
        rows = (replace(rows[0], layers=rows[0].layers + 1), *rows[1:])
    per_token = [_row_bytes(model, row, kv_type, ways) for row in rows]
    states = layer_states(model)
    if not rows and not states:
        raise UnsupportedError(f"{model.name} has no layer that caches", "see: advisor models")
    state_type = 4 if model.llama_arch in _F32_STATE else 2
    state_page = max(
        (
            (2 * state.conv + state_type * state.recurrent) / (1 if state.recurrent == 0 else ways)
            for state in states
        ),
        default=0.0,
    )
    widest = max(per_token, default=0.0)
    block = BLOCK_TOKENS
    if state_page and widest:
        block = max(BLOCK_TOKENS, math.ceil(state_page / widest / BLOCK_TOKENS) * BLOCK_TOKENS)
    page = max(block * widest, state_page)

    def tokens(windowed: bool) -> int:
        widths = [width for row, width in zip(rows, per_token, strict=True) if row.windowed == windowed]
        return block * max(int(widest // max(widths)), 1) if widths else block

    counts = [row.layers for row in rows] + [state.layers for state in states]
    size = _group_size([*counts, draft_layers] if draft_layers else counts)
    full = sum(math.ceil(row.layers / size) for row in rows if not row.windowed)
    full += math.ceil(draft_layers / size)
    sliding = sum(math.ceil(row.layers / size) for row in rows if row.windowed)
    recurrent = sum(math.ceil(state.layers / size) for state in states)
    return Pool(
        full_tokens=tokens(windowed=False),
        sliding_tokens=tokens(windowed=True),
        block_bytes=page * size,
        full_groups=full,
        sliding_groups=sliding,
        state_groups=recurrent,
        window=model.sliding_window or 0,
    )


def _row_bytes(model: ModelSpec, row: LayerRow, kv_type: str, ways: int) -> float:
    whole = row_bytes(kv_type, row.k_elements) + (
        row_bytes(kv_type, row.v_elements) if row.v_elements else 0.0
    )
    if row.v_elements == 0:  # the latent row of MLA
        return whole
    if row.windowed:
        heads = model.swa_n_kv_heads or model.n_kv_heads
    else:
        heads = model.global_n_kv_heads or model.n_kv_heads
    return whole * max(math.ceil(heads / ways), 1) / heads


def _group_size(counts: list[int]) -> int:
    """Layers per group: the smallest kind, unless the kinds are nearly equal in number (then the largest)."""
    smallest, largest = min(counts), max(counts)
    return largest if largest < smallest * 1.25 else smallest
