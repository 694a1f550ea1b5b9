"""The tensors of llama.cpp's feed-forward blocks, dense and of experts, recorded on a tape.

It knows these blocks' operations; what precedes and follows them in a layer is `stack`'s business.
"""

from __future__ import annotations

from collections.abc import Callable

from advisor.memory.layers import FLOAT, Lazy, Recorder, lazy

Rows = Callable[[float], float]
"""Bytes of so many numbers for every row that goes through a block: all tokens, or those with logits."""

_LATENT = 1024
"""Width in which the experts of Nemotron 3 Super and Puzzle work; the catalog has no column for it."""
_LATENT_FROM = 256
"""More experts than this mark them among Nemotron's models."""


def dense(r: Recorder, x: int, width: float, rows: Rows) -> int:
    """Up (and gate), activation, down."""
    t, kind = r.tape, r.graph.ffn
    if kind == "fused":
        inner = t.new(rows(width), t.new(rows(2 * width), x))
    elif kind == "plain":
        inner = t.new(rows(width), x)
    else:
        gate = t.new(rows(width), x)
        inner = t.new(rows(width), gate, t.new(rows(width), x))
    return t.new(rows(r.model.hidden_size), inner)


def experts(r: Recorder, x: Lazy, rows: Rows, router_input: int, *, streamed: bool = False) -> Lazy:
    """The routed experts' weighted sum, and lazily the shared expert added to it."""
    t, m, g = r.tape, r.model, r.graph
    logits = t.new(rows(m.n_experts), router_input)
    scores = t.new(rows(m.n_experts), logits) if g.weight_before else logits
    ranked = t.new(rows(m.n_experts), scores) if g.router_bias else logits
    chosen = t.new(rows(m.n_experts), ranked)
    weights = t.new(rows(m.n_experts_used), scores, chosen)
    if g.softmax_chosen:
        weights = t.new(rows(m.n_experts_used), weights)
    elif not g.weight_before:
        weights = t.new(rows(m.n_experts_used), weights, t.new(rows(1), weights))
    xn = x()
    latent = bool(m.layers_mlp_only) and m.n_experts > _LATENT_FROM
    outer = _LATENT if latent else m.hidden_size
    inward = t.new(rows(outer), xn) if latent else xn
    total = _routed(r, inward, outer, rows, (chosen, weights), streamed=streamed)

    def tail() -> int:
        out = t.new(rows(m.hidden_size), total) if latent else total
        if not m.n_shared_experts:
            return out
        shared = dense(r, xn, m.shared_expert_intermediate_size or 0, rows)
        if g.gate == "joint":
            shared = t.over(rows(m.hidden_size), (shared,), t.new(rows(1), xn))
        return t.over(rows(m.hidden_size), (out, shared))

    return lazy(tail)


def _routed(r: Recorder, x: int, outer: int, rows: Rows, routing: tuple[int, int], *, streamed: bool) -> int:
    t, m, g = r.tape, r.model, r.graph
    chosen, weights = routing
    used = m.n_experts_used
    width = used * (m.moe_intermediate_size or 0)

    def matrix(which: int) -> tuple[int, ...]:
        """A copy of experts that lie on the host; each begins another part of the graph."""
        if not streamed:
            return ()
        copy = t.new(r.batch.part.streamed[which])
        t.split()
        return (copy,)

    def biased(value: int, size: float, floats: int) -> int:
        """The experts' biases, which lie where their matrices do."""
        if not (streamed and g.biased_experts):
            return value
        copy = t.new(m.n_experts * floats * FLOAT)
        t.split()
        return t.over(size, (value,), copy)

    if g.weight_before:
        x = t.over(rows(used * outer), (t.new(rows(used * outer), x),), weights)
    if g.beside_dense:  # gate and up are one matrix
        inner = t.new(rows(width), t.new(rows(2 * width), x, chosen, *matrix(1)))
    elif g.ffn == "plain":
        inner = t.new(rows(width), x, chosen, *matrix(1))
    else:
        one = m.moe_intermediate_size or 0
        gate = biased(t.new(rows(width), x, chosen, *matrix(0)), rows(width), one)
        up = biased(t.new(rows(width), x, chosen, *matrix(1)), rows(width), one)
        inner = t.new(rows(width), gate, up)
    each = t.new(rows(used * outer), inner, chosen, *matrix(2))
    each = biased(each, rows(used * outer), outer)
    if not g.weight_before:
        each = t.over(rows(used * outer), (each,), weights)
    total = t.new(rows(outer), each)
    return t.over(rows(outer), (total,), each) if used > 2 else total
