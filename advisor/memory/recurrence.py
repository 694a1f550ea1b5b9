"""The tensors of llama.cpp's recurrent layers, recorded on a tape: delta nets, Mamba 2, short convolutions.

It knows these layers' operations; the sizes of their states are `state`'s business.
"""

from __future__ import annotations

from advisor.memory.layers import FLOAT, Lazy, Recorder, lazy
from advisor.memory.state import LayerState


def _states(r: Recorder, floats: int) -> int:
    """Every slot's state, gathered from the cache."""
    slots = r.batch.slots
    return r.tape.new(slots * floats * FLOAT, r.tape.input("slots", FLOAT * slots))


def _convolved(r: Recorder, x: int, floats: float, window: int, held: float) -> int:
    """A convolution over the stored inputs (`window`, `held` bytes of them for all slots) and new ones."""
    t = r.tape
    joined = t.new(r.wide(floats) + held, window, x)
    t.use(joined)
    return joined


def delta_net(r: Recorder, x: Lazy, state: LayerState) -> Lazy:
    """A gated delta net: queries, keys and values through one convolution, one gated output."""
    t, m, slots = r.tape, r.model, r.batch.slots
    heads = m.linear_num_value_heads or 0
    value = heads * (m.linear_value_head_dim or 0)
    key = (m.linear_num_key_heads or 0) * (m.linear_key_head_dim or 0)
    xn = r.norm(x())
    window = _states(r, state.conv)
    mixed = t.new(r.wide(value + 2 * key), xn)
    joined = _convolved(r, mixed, value + 2 * key, window, slots * state.conv * FLOAT)
    held = _states(r, state.recurrent)
    convolved = t.new(r.wide(value + 2 * key), joined)
    q = t.new(r.wide(key), convolved)
    k = t.new(r.wide(key), convolved)
    decay = t.new(r.wide(heads), t.new(r.wide(heads), xn))
    beta = t.new(r.wide(heads), t.new(r.wide(heads), xn))
    out = t.new(r.wide(value) + slots * state.recurrent * FLOAT, q, k, convolved, decay, beta, held)
    t.use(out)

    def tail() -> int:
        normed = t.new(r.wide(value), out)
        gate = t.new(r.wide(value), t.new(r.wide(value), xn))
        return t.new(r.hidden, t.over(r.wide(value), (normed, gate)))

    return lazy(tail)


def kimi_delta(r: Recorder, x: Lazy, state: LayerState) -> Lazy:
    """Kimi's delta net: three convolutions, a decay per channel."""
    t, m, slots = r.tape, r.model, r.batch.slots
    heads, low = m.linear_num_value_heads or 0, m.linear_key_head_dim or 0
    width = heads * (m.linear_value_head_dim or 0)
    xn = r.norm(x())
    window = _states(r, state.conv)
    joined = [
        _convolved(r, t.new(r.wide(width), xn), width, window, slots * state.conv * FLOAT / 3)
        for _ in range(3)
    ]
    held = _states(r, state.recurrent)
    q, k = (t.new(r.wide(width), t.new(r.wide(width), t.new(r.wide(width), each))) for each in joined[:2])
    v = t.new(r.wide(width), t.new(r.wide(width), joined[2]))
    decay = t.new(r.wide(width), t.new(r.wide(width), t.new(r.wide(low), xn)))
    beta = t.new(r.wide(heads), t.new(r.wide(heads), xn))
    out = t.new(r.wide(width) + slots * state.recurrent * FLOAT, q, k, v, decay, beta, held)
    t.use(out)

    def tail() -> int:
        normed = t.new(r.wide(width), t.new(r.wide(width), out))
        gate = t.new(r.wide(width), t.new(r.wide(width), t.new(r.wide(low), xn)))
        return t.new(r.hidden, t.new(r.wide(width), t.over(r.wide(width), (normed, gate))))

    return lazy(tail)


def mamba(r: Recorder, x: Lazy, state: LayerState, *, own_norm: bool = False) -> Lazy:
    """A Mamba 2 mixer; its states are gathered before the layer's input is computed."""
    t, m, slots = r.tape, r.model, r.batch.slots
    heads = m.ssm_num_heads or 0
    inner = heads * (m.ssm_head_dim or 0)
    mixed = inner + 2 * (m.ssm_groups or 1) * (m.ssm_state_size or 0)
    window = _states(r, state.conv)
    xn = t.new(r.hidden, x()) if own_norm else r.norm(x())
    projected = t.new(r.wide(inner + mixed + heads), xn)
    joined = _convolved(r, projected, mixed, window, slots * state.conv * FLOAT)
    convolved = t.new(r.wide(mixed), joined)
    step = t.new(r.wide(heads), projected)
    slot = t.input("slots", FLOAT * slots)
    out = t.new(r.wide(inner) + slots * state.recurrent * FLOAT, convolved, step, slot)
    t.use(out)

    def tail() -> int:
        gate = t.new(r.wide(inner), projected)
        skipped = t.new(r.wide(inner), convolved)
        y = t.over(r.wide(inner), (skipped,), out)
        gated = t.new(r.wide(inner), gate, y)
        return t.new(r.hidden, t.new(r.wide(inner), gated))

    return lazy(tail)


def short_convolution(r: Recorder, x: Lazy, state: LayerState) -> Lazy:
    """LFM2's gated convolution."""
    t, slots = r.tape, r.batch.slots
    window = _states(r, state.conv)
    xn = r.norm(x())
    projected = t.new(3 * r.hidden, xn)
    joined = _convolved(
        r, t.new(r.hidden, projected), r.model.hidden_size, window, slots * state.conv * FLOAT
    )
    return lazy(lambda: t.new(r.hidden, t.over(r.hidden, (t.new(r.hidden, joined),), projected)))
