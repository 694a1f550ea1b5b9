"""The whole graph of a model in llama.cpp: inputs, layers in their order and the head, recorded on a tape.

It knows which kind of layer follows which and how blocks are joined; the blocks themselves are recorded by
`layers`, `latent`, `recurrence` and `feedforward`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from advisor.memory import altup, feedforward, recurrence
from advisor.memory.batch import Batch
from advisor.memory.feedforward import Rows
from advisor.memory.graphs import Graph
from advisor.memory.latent import latent_attention
from advisor.memory.layers import FLOAT, Lazy, Recorder, lazy
from advisor.memory.order import Layer, layers
from advisor.memory.state import layer_states
from advisor.memory.tape import Tape
from knowledge.schema import ModelSpec

_DOUBLE_WIDE = frozenset({"google/gemma-4-E2B-it"})
"""Models whose layers without a cache of their own have feed-forwards of twice the width."""


def record(model: ModelSpec, graph: Graph, batch: Batch) -> Tape:
    """The tape of one micro-batch through the whole model."""
    tape = Tape(batch.part.copies)
    _Stack(Recorder(tape, model, graph, batch)).run()
    return tape


def record_draft(model: ModelSpec, graph: Graph, batch: Batch) -> Tape:
    """The tape of one micro-batch through the draft head (MTP): one layer of attention, and logits."""
    tape = Tape()
    graph = replace(graph, outputs="norm", keeps_hidden=True)
    _Stack(Recorder(tape, model, graph, batch)).run_draft()
    return tape


@dataclass
class _Stack:
    r: Recorder
    per_layer: int | None = None

    def rows(self, floats: float) -> float:
        """Bytes of so many numbers for every row whose logits are wanted."""
        return floats * self.r.batch.outputs * FLOAT

    def picked(self, *x: int) -> int:
        """The rows whose logits are wanted."""
        wanted = self.r.tape.input("wanted", self.r.batch.outputs * FLOAT)
        return self.r.tape.new(self.rows(self.r.model.hidden_size), *x, wanted)

    def run(self) -> None:
        r, m, g = self.r, self.r.model, self.r.graph
        size = r.wide(g.per_layer_input * m.n_layers)
        selected = r.tape.input("per layer", size) if self.has_per_layer() else 0
        embedded = lazy(self.embedded)
        if g.scaled_input:
            embedded()
        if g.altup:
            self.head(self.run_altup(embedded(), selected))
            return
        x = embedded
        for layer in layers(m):
            x = self.layer(x, layer)
            if self.has_per_layer():
                x = self.with_per_layer(x, embedded(), selected)
            if layer.index < g.deepstack:
                x = self.plus(x, embedded())
        self.head(x())

    def embedded(self) -> int:
        """What enters the first layer of this device."""
        r, deep = self.r, self.r.graph.deepstack
        x = r.tape.input("embedding", r.hidden)
        if not r.batch.part.first:
            x = r.tape.new(r.hidden, x, r.tape.input("unadded", r.hidden))
        return r.tape.new(r.hidden * (1 + deep), x) if deep else x

    def run_altup(self, embedded: int, selected: int) -> int:
        """Gemma 3n's stack of parallel streams."""
        r, width = self.r, self.r.graph.per_layer_input
        x = altup.enter(r, embedded)
        for layer in layers(r.model):
            corrected, gate = altup.layer(r, x, layer, width)
            x = altup.add(r, corrected, gate, self.layer_inputs(embedded, selected), width)
        return altup.leave(r, x)

    def run_draft(self) -> None:
        """The draft sees the token and the hidden state that the model had for it."""
        r = self.r
        token, hidden = (r.norm(r.tape.input(name, r.hidden)) for name in ("embedding", "hidden"))
        x = r.tape.new(r.hidden, r.tape.new(2 * r.hidden, token, hidden))
        kind = "latent" if r.model.layers_mla else "full"
        layer = Layer(r.model.n_layers, kind, cached=True, routed=r.model.is_moe)
        self.head(self.layer(lambda: x, layer)())

    def has_per_layer(self) -> bool:
        return bool(self.r.graph.per_layer_input and self.r.model.n_kv_shared_layers)

    def plus(self, x: Lazy, deep: int) -> Lazy:
        return lazy(lambda: self.r.tape.over(self.r.hidden, (x(),), deep))

    def layer(self, x: Lazy, layer: Layer) -> Lazy:
        r, m, g = self.r, self.r.model, self.r.graph
        last = layer.index == m.n_layers - 1
        picks = last and g.outputs == "attention"
        rows = self.rows if picks else r.wide
        if layer.kind == "feed-forward":
            return self.residual(x, self.feed_forward(lazy(lambda: r.norm(x())), layer, rows), rows)
        if g.parallel:
            return self.parallel(x, layer, rows, picks=picks)
        y = self.mixed(x, layer, rows)
        if m.layers_mlp_only:  # every block is a layer of its own
            return y
        if last and g.outputs == "mixed":
            rows = self.rows
        if g.beside_dense and m.is_moe:
            return self.beside_dense(y, layer, rows)
        normed = lazy(lambda: r.norm(y(), rows(m.hidden_size)) if g.pre_norm else y())
        return self.residual(y, self.feed_forward(normed, layer, rows), rows)

    def mixed(self, x: Lazy, layer: Layer, rows: Rows) -> Lazy:
        """The stream after attention, or what stands in its place."""
        r, m, g = self.r, self.r.model, self.r.graph
        last = layer.index == m.n_layers - 1
        out = self.mix(x, layer)
        size = rows(m.hidden_size)
        reshaped = layer.kind in {"delta", "convolution"} and not m.layers_mla  # cannot be written over

        def joined() -> int:
            if last and g.outputs == "attention":
                first, second = (x, out) if g.residual_first == "both" else (out, x)
                heir = self.picked(first())
                return r.tape.over(size, (heir, self.picked(second())))
            if reshaped:
                return r.tape.over(size, (x(),), out())
            heirs = (x(), out()) if g.residual_first == "both" else (out(), x())
            total = r.tape.over(size, heirs)
            return self.picked(total) if last and g.outputs == "mixed" else total

        return lazy(joined)

    def residual(self, x: Lazy, block: Lazy, rows: Rows) -> Lazy:
        size = rows(self.r.model.hidden_size)

        def total() -> int:
            added = block()
            heirs = (x(), added) if self.r.graph.residual_first else (added, x())
            return self.r.tape.over(size, heirs)

        return lazy(total)

    def mix(self, x: Lazy, layer: Layer) -> Lazy:
        r, m, kind = self.r, self.r.model, layer.kind
        if kind == "latent":
            return latent_attention(r, x, layer.index)
        if kind == "delta":
            mixer = recurrence.kimi_delta if m.layers_mla else recurrence.delta_net
            return mixer(r, x, layer_states(m)[0])
        if kind == "mamba":
            return recurrence.mamba(r, x, layer_states(m)[0])
        if kind == "convolution":
            return recurrence.short_convolution(r, x, layer_states(m)[0])
        _, out = r.attention(x, layer.index, windowed=kind == "window", cached=layer.cached)
        if m.ssm_num_heads and not m.layers_mamba2:  # Falcon-H1: both side by side
            beside = recurrence.mamba(r, x, layer_states(m)[0], own_norm=True)
            return lazy(lambda: r.tape.over(r.hidden, (out(), beside())))
        return out

    def parallel(self, x: Lazy, layer: Layer, rows: Rows, *, picks: bool) -> Lazy:
        """Attention and feed-forward side by side, both added to the stream."""
        r = self.r
        xn, mixed = r.attention(x, layer.index, windowed=layer.kind == "window")
        pick = (lambda value: lazy(lambda: self.picked(value()))) if picks else (lambda value: value)
        block = self.feed_forward(pick(lambda: xn), layer, rows)
        forward = self.residual(pick(x), block, rows)
        return self.residual(pick(mixed), forward, rows)

    def feed_forward(self, xn: Lazy, layer: Layer, rows: Rows) -> Lazy:
        r, m = self.r, self.r.model
        if layer.routed:
            return feedforward.experts(r, xn, rows, xn(), streamed=layer.index < r.batch.part.streamed_layers)
        width = m.intermediate_size or 0
        if not layer.cached and m.hf_id in _DOUBLE_WIDE:
            width *= 2
        return lazy(lambda: feedforward.dense(r, xn(), width, rows))

    def beside_dense(self, y: Lazy, layer: Layer, rows: Rows) -> Lazy:
        """Gemma 4: routed experts beside a dense block, each with a norm of its own."""
        r, m = self.r, self.r.model
        size = rows(m.hidden_size)
        x = y()
        streamed = layer.index < r.batch.part.streamed_layers
        router = r.tape.new(size, x)
        routed = feedforward.experts(r, lazy(lambda: r.tape.new(size, x)), rows, router, streamed=streamed)

        def joined() -> int:
            plain = feedforward.dense(r, r.tape.new(size, x), m.intermediate_size or 0, rows)
            return r.tape.over(size, (plain, r.tape.over(size, (routed(),))))

        return self.residual(y, lazy(joined), rows)

    def with_per_layer(self, x: Lazy, embedded: int, selected: int) -> Lazy:
        """Gemma 4 E: an embedding of the token for every layer, computed for all of them at the first."""
        r, t = self.r, self.r.tape
        width = r.wide(r.graph.per_layer_input)

        def value() -> int:
            y = x()
            gate = t.new(width, y)
            own = self.layer_inputs(embedded, selected)
            inner = t.new(r.hidden, t.over(width, (gate,), own))
            return t.over(r.hidden, (y, inner))

        return lazy(value)

    def layer_inputs(self, embedded: int, selected: int) -> int:
        """The embeddings of all layers, mixed with a projection of the first one."""
        t = self.r.tape
        if self.per_layer is None:
            size = self.r.wide(self.r.graph.per_layer_input * self.r.model.n_layers)
            normed = t.new(size, t.new(size, embedded))
            self.per_layer = t.new(size, t.over(size, (normed, selected)))
        return self.per_layer

    def head(self, x: int) -> None:
        r, m, g = self.r, self.r.model, self.r.graph
        if g.outputs == "norm":
            x = r.norm(x)
        if g.outputs in {"norm", "end"}:
            x = self.picked() if g.keeps_hidden else self.picked(x)
        if g.outputs != "norm":
            x = r.norm(x, self.rows(m.hidden_size))
        r.tape.new(self.rows(m.vocab_size), x)
