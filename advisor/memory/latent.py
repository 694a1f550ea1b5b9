"""The tensors of llama.cpp's latent attention (MLA), with or without a sparse indexer, recorded on a tape.

It knows these layers' operations; the rest of a layer is `stack`'s business.
"""

from __future__ import annotations

from advisor.memory.kv_cache import INDEXER_KEY, indexed
from advisor.memory.layers import Heads, Lazy, Recorder, lazy

_INDEXER_HEADS = {"glm-dsa": 32, "deepseek32": 64}
_INDEXER_TOP = 2048
"""Cells that an indexer leaves visible; the catalog has no columns for indexers."""


def latent_attention(r: Recorder, x: Lazy, index: int) -> Lazy:
    """Queries and values live in the compressed space of the one cached row."""
    t, m = r.tape, r.model
    rank, rope = m.kv_lora_rank or 0, m.qk_rope_head_dim or 0
    bare = r.graph.bare == "all"
    xn = r.norm(x())
    indexes = r.graph.indexer and indexed(m, index)
    if indexes:
        key = t.new(r.wide(INDEXER_KEY), t.new(r.wide(INDEXER_KEY), xn))
        turned = t.new(r.wide(INDEXER_KEY), key, r.positions())
        t.use(t.new(r.wide(INDEXER_KEY), r.rotation("indexer", INDEXER_KEY), turned), r.index("indexer", 1))
    low = t.new(r.wide(m.q_lora_rank), xn) if m.q_lora_rank else xn
    q = t.new(r.wide(m.n_heads * ((m.qk_nope_head_dim or 0) + rope)), low)
    absorbed = t.new(r.wide(m.n_heads * rank), q)
    turned = q if bare else t.new(r.wide(m.n_heads * rope), q, r.positions())
    query = t.new(r.wide(m.n_heads * (rank + rope)), absorbed, turned)
    compressed = t.new(r.wide(rank + rope), xn)
    row = t.new(r.wide(rank), compressed)
    turned = compressed if bare else t.new(r.wide(rope), compressed, r.positions())
    t.use(t.new(r.wide(rank + rope), row, turned), r.index("keys", 1))
    mask = _select(r, xn, low, index, indexes=indexes) if r.graph.indexer else None
    heads = Heads(q=0, k=rank + rope, v=rank, out=m.n_heads * rank, turns_k=False, turns_v=False, bare=False)
    value = r.attend(query, heads, windowed=False, latent=True, mask=mask)
    value = t.new(r.wide(m.n_heads * m.head_dim_v), t.new(r.wide(m.n_heads * m.head_dim_v), value))
    return lazy(lambda: t.new(r.hidden, value))


def _select(r: Recorder, xn: int, low: int, index: int, *, indexes: bool) -> int:
    """The mask, narrowed to the cells that score highest; layers without an indexer take the last choice."""
    t, b, cells = r.tape, r.batch, r.batch.shape.cells
    mask = r.mask(windowed=False)
    size = r.wide(cells) / (2 if b.flash else 1)
    top = r.wide(min(_INDEXER_TOP, cells))
    zeros = t.over(top, (t.input(f"zeros {index}", top),))
    if indexes:
        heads = _INDEXER_HEADS[r.model.llama_arch]
        width = heads * INDEXER_KEY
        query = t.new(r.wide(width), t.new(r.wide(width), low), r.positions())
        query = t.new(r.wide(width), r.rotation("indexer", INDEXER_KEY), query)
        weights = t.new(r.wide(heads), t.new(r.wide(heads), xn))
        score = t.new(r.wide(cells), query, weights, t.input("mask of indexers", size))
        r.chosen = t.new(top, t.new(top, score))
    hidden = t.new(size, mask)
    t.use(zeros, r.chosen)
    return t.new(size, hidden, mask)
