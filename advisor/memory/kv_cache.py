"""The KV cache of llama.cpp: how many cells of which layers, in bytes.

It knows attention layers only: recurrent states are `state`'s business, and where the bytes lie is
`placement`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from knowledge.errors import UnsupportedError
from knowledge.kv_types import row_bytes
from knowledge.schema import ModelSpec


def pad(x: int, multiple: int) -> int:
    """`x` rounded up to a whole `multiple`."""
    return -(-x // multiple) * multiple


INDEXER_KEY = 128
"""Elements of the key that a sparse indexer keeps per token (DeepSeek V3.2, GLM-5)."""

_SPARSE = frozenset({"glm-dsa", "deepseek32"})
_SHARED_INDEXERS_FROM = 1_048_576
"""GLM-5.2, told by its context: most layers take the choice of an indexer above them."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Geometry of the cache: `cells` per stream (`sliding`: of windowed layers), streams, tokens at once."""

    cells: int
    sliding: int
    streams: int
    ubatch: int


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One kind of attention layer: how many keep a cache, and the elements of one K and one V row."""

    layers: int
    k_elements: int
    v_elements: int
    windowed: bool


def indexed(model: ModelSpec, index: int) -> bool:
    """Whether layer `index` has an indexer of its own: every one, or the first two and then one of four."""
    return model.max_context < _SHARED_INDEXERS_FROM or index < 2 or index % 4 == 2


def attention_rows(model: ModelSpec) -> tuple[LayerRow, ...]:
    """The kinds of layer that cache, with the elements per token of each.

    MLA keeps one K row of `kv_lora_rank + rope` and no V, and beside it the keys of a sparse indexer. Layers
    that share another's cache (gemma E2B/E4B) keep none: the shared ones are the last of the stack, taken to
    have the stack's own mix of kinds.

    Raises:
        UnsupportedError: the catalog lacks the dimensions of an attention kind the model has.
    """
    rows = []
    full, sliding = model.layers_full, model.layers_sliding
    if model.n_kv_shared_layers:
        shared_full = round(model.n_kv_shared_layers * full / (full + sliding))
        full, sliding = full - shared_full, sliding - (model.n_kv_shared_layers - shared_full)
    if full:
        heads = model.global_n_kv_heads or model.n_kv_heads
        rows.append(
            LayerRow(
                full,
                heads * (model.global_head_dim or model.head_dim_k),
                heads * (model.global_head_dim or model.head_dim_v),
                windowed=False,
            )
        )
    if sliding:
        if not model.sliding_window:
            raise UnsupportedError(
                f"{model.name} has sliding-window layers of unknown window", "see: advisor models"
            )
        heads = model.swa_n_kv_heads or model.n_kv_heads
        rows.append(LayerRow(sliding, heads * model.head_dim_k, heads * model.head_dim_v, windowed=True))
    if model.layers_mla:
        if not model.kv_lora_rank:
            raise UnsupportedError(f"{model.name} has MLA layers of unknown rank", "see: advisor models")
        rows.append(
            LayerRow(model.layers_mla, model.kv_lora_rank + (model.qk_rope_head_dim or 0), 0, windowed=False)
        )
        if model.llama_arch in _SPARSE:
            count = sum(indexed(model, index) for index in range(model.n_layers))
            rows.append(LayerRow(count, INDEXER_KEY, 0, windowed=False))
    if any(row.k_elements <= 0 for row in rows):
        raise UnsupportedError(
            f"{model.name}: the catalog lacks the heads of its attention layers", "see: advisor models"
        )
    return tuple(rows)


def cells(model: ModelSpec, n_ctx: int, slots: int, *, unified: bool, ubatch: int) -> Cells:
    """Cells that llama.cpp allocates for `n_ctx` tokens in all (`-c`), shared by `slots` sequences.

    A unified cache is one stream of all cells; otherwise each slot has its own stream of `n_ctx / slots`.
    A windowed layer keeps its window (of every slot, when unified) and one micro-batch.
    """
    n_ctx_padded = pad(n_ctx, 256)
    single = unified or slots == 1
    per_stream = n_ctx_padded if single else pad(n_ctx_padded // slots, 256)
    tokens = min(ubatch, n_ctx_padded)
    window = (model.sliding_window or 0) if model.layers_sliding else 0
    windowed = pad(min(per_stream, window * (slots if single else 1) + tokens), 256) if window else 0
    return Cells(per_stream, windowed, 1 if single else slots, tokens)


def kv_bytes(model: ModelSpec, shape: Cells, type_k: str, type_v: str, *, flash_attn: bool = True) -> float:
    """Bytes of the whole cache; equals llama.cpp's own figure.

    Without flash attention V is kept transposed, and every layer's V takes the rows of the widest one.
    """
    total = 0.0
    rows = attention_rows(model)
    widest = max((row.v_elements for row in rows), default=0)
    for row in rows:
        n = shape.sliding if row.windowed else shape.cells
        v = row.v_elements if flash_attn else widest
        total += row.layers * n * (row_bytes(type_k, row.k_elements) + row_bytes(type_v, v))
    return shape.streams * total


def layer_f16_copy_bytes(model: ModelSpec, shape: Cells, type_k: str, type_v: str) -> float:
    """Bytes of an f16 copy of the largest layer's quantized K and V: the scratch of flash attention."""
    wide = {"f16", "bf16", "f32"}
    largest = 0.0
    for row in attention_rows(model):
        n = shape.sliding if row.windowed else shape.cells
        elements = (0 if type_k in wide else row.k_elements) + (0 if type_v in wide else row.v_elements)
        largest = max(largest, 2.0 * n * elements)
    return shape.streams * largest
