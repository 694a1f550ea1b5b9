"""One micro-batch of llama.cpp, and the part of a model that a device runs it through.

It knows what changes the tensors of a graph from launch to launch; the graph itself is `stack`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass

from advisor.memory.kv_cache import Cells


@dataclass(frozen=True, slots=True)
class Part:
    """What of the model a device runs, as far as it changes its buffer."""

    copies: int = 1
    """Of every input: four when layers are split over devices and micro-batches follow each other."""
    first: bool = True
    """Whether this device holds the first layers; others receive two hidden states from the one before."""
    streamed_layers: int = 0
    """Layers, from the first, whose experts lie on the host and are copied in for every prompt."""
    streamed: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Bytes of their gate, up and down experts."""


WHOLE = Part()


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch: the cache it meets, the rows of logits wanted, and how attention runs."""

    shape: Cells
    outputs: int
    slots: int
    type_k: str
    type_v: str
    flash: bool
    mask_bytes: int
    scratch: bool
    """Whether flash attention keeps its f16 copy of a quantized cache in the buffer, and heads are rotated
    before they are quantized: since May 2026. Older builds took the copy from a pool."""
    part: Part = WHOLE
