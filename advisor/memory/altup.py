"""The tensors of llama.cpp's Gemma 3n: four parallel streams, predicted and corrected by every layer.

It knows this family's operations beside attention and feed-forward; the head is `stack`'s business.
"""

from __future__ import annotations

from advisor.memory.layers import Recorder
from advisor.memory.order import Layer

_STREAMS = 4
_LOW_RANK = 64
_SPARSE_LAYERS = 10
"""Layers, from the first, whose activations are cut to their largest."""


def enter(r: Recorder, embedded: int) -> int:
    """The streams: the embedding and what is projected from it, brought to its magnitude."""
    t = r.tape
    rest = (_STREAMS - 1) * r.hidden
    projected = t.new(rest, t.new(rest, embedded))
    return t.new(_STREAMS * r.hidden, embedded, _scaled(r, projected, embedded))


def leave(r: Recorder, x: int) -> int:
    """The mean of the streams."""
    t = r.tape
    rest = _scaled(r, t.new((_STREAMS - 1) * r.hidden, x), x)
    total = t.new(r.hidden, x, rest)
    for _ in range(_STREAMS - 2):
        total = t.over(r.hidden, (total,), rest)
    return total


def _scaled(r: Recorder, rest: int, first: int) -> int:
    """`rest` with the magnitude of `first`."""
    t = r.tape
    size = (_STREAMS - 1) * r.hidden
    magnitude = t.new(r.wide(1), t.new(r.hidden, first))
    scaled = t.new(size, rest, magnitude)
    own = t.new(r.wide(_STREAMS - 1), t.over(size, (rest,)))
    return t.over(size, (scaled,), own)


def layer(r: Recorder, x: int, this: Layer, per_layer: int) -> tuple[int, int]:
    """One layer: the corrected streams, and the gate that waits for the layer's own embedding."""
    t, m = r.tape, r.model
    streams = _STREAMS * r.hidden
    turned = t.new(streams, x)
    route = t.new(r.wide(_STREAMS), t.new(r.hidden, x))
    mixed = t.new(streams, turned, t.new(r.wide(_STREAMS**2), route))
    predicted = t.over(streams, (t.new(streams, mixed), x))

    xn = t.new(r.hidden, predicted)
    _, attention = r.attention(lambda: xn, this.index, windowed=this.kind == "window", cached=this.cached)
    y = t.over(r.hidden, (attention(),), predicted)
    low = t.new(r.hidden, t.new(r.wide(_LOW_RANK), xn))
    y = t.over(r.hidden, (y, t.over(r.hidden, (low, xn))))

    normed = t.new(r.hidden, y)
    width = r.wide(m.intermediate_size or 0)
    up, gate = t.new(width, normed), t.new(width, normed)
    if this.index < _SPARSE_LAYERS:
        mean = t.new(r.wide(1), gate)
        spread = t.new(r.wide(1), t.new(width, gate, mean))
        gate = t.over(width, (gate,), t.over(r.wide(1), (mean, spread)))
    out = t.new(r.hidden, t.over(width, (up, gate)))
    y = t.over(r.hidden, (out, y))

    innovation = t.new(streams, t.new(r.hidden, y, predicted))
    route = t.new(r.wide(_STREAMS), t.over(r.hidden, (y,)))
    factors = t.new(r.wide(_STREAMS), t.new(r.wide(_STREAMS), route))
    corrected = t.over(streams, (t.over(streams, (innovation,), factors), predicted))
    return corrected, t.new(r.wide(per_layer), t.new(r.hidden, corrected))


def add(r: Recorder, corrected: int, gate: int, own: int, per_layer: int) -> int:
    """The layer's own embedding, added to all streams but the first."""
    t = r.tape
    inner = t.new(r.hidden, t.over(r.wide(per_layer), (gate,), own))
    rest = t.new((_STREAMS - 1) * r.hidden, corrected, inner)
    return t.new(_STREAMS * r.hidden, corrected, rest)
