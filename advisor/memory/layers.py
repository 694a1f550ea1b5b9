"""The tensors of llama.cpp's attention layers, and what all layers share, recorded on a tape.

It knows the operations of attention and their widths; which layers follow each other is `stack`'s business,
and what an architecture adds to a plain one is in `graphs`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from advisor.memory.batch import Batch
from advisor.memory.graphs import Graph
from advisor.memory.kv_cache import attention_rows
from advisor.memory.tape import Tape
from knowledge.schema import ModelSpec

FLOAT = 4
_HALF = 2
_LONG = 8
_WIDE = frozenset({"f16", "bf16", "f32"})
_ROTATION = 64
"""Heads that divide by this are rotated before quantization, so that outliers spread."""

Lazy = Callable[[], int]
"""A tensor that llama.cpp computes only when something needs it."""


def lazy(compute: Lazy) -> Lazy:
    """`compute`, run at most once."""
    result: list[int] = []

    def value() -> int:
        if not result:
            result.append(compute())
        return result[0]

    return value


@dataclass(frozen=True, slots=True)
class Heads:
    """The attention of one kind of layer, in numbers per token."""

    q: int
    k: int
    v: int
    out: int
    turns_k: bool
    turns_v: bool
    bare: bool
    cache: str = ""
    """Full and windowed layers have caches, and with them indices and rotations, of their own."""

    @property
    def keys(self) -> str:
        """The name of what belongs to the cache's keys."""
        return f"keys{self.cache}"

    @property
    def values(self) -> str:
        """The name of what belongs to the cache's values."""
        return f"values{self.cache}"


