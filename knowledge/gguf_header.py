"""The header of a GGUF file: its metadata and the list of its tensors, with their exact bytes.

It owns the binary format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) and trusts nothing in
it: no count is allocated before its bytes are there, vocabularies are passed over without being kept. What
the tensors mean is `knowledge.gguf_model`'s business.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from knowledge.byte_source import ByteSource, Cursor
from knowledge.errors import ModelFileError, UnsupportedError

Scalar = int | float | bool | str
Value = Scalar | tuple[int | float | bool, ...]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_MAX_PAIRS, _MAX_TENSORS, _MAX_DIMS = 65_536, 131_072, 4
"""More than any model has (the largest: under 100 pairs and 3,000 tensors; ggml itself stops at 4)."""
_MAX_NAME, _KEPT_TEXT, _KEPT_ITEMS = 1024, 4096, 4096
"""Longer names are damage; longer texts (chat templates) and lists (vocabularies) say nothing of a shape."""

BLOCKS: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8),
    28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip
"""ggml's tensor types by number: name, elements of a block, bytes of a block (GGML_QUANT_SIZES)."""


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor: `dims` innermost first, as ggml counts them; `size` in bytes."""

    name: str
    kind: str
    dims: tuple[int, ...]
    elements: int
    size: int
    offset: int
    """From the start of the data."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What one GGUF file says of itself. Long texts and lists are left out of `metadata`."""

    name: str
    metadata: Mapping[str, Value]
    tensors: tuple[GgufTensor, ...]


def read_gguf_header(source: ByteSource) -> GgufHeader:
    """The header of `source`, checked against the file's size.

    Raises:
        ModelFileError: it is no GGUF file, damaged or cut short.
        UnsupportedError: a version or a tensor type that is not known.
    """
    reader = _Reader(source)
    n_tensors, n_pairs = reader.opening()
    metadata = reader.pairs(n_pairs)
    tensors = tuple(reader.tensor() for _ in range(n_tensors))
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise reader.damaged(f"general.alignment is {alignment!r}")
    start = -(-reader.cursor.position // alignment) * alignment
    _check_layout(source, tensors, start)
    return GgufHeader(source.name, metadata, tensors)


def _check_layout(source: ByteSource, tensors: tuple[GgufTensor, ...], start: int) -> None:
    """Refuse tensors of one name, tensors that overlap, and tensors beyond the file's end."""
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise ModelFileError(f"{source.name} is damaged: two tensors have the same name")
    end = 0
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        if tensor.offset < end:
            raise ModelFileError(f"{source.name} is damaged: {tensor.name} overlaps another tensor")
        end = tensor.offset + tensor.size
    if start + end > source.size and tensors:
        raise ModelFileError(
            f"{source.name} is cut short: {source.size:,} bytes of the {start + end:,} it should have",
            "download it again",
        )


class _Reader:
    """The header under way."""

    def __init__(self, source: ByteSource) -> None:
        self.cursor = Cursor(source)
        self.name = source.name

    def damaged(self, what: str) -> ModelFileError:
        return ModelFileError(f"{self.name} is damaged: {what}")

    def opening(self) -> tuple[int, int]:
        """Magic, version and the two counts."""
        if self.cursor.size < 4 or self.cursor.take(4) != _MAGIC:
            raise ModelFileError(f"{self.name} is no GGUF file: it does not begin with {_MAGIC.decode()}")
        version = self.number("<I")
        if version not in _VERSIONS:
            if version & 0xFFFF == 0:
                raise UnsupportedError(
                    f"{self.name} is a big-endian GGUF file", "convert it to little-endian"
                )
            raise UnsupportedError(f"{self.name}: GGUF version {version} is not supported", "it should be 3")
        n_tensors, n_pairs = self.number("<Q"), self.number("<Q")
        if n_tensors > _MAX_TENSORS or n_pairs > _MAX_PAIRS:
            raise self.damaged(f"it claims {n_tensors:,} tensors and {n_pairs:,} entries of metadata")
        return n_tensors, n_pairs

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.cursor.take(struct.calcsize(form)))[0])

    def text(self, most: int) -> str:
        length = self.number("<Q")
        if length > most:
            raise self.damaged(f"a name of {length:,} bytes")
        try:
            return self.cursor.take(length).decode()
        except UnicodeDecodeError as error:
            raise self.damaged("a name is no text") from error

    def pairs(self, count: int) -> dict[str, Value]:
        """All entries of metadata; those too long to matter are passed over."""
        metadata: dict[str, Value] = {}
        seen: set[str] = set()
        for _ in range(count):
            key = self.text(_MAX_NAME)
            if key in seen:
                raise self.damaged(f"{key} is there twice")
            seen.add(key)
            value = self.value(key, self.number("<I"))
            if value is not None:
                metadata[key] = value
        return metadata

    def value(self, key: str, kind: int) -> Value | None:
        if kind == _STRING:
            return self.maybe_text()
        if kind == _ARRAY:
            return self.array(key)
        if kind not in _SCALARS:
            raise self.damaged(f"{key} has the unknown type {kind}")
        return self.scalar(kind)

    def scalar(self, kind: int) -> int | float | bool:
        form = _SCALARS[kind]
        found: int | float | bool = struct.unpack(form, self.cursor.take(struct.calcsize(form)))[0]
        return found

    def maybe_text(self) -> str | None:
        length = self.number("<Q")
        if length > _KEPT_TEXT:
            self.cursor.skip(length)
            return None
        return self.cursor.take(length).decode(errors="replace")

    def array(self, key: str) -> tuple[int | float | bool, ...] | None:
        kind, count = self.number("<I"), self.number("<Q")
        if kind == _STRING:
            self.pass_texts(key, count)
            return None
        if kind not in _SCALARS:
            raise self.damaged(f"{key} is a list of the unknown type {kind}")
        size = struct.calcsize(_SCALARS[kind])
        if count > _KEPT_ITEMS:
            self.cursor.skip(count * size)
            return None
        return struct.unpack(f"<{count}{_SCALARS[kind][1]}", self.cursor.take(count * size))

    def pass_texts(self, key: str, count: int) -> None:
        # each text has eight bytes of length: a count that cannot be there is refused before the walk
        if count * 8 > self.cursor.size - self.cursor.position:
            raise self.damaged(f"{key} claims {count:,} texts")
        take, skip, unpack = self.cursor.take, self.cursor.skip, struct.Struct("<Q").unpack
        for _ in range(count):
            skip(unpack(take(8))[0])

    def tensor(self) -> GgufTensor:
        """One entry of the tensor list."""
        name = self.text(_MAX_NAME)
        n_dims = self.number("<I")
        if n_dims > _MAX_DIMS:
            raise self.damaged(f"{name} has {n_dims:,} dimensions")
        dims = tuple(self.number("<Q") for _ in range(n_dims))
        kind, offset = self.number("<I"), self.number("<Q")
        if kind not in BLOCKS:
            raise UnsupportedError(f"{self.name}: {name} has the tensor type {kind}, which is not known")
        label, block, block_bytes = BLOCKS[kind]
        elements = math.prod(dims)
        if not elements or (dims[:1] and dims[0] % block):
            raise self.damaged(f"{name} has the shape {list(dims)} in {label}")
        return GgufTensor(name, label, dims, elements, elements // block * block_bytes, offset)
