"""The compute buffer of llama.cpp: what one micro-batch needs on the device beside weights and caches.

Its size is the peak of the graph allocator over the model's graph, which `stack` records; what differs
between builds of llama.cpp is added here. It knows nothing of CUDA contexts.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from advisor.memory.batch import WHOLE, Batch, Part
from advisor.memory.builds import Layout
from advisor.memory.graphs import graph_of
from advisor.memory.kv_cache import Cells, layer_f16_copy_bytes
from advisor.memory.stack import record, record_draft
from knowledge.errors import UnsupportedError
from knowledge.schema import ModelSpec

__all__ = [
    "WHOLE",
    "Part",
    "compute_bytes",
    "draft_compute_bytes",
    "graph_of",
    "output_bytes",
    "pool_scratch_bytes",
]

_FLOAT = 4
_WIDE = frozenset({"f16", "bf16", "f32"})


@lru_cache(maxsize=4096)
def compute_bytes(
    model: ModelSpec,
    shape: Cells,
    type_k: str,
    type_v: str,
    *,
    slots: int,
    flash_attn: bool,
    layout: Layout,
    part: Part = WHOLE,
) -> float:
    """Bytes of a device's compute buffer for one micro-batch of `shape.ubatch` tokens.

    Raises:
        UnsupportedError: see `graph_of`; and a quantized V cache without flash attention, which llama.cpp
            refuses.
    """
    graph = graph_of(model)
    if not flash_attn and type_v not in _WIDE:
        raise UnsupportedError(
            f"llama.cpp cannot quantize the V cache ({type_v}) without flash attention",
            "leave flash attention on, or use --kv-type-v f16",
        )
    if layout.pool_scratch and graph.keeps_hidden:  # before draft heads asked for the last hidden state
        outputs = "attention" if graph.outputs == "norm" else graph.outputs
        graph = replace(graph, outputs=outputs, keeps_hidden=False)
    batch = _batch(shape, type_k, type_v, slots=slots, flash_attn=flash_attn, layout=layout)
    return float(record(model, graph, replace(batch, part=part)).peak())


@lru_cache(maxsize=1024)
def draft_compute_bytes(
    model: ModelSpec, shape: Cells, type_k: str, type_v: str, *, slots: int, layout: Layout
) -> float:
    """Bytes of the compute buffer of the draft head that a model brings along (MTP); see `compute_bytes`."""
    batch = _batch(shape, type_k, type_v, slots=slots, flash_attn=True, layout=layout)
    return float(record_draft(model, graph_of(model), batch).peak())


def _batch(shape: Cells, type_k: str, type_v: str, *, slots: int, flash_attn: bool, layout: Layout) -> Batch:
    return Batch(
        shape,
        outputs=shape.ubatch if layout.all_logits else min(slots, shape.ubatch),
        slots=slots,
        type_k=type_k,
        type_v=type_v,
        flash=flash_attn,
        mask_bytes=layout.mask_bytes,
        scratch=not layout.pool_scratch,
    )


def pool_scratch_bytes(
    model: ModelSpec, shape: Cells, type_k: str, type_v: str, *, flash_attn: bool, layout: Layout
) -> float:
    """Bytes that older builds take from the device pool at run time for a full quantized cache."""
    if not (flash_attn and layout.pool_scratch):
        return 0.0
    return layer_f16_copy_bytes(model, shape, type_k, type_v)


def output_bytes(model: ModelSpec, slots: int) -> float:
    """Bytes of the output buffer on the host: one row of logits per slot."""
    return float(slots * model.vocab_size * _FLOAT)
