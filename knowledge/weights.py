"""Bytes of a model's weights by the class of tensor they belong to, under a quantization.

It knows shapes and formats, not devices: where the bytes are placed is the engine accounting's business.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """Bytes of the weights by how a decoding step touches them.

    `token_embd` is read one row per token; `output` (the LM head; for tied models the same matrix again) and
    `dense` (attention, mixers, norms, dense and shared feed-forward, routers) once per step; of `experts`
    (all routed experts together) a step reads the distinct experts its tokens choose.
    `per_layer_embedding` (gemma E2B/E4B) is a lookup table that is never read whole.
    """

    token_embd: float
    output: float
    dense: float
    experts: float
    per_layer_embedding: float
    basis: str
    """`given` (a real size was stated), `listed` (knowledge/facts/files.csv) or `computed`."""
    tied: bool = False

    @property
    def total(self) -> float:
        """Bytes of the file: a tied head is stored once."""
        head = 0.0 if self.tied else self.output
        return self.token_embd + head + self.dense + self.experts + self.per_layer_embedding

    @property
    def total_gib(self) -> float:
        """Size of the file in GiB."""
        return self.total / 1024**3
