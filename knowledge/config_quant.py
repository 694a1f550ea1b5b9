"""The format a checkpoint is quantized in, as its config.json states it, and how many elements a word packs.

It owns what quantizers write into `quantization_config`. It knows no bits per weight: that the catalog's
entry has, by the name given here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from knowledge.config_json import Config
from knowledge.safetensors_header import StoredTensor

_FLOATS = {
    "bfloat16": "BF16", "float16": "F16", "half": "F16", "float32": "F32",
    "torch.bfloat16": "BF16", "torch.float16": "F16", "torch.float32": "F32",
}  # fmt: skip
_STORED_FLOATS = {"BF16": "BF16", "F16": "F16", "F32": "F32"}
_INT_METHODS = {
    "awq": "AWQ-INT", "gptq": "GPTQ-INT", "auto-round": "AutoRound-INT", "autoround": "AutoRound-INT",
    "intel/auto-round": "AutoRound-INT",
}  # fmt: skip
_NAMED_METHODS = {"fp8": "FP8", "fbgemm_fp8": "FP8", "mxfp4": "MXFP4"}
_BESIDE = re.compile(
    r"(?:^|[._])(?:\w*scales?(?:_\w+)?|\w*qzeros|g_idx|\w*zero_point|weight_shape|absmax|nested_\w+|quant_map"
    r"|quant_state.*|amax|bits)$"
)
"""Scales, zero points and maps beside the weights: bytes, but no parameters."""
_WORDS = frozenset({"U8", "I32", "U32", "I64"})
"""Types that hold several packed weights; one byte is a weight of its own only in 8-bit formats."""


def stated_format(config: Config, tensors: Sequence[StoredTensor]) -> str | None:
    """The catalog's name of the format; None where the method is not known."""
    stated = _quantization(config)
    if stated is not None:
        return _quantized(stated)
    mlx = config.whole.get("quantization")
    if isinstance(mlx, Mapping):  # mlx-lm states bits and group size without a method
        return f"MLX-{mlx.get('bits')}bit"
    for values in (config.whole, config.values):
        for key in ("dtype", "torch_dtype"):
            if (name := _FLOATS.get(str(values.get(key)).lower())) is not None:
                return name
    size: dict[str, int] = {}
    for tensor in tensors:
        size[tensor.dtype] = size.get(tensor.dtype, 0) + tensor.size
    return _STORED_FLOATS.get(max(size, key=lambda dtype: size[dtype], default=""))


def packed_bits(config: Config) -> int:
    """Bits of a weight in the checkpoint's packed words; 4 where nothing is stated."""
    stated = _quantization(config) or config.whole.get("quantization")
    if not isinstance(stated, Mapping):
        return 4
    weights = _first_group(stated).get("weights")
    inner = weights if isinstance(weights, Mapping) else {}
    bits = stated.get("bits", stated.get("w_bit", inner.get("num_bits", 4)))
    if stated.get("load_in_8bit") is True:
        bits = 8
    return bits if type(bits) is int and bits in {2, 3, 4, 5, 6, 8} else 4


def elements_of(tensor: StoredTensor, bits: int) -> int:
    """Parameters in a stored tensor whose packed words, if it has any, hold weights of `bits` bits."""
    if _BESIDE.search(tensor.name):
        return 0
    if tensor.dtype in _WORDS:
        return tensor.size * 8 // bits
    elements = 1
    for length in tensor.shape:
        elements *= length
    return elements


def _quantization(config: Config) -> Mapping[str, Any] | None:
    for values in (config.whole, config.values):
        for key in ("quantization_config", "compression_config"):
            if isinstance(found := values.get(key), Mapping):
                return found
    return None


def _first_group(stated: Mapping[str, Any]) -> Mapping[str, Any]:
    groups = stated.get("config_groups")
    found = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _quantized(stated: Mapping[str, Any]) -> str | None:
    method = str(stated.get("quant_method", "")).lower()
    bits = stated.get("bits", stated.get("w_bit"))
    if method in _INT_METHODS:
        return f"{_INT_METHODS[method]}{4 if bits is None else bits}"
    if method in _NAMED_METHODS:
        return _NAMED_METHODS[method]
    if method == "bitsandbytes":
        return "bnb-int8" if stated.get("load_in_8bit") is True else "bnb-nf4"
    if method == "hqq":
        return "HQQ-4bit"
    if method.startswith("modelopt"):
        algorithm = str(stated.get("quant_algo", "")).upper()
        return algorithm if algorithm in {"FP8", "NVFP4"} else None
    return _compressed(stated) if method == "compressed-tensors" else None


def _compressed(stated: Mapping[str, Any]) -> str | None:
    """llm-compressor states widths and types of weights and activations, group by group."""
    group = _first_group(stated)
    weights, inputs = group.get("weights"), group.get("input_activations")
    if not isinstance(weights, Mapping):
        return None
    bits, kind = weights.get("num_bits"), weights.get("type")
    if kind == "float" and bits == 8:
        return "FP8-dynamic" if isinstance(inputs, Mapping) and inputs.get("dynamic") is True else "FP8"
    if kind == "float" and bits == 4:
        return "MXFP4" if "mxfp4" in str(stated.get("format", group.get("format"))) else "NVFP4"
    if kind == "int" and bits in {4, 8}:
        if bits == 8:
            return "W8A8-INT8" if isinstance(inputs, Mapping) else "W8A16"
        return "W4A16" if not isinstance(inputs, Mapping) else None
    return None
