"""The element types of a KV cache: bytes of a row, and how people and engines spell them.

It knows nothing of layers or tokens, and nothing of weights: a KV type is not a quantization format.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

from knowledge.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class KvType:
    """Blocks of `block` elements in `block_bytes` bytes; a row is padded to whole blocks."""

    name: str
    block: int
    block_bytes: int

    @property
    def bits(self) -> float:
        """Bits per element, scales included."""
        return 8 * self.block_bytes / self.block


KV_TYPES: dict[str, KvType] = {
    kv.name: kv
    for kv in (
        KvType("f32", 1, 4),
        KvType("f16", 1, 2),
        KvType("bf16", 1, 2),
        # ggml blocks of 32 (GGML_QUANT_SIZES of the gguf package)
        KvType("q8_0", 32, 34),
        KvType("q5_1", 32, 24),
        KvType("q5_0", 32, 22),
        KvType("q4_1", 32, 20),
        KvType("q4_0", 32, 18),
        KvType("iq4_nl", 32, 18),
        # vLLM and SGLang: one scale per tensor, or (int8, int4) one 32-bit scale per token and head of 128
        KvType("fp8", 1, 1),
        KvType("int8", 128, 132),
        KvType("int4", 128, 68),
        KvType("nvfp4", 16, 9),
        # ExLlamaV3: 2 to 8 bits and a 16-bit scale per 32, so that 4, 5 and 8 take what ggml's types take
        # (https://github.com/turboderp-org/exllamav3/blob/32da457/exllamav3/cache/quant.py)
        KvType("q7", 32, 30),
        KvType("q6", 32, 26),
        KvType("q3", 32, 14),
        KvType("q2", 32, 10),
        # TurboQuant: codes of a rotated head of 128 and its norm, 52 bytes at 3 bits and 68 at 4
        # (https://github.com/ikawrakow/ik_llama.cpp/issues/1509, https://github.com/vllm-project/vllm/pull/39008)
        KvType("turbo2", 128, 36),
        KvType("turbo3", 128, 52),
        KvType("turbo4", 128, 68),
        KvType("turbo8", 128, 132),
        # KVarN of a llama.cpp fork: four bits and a scale per 128, from the contexts that people fit with it
        # (https://github.com/noonghunna/club-3090)
        KvType("kvarn4", 128, 68),
    )
}
"""Every known type by its canonical name; the spelling is llama.cpp's where it has one."""

_SPELLINGS = {
    "fp32": "f32", "float32": "f32",
    "fp16": "f16", "float16": "f16", "half": "f16",
    "bfloat16": "bf16",
    "auto": "bf16",  # vLLM: the model's own type, two bytes on every catalogued model
    "q8": "q8_0", "q5": "q5_0", "q4": "q4_0",
    "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "fp8_e4m3fn": "fp8", "fp8_ds_mla": "fp8", "fp8_inc": "fp8",
    "float8_e4m3fn": "fp8",
    "int8_per_token_head": "int8", "int8_pth": "int8",
    "fp4": "nvfp4",
    "tq3": "turbo3", "tbq3": "turbo3", "tq2": "turbo2", "tq4": "turbo4", "tbq4": "turbo4",
    "turboquant_2bit": "turbo2", "turboquant_3bit": "turbo3", "turboquant_4bit": "turbo4",
    "turboquant_2bit_nc": "turbo2", "turboquant_3bit_nc": "turbo3", "turboquant_4bit_nc": "turbo4",
    "turboquant_8bit": "turbo8", "turboquant_tq3": "turbo3", "turboquant_tq4": "turbo4",
    "int4_per_token_head": "int4", "int4_pth": "int4",
}  # fmt: skip
_TAIL = re.compile(r"\s*(?:\+|attn\b|autoround\b).*$")
"""What follows the type in `int8_per_token_head + drafter bf16` or `fp8_e4m3 attn + fp16 Mamba SSM`."""


@lru_cache(maxsize=512)
def normalise_kv_type(text: str) -> str | None:
    """The canonical name of a cache type as people and benchmark rows write it; None if it is none."""
    key = _TAIL.sub("", text.strip().lower())
    key = re.sub(r"[\s/\-]+", "_", key)
    key = _SPELLINGS.get(key, key)
    return key if key in KV_TYPES else None


def kv_type(text: str) -> KvType:
    """The type that `text` names.

    Raises:
        UnknownNameError: naming the types there are.
    """
    name = normalise_kv_type(text)
    if name is None:
        raise UnknownNameError("KV cache type", text, tuple(KV_TYPES))
    return KV_TYPES[name]


def row_bytes(kv_type_name: str, n: int) -> float:
    """Bytes of `n` elements of one cache row, padded to whole blocks (ggml `row(t, n)`)."""
    kind = kv_type(kv_type_name)
    return float(math.ceil(n / kind.block) * kind.block_bytes)