@dataclass(slots=True)
class Recorder:
    """Records the layers of one model for one micro-batch."""

    tape: Tape
    model: ModelSpec
    graph: Graph
    batch: Batch
    casts: dict[bool, int] = field(default_factory=dict)
    chosen: int = 0
    """The cells that the last indexer chose."""

    def wide(self, floats: float) -> float:
        """Bytes of so many numbers for every token."""
        return floats * self.batch.shape.ubatch * FLOAT

    @property
    def hidden(self) -> float:
        """Bytes of the hidden state."""
        return self.wide(self.model.hidden_size)

    def norm(self, x: int, size: float = 0.0) -> int:
        """The norm before a block; in place when nothing else needs `x`."""
        size = size or self.hidden
        return self.tape.new(size, x) if self.graph.layer_norm else self.tape.over(size, (x,))

    def positions(self) -> int:
        """Where each token stands."""
        return self.tape.input("positions", self.wide(self.graph.positions))

    def index(self, what: str, rows: float) -> int:
        """Where in the cache new rows go."""
        return self.tape.input(what, rows * self.batch.shape.ubatch * _LONG)

    def rotation(self, what: str, dim: int = _ROTATION) -> int:
        """The matrix that rotates heads of `dim` elements: as wide as divides them."""
        side = _ROTATION
        while dim % (2 * side) == 0:
            side *= 2
        return self.tape.input(f"rotation {what}", side * side * FLOAT)

    def mask(self, *, windowed: bool) -> int:
        """Which cells a token may see: f16 for flash attention, in older builds f32 and an f16 copy of it."""
        b = self.batch
        size = float((b.shape.sliding if windowed else b.shape.cells) * b.shape.ubatch)
        if b.flash and b.mask_bytes == _HALF:
            return self.tape.input(f"mask {windowed}", size * _HALF)
        mask = self.tape.input(f"mask {windowed}", size * FLOAT)
        if not b.flash:
            return mask
        if windowed not in self.casts:
            self.casts[windowed] = self.tape.new(size * _HALF, mask)
        return self.casts[windowed]

    def heads(self, index: int, *, windowed: bool) -> Heads:
        """The attention of layer `index`."""
        m, g, b = self.model, self.graph, self.batch
        if windowed:
            count, dim_k, dim_v = m.swa_n_kv_heads or m.n_kv_heads, m.head_dim_k, m.head_dim_v
        else:
            count = m.global_n_kv_heads or m.n_kv_heads
            dim_k, dim_v = m.global_head_dim or m.head_dim_k, m.global_head_dim or m.head_dim_v
        return Heads(
            q=m.n_heads * dim_k,
            k=count * dim_k,
            v=count * dim_v,
            out=m.n_heads * dim_v,
            turns_k=b.scratch and b.type_k not in _WIDE and dim_k % _ROTATION == 0,
            turns_v=b.scratch and b.type_v not in _WIDE and dim_v % _ROTATION == 0,
            bare=g.bare == "all"
            or (g.bare == "full" and not windowed)
            or (g.bare == "fourth" and index % 4 == 3),
            cache=" of windows" if windowed else "",
        )

    def attend(
        self, q: int, h: Heads, *, windowed: bool, latent: bool = False, mask: int | None = None
    ) -> int:
        """Scores, softmax and the weighted sum of values; `latent` values are a part of the keys (MLA)."""
        t, b = self.tape, self.batch
        cells = b.shape.sliding if windowed else b.shape.cells
        rows = cells * b.shape.streams
        if mask is None:
            mask = self.mask(windowed=windowed)
        if b.flash:
            scratch = 0.0
            if b.scratch:
                scratch += 0 if b.type_k in _WIDE else _HALF * rows * h.k
                scratch += 0 if b.type_v in _WIDE or latent else _HALF * rows * h.v
            return t.new(self.wide(h.out), q, mask, scratch=scratch)
        values = (t.new(_HALF * rows * h.v),) if latent else ()
        scores = self.wide(cells * self.model.n_heads)
        weights = t.over(scores, (t.new(scores, q),), mask)
        summed = t.new(self.wide(h.out), weights, *values)
        return summed if latent else t.new(self.wide(h.out), summed)

    def attention(self, x: Lazy, index: int, *, windowed: bool, cached: bool = True) -> tuple[int, Lazy]:
        """Attention over its own cache (or, `cached` false, another layer's): its input and its output."""
        t = self.tape
        h = self.heads(index, windowed=windowed)
        xn = self.norm(x()) if self.graph.pre_norm else x()
        q, joint = self._queries(h, xn)
        if cached:
            if self.model.layers_sliding:  # a cache with windows stores keys first
                k, v = self._keys(h, xn, joint), self._values(h, xn, joint)
            else:
                v = self._values(h, xn, joint)
                k = self._keys(h, xn, joint)
            widest = max(row.v_elements for row in attention_rows(self.model))
            t.use(k, self.index(h.keys, 1))
            t.use(v, self.index(h.values, 1 if self.batch.flash else widest))
        out = self.attend(q, h, windowed=windowed)
        return xn, lazy(lambda: self._projected(h, out, xn, joint))

    def _projected(self, h: Heads, out: int, xn: int, joint: int) -> int:
        """The attention output, rotated back, gated and brought to the width of the hidden state."""
        t, gate = self.tape, self.graph.gate
        if h.turns_v:
            out = t.new(self.wide(h.out), self.rotation(h.values), out)
        if gate in {"joint", "full"}:
            factor = t.new(self.wide(h.q), joint if gate == "joint" else xn)
            heirs = (factor, out) if self.batch.flash else (out, factor)  # flash attention's is reshaped
            out = t.over(self.wide(h.q), heirs[:1], *heirs[1:])
        elif gate == "heads":
            out = t.new(self.wide(h.q), out, t.new(self.wide(self.model.n_heads), xn))
        return t.new(self.hidden, out)

    def _queries(self, h: Heads, xn: int) -> tuple[int, int]:
        """The queries, and the tensor they were a part of."""
        t, g = self.tape, self.graph
        joint = 0
        if g.fused_qkv or g.gate == "joint":
            joint = t.new(self.wide(h.q + h.k + h.v if g.fused_qkv else 2 * h.q), xn)
            q = t.new(self.wide(h.q), joint, self.positions())
        else:
            q = t.new(self.wide(h.q), xn)
            if not h.bare:
                q = t.new(self.wide(h.q), q, self.positions())
            elif g.scaled_q:
                q = t.new(self.wide(h.q), q, t.input("scale", self.wide(1)))
        if h.turns_k:
            q = t.new(self.wide(h.q), self.rotation(h.keys, h.q // self.model.n_heads), q)
        return q, joint

    def _keys(self, h: Heads, xn: int, joint: int) -> int:
        t, g = self.tape, self.graph
        if g.fused_qkv:
            k = t.new(self.wide(h.k), joint, self.positions())
        else:
            k = t.new(self.wide(h.k), xn)
            if not h.bare:
                k = t.new(self.wide(h.k), k, self.positions())
        if h.turns_k:
            k = t.new(self.wide(h.k), self.rotation(h.keys, h.q // self.model.n_heads), k)
        return k

    def _values(self, h: Heads, xn: int, joint: int) -> int:
        t, g = self.tape, self.graph
        v = joint if g.fused_qkv else t.new(self.wide(h.v), xn)
        if g.v_norm:
            v = t.new(self.wide(h.v), v)
        if h.turns_v:
            if g.fused_qkv:  # a part of a wider tensor is copied out first
                v = t.new(self.wide(h.v), v)
            v = t.new(self.wide(h.v), self.rotation(h.values), v)
        return v
