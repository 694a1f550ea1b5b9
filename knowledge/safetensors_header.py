"""The headers of safetensors files: every tensor's type, shape and exact bytes, over all shards of a model.

It owns the format (https://github.com/huggingface/safetensors#format) and the choice of a folder's shards; it
reads no weights. What the tensors mean is `knowledge.tensor_parts`' and `knowledge.model_config`'s business.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from knowledge.bounded_json import parse_object
from knowledge.byte_source import HEADER_LIMIT, ByteSource, Cursor, FileSet
from knowledge.errors import ModelFileError, UnsupportedError
from knowledge.units import BYTES_PER_MIB

INDEX = "model.safetensors.index.json"
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_MAX_SHARDS, _MAX_DIMS = 1000, 16


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as it is stored: `size` in bytes; `shape` may be that of packed words."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int


def read_safetensors_header(source: ByteSource) -> tuple[StoredTensor, ...]:
    """The tensors of one file, checked against its size.

    Raises:
        ModelFileError: it is no safetensors file, damaged or cut short.
        UnsupportedError: a type of element that is not known.
    """
    cursor = Cursor(source, HEADER_LIMIT + 8)
    if source.size < 10:
        raise ModelFileError(f"{source.name} is no safetensors file: it has {source.size} bytes")
    (length,) = struct.unpack("<Q", cursor.take(8))
    if length > min(HEADER_LIMIT, source.size - 8):
        raise ModelFileError(f"{source.name} is damaged or cut short: a header of {length:,} bytes")
    entries = parse_object(cursor.take(length), source.name)
    entries.pop("__metadata__", None)
    placed = sorted(
        (_tensor(source.name, name, entry) for name, entry in entries.items()), key=lambda item: item[0]
    )
    end = 0
    for start, tensor in placed:
        if start < end:
            raise ModelFileError(f"{source.name} is damaged: {tensor.name} overlaps another tensor")
        end = start + tensor.size
    if 8 + length + end > source.size:
        raise ModelFileError(
            f"{source.name} is cut short: {source.size:,} bytes of the {8 + length + end:,} it should have",
            "download it again",
        )
    return tuple(tensor for _, tensor in placed)


def _tensor(file: str, name: str, entry: object) -> tuple[int, StoredTensor]:
    """Where a tensor starts, and the tensor."""
    if not isinstance(entry, Mapping):
        raise ModelFileError(f"{file} is damaged: {name[:80]} has no description")
    dtype = entry.get("dtype")
    shape, place = _whole_numbers(entry.get("shape"), _MAX_DIMS), _whole_numbers(entry.get("data_offsets"), 2)
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise UnsupportedError(f"{file}: {name[:80]} has the type {str(dtype)[:40]!r}, which is not known")
    if shape is None or place is None or len(place) != 2:
        raise ModelFileError(f"{file} is damaged: {name[:80]} has no shape or no place")
    start, end = place
    bits = math.prod(shape) * _BITS[dtype]
    if end - start != -(-bits // 8):
        raise ModelFileError(f"{file} is damaged: {name[:80]} is not as large as its shape")
    return start, StoredTensor(name, dtype, shape, end - start)


def _whole_numbers(value: object, most: int) -> tuple[int, ...] | None:
    """The numbers of a list that holds nothing else; None for anything more."""
    if not isinstance(value, list) or len(value) > most:
        return None
    return tuple(value) if all(type(item) is int and 0 <= item < 2**63 for item in value) else None


def shards_of(files: FileSet) -> tuple[str, ...]:
    """The safetensors files that make up the model of a folder.

    Raises:
        ModelFileError: there are none, one is missing, or several stand side by side with no index.
    """
    if INDEX in files.sizes:
        return _indexed(files)
    stored = sorted(name for name in files.sizes if name.endswith(".safetensors") and "/" not in name)
    if "model.safetensors" in stored:
        return ("model.safetensors",)
    if len(stored) == 1:
        return (stored[0],)
    if not stored:
        raise ModelFileError(f"{files.place} has no safetensors files")
    raise ModelFileError(f"{files.place} has {len(stored)} safetensors files and no {INDEX}")


def _indexed(files: FileSet) -> tuple[str, ...]:
    index = parse_object(read_whole(files.open(INDEX)), INDEX)
    places = index.get("weight_map")
    if not isinstance(places, Mapping) or not places:
        raise ModelFileError(f"{INDEX} is damaged: it has no weight_map")
    names = {name if isinstance(name, str) else repr(name) for name in places.values()}
    for name in sorted(names):
        # a plain name of the folder's own: an index must not send a reader elsewhere
        if name != name.replace("\\", "/").rsplit("/", 1)[-1] or name in {"", ".", ".."}:
            raise ModelFileError(f"{INDEX} is damaged: {name[:80]!r} lies outside {files.place}")
        if name not in files.sizes:
            raise ModelFileError(f"{files.place} is incomplete: {name[:80]} is missing")
    if len(names) > _MAX_SHARDS:
        raise ModelFileError(f"{INDEX} is damaged: it names {len(names):,} files")
    return tuple(sorted(names))


def read_tensors(files: FileSet) -> tuple[StoredTensor, ...]:
    """The tensors of all shards.

    Raises:
        ModelFileError: as `read_safetensors_header`; also for a tensor that two shards have.
    """
    tensors = [tensor for name in shards_of(files) for tensor in read_safetensors_header(files.open(name))]
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise ModelFileError(f"{files.place} is damaged: two shards have a tensor of the same name")
    return tuple(tensors)


def read_whole(source: ByteSource, most: int = HEADER_LIMIT) -> bytes:
    """A small file, whole.

    Raises:
        ModelFileError: it is larger than any real one.
    """
    if source.size > most:
        raise ModelFileError(f"{source.name} is damaged: it has more than {most // BYTES_PER_MIB} MiB")
    return Cursor(source, most).take(source.size)
