"""The door to real models: a path, or a repository on the Hugging Face Hub, as shape and exact bytes.

It owns which files of a folder or repository are the model, and which quantization of several is meant.
huggingface_hub is loaded only when a repository is asked for. Catalogued names are not understood here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from knowledge.byte_source import FileSet, LocalFile, LocalFolder
from knowledge.catalog import Catalog
from knowledge.errors import ModelFileError, UnknownNameError, UsageError
from knowledge.gguf_header import GgufHeader, read_gguf_header
from knowledge.gguf_model import FILE_TYPES, gguf_shape, is_projector
from knowledge.names.match import nearest
from knowledge.names.quant import quant_key, split_quant
from knowledge.names.tokens import clean_name
from knowledge.real_model import RealModel, real_model
from knowledge.safetensors_model import read_safetensors_model

_SPLIT = re.compile(r"^(?P<stem>.*)-(?P<at>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE | re.DOTALL)
_PROJECTOR = re.compile(r"(?:^|/)mmproj[^/]*\.gguf$|-mmproj[^/]*\.gguf$", re.IGNORECASE)
_MOST_SPLITS = 1000


def read_path(path: Path, catalog: Catalog, quant: str = "") -> RealModel:
    """The model in a GGUF file (any of its parts), or in a folder with a checkpoint or GGUF files.

    Raises:
        ModelFileError: no model, damaged or incomplete.
        UsageError: several models in the folder, and `quant` does not say which; UnsupportedError among them.
    """
    if path.is_dir():
        found, name = _read_files(LocalFolder(path), path.resolve().name, quant, catalog)
        return found.placed(path=str(path / name) if name else str(path))
    if path.suffix.lower() == ".safetensors":
        raise UsageError(f"{path} is one file of a model", f"name its folder: --model {path.parent}")
    LocalFile(path)  # says what is wrong with it before its folder is listed
    name = _first_part(path.name)
    files = LocalFolder(path.parent, _part_names(name))
    found = _read_gguf(files, name, path.parent.resolve().name, catalog)
    return found.placed(path=str(path.with_name(name)))


def read_repo(repo: str, quant: str, catalog: Catalog) -> RealModel:
    """The model in a repository on the Hub; `quant` says which of its GGUF files, and may be empty.

    Raises:
        HubError: no network, a gated repository, or an answer that makes no sense.
        UnknownNameError: there is no such repository; the error names the nearest catalogued models.
        UsageError: which quantization is not said or not there; the error lists those that are.
    """
    from knowledge.hub_repo import RepoMissingError, open_repo  # noqa: PLC0415 - a quarter of a second

    try:
        files = open_repo(repo)
        found, name = _read_files(files, repo.rsplit("/", 1)[-1], quant, catalog)
    except RepoMissingError as error:
        close = nearest(repo, (model.name for model in catalog.models.values()), n=4)
        raise UnknownNameError("model", repo, close, command="advisor models") from error
    if not found.catalogued:
        found = replace(found, model=found.model.model_copy(update={"hf_id": repo}))
    tag = (split_quant(name)[1] or quant) if name else ""
    projector = min((size for file, size in files.sizes.items() if _PROJECTOR.search(file)), default=0)
    found = replace(found, projector=float(projector) if name else 0.0)
    return found.placed(repo=f"{repo}:{tag}" if name and tag else repo)


def _read_files(files: FileSet, name: str, quant: str, catalog: Catalog) -> tuple[RealModel, str]:
    """The model of a folder, and the GGUF file that it is, if it is one."""
    ggufs = [
        file
        for file in files.sizes
        if file.lower().endswith(".gguf") and not _PROJECTOR.search(file) and _first_part(file) == file
    ]
    checkpoint = any(file.endswith(".safetensors") and "/" not in file for file in files.sizes)
    if checkpoint and "config.json" in files.sizes and (not ggufs or not quant):
        return read_safetensors_model(files, name, catalog), ""
    if ggufs:
        chosen = _choice(files, ggufs, quant)
        return _read_gguf(files, chosen, name, catalog), chosen
    lacking = "config.json" if checkpoint else "GGUF or safetensors files"
    raise ModelFileError(f"{files.place} has no {lacking}")


def _choice(files: FileSet, ggufs: Sequence[str], quant: str) -> str:
    """The GGUF file that is meant."""
    if not quant and len(ggufs) == 1:
        return ggufs[0]
    formats = {file: split_quant(file.rsplit("/", 1)[-1])[1] for file in ggufs}
    key = quant_key(quant)
    found = [file for file in ggufs if quant and quant_key(formats[file]) == key]
    if len(found) == 1:
        return found[0]
    names = sorted({formats[file] or file for file in ggufs})
    listed = ", ".join(names[:40])
    if not quant:
        raise UsageError(f"{files.place} has several quantizations", f"add --quant, one of: {listed}")
    if found:
        raise UsageError(f"{files.place} has {len(found)} files of {quant}", ", ".join(sorted(found)[:4]))
    raise UsageError(f"{files.place} has no {quant[:40]}", f"it has: {listed}")


def _first_part(name: str) -> str:
    """The first file of a split model, which every part stands for."""
    return _SPLIT.sub(lambda match: f"{match['stem']}-00001-of-{match['count']}.gguf", name)


def _part_names(name: str) -> list[str]:
    match = _SPLIT.match(name)
    if match is None:
        return [name]
    count = int(match["count"])
    if not 0 < count <= _MOST_SPLITS:
        raise ModelFileError(f"{name} claims {count:,} parts")
    return [f"{match['stem']}-{at:05d}-of-{match['count']}.gguf" for at in range(1, count + 1)]


def _read_gguf(files: FileSet, name: str, folder: str, catalog: Catalog) -> RealModel:
    """The model in a GGUF file and the parts that belong to it."""
    names = _part_names(name)
    missing = [part for part in names if part not in files.sizes]
    if missing:
        raise ModelFileError(f"{files.place} is incomplete: {missing[0]} is missing")
    headers = [read_gguf_header(files.open(part)) for part in names]
    header = _joined(headers)
    if is_projector(header):
        size = sum(tensor.size for tensor in header.tensors) / 1024**3
        raise ModelFileError(
            f"{name} is a vision projector of {size:.2f} GiB", "name the model it belongs to"
        )
    shape, parts = gguf_shape(header)
    stem = clean_name(name)[0] or folder
    stated = [header.metadata.get(f"general.{key}") for key in ("name", "basename")]
    texts = [stem, folder, *(text for text in stated if isinstance(text, str))]
    file_type = header.metadata.get("general.file_type")
    formats = [split_quant(name)[1], FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else ""]
    return real_model(
        shape, parts, kind="gguf", name=stem, texts=texts, formats=[f for f in formats if f], catalog=catalog
    )


def _joined(headers: Sequence[GgufHeader]) -> GgufHeader:
    """The header of a split model: the first part's metadata and the tensors of all."""
    first = headers[0]
    count = first.metadata.get("split.count", 1)
    if isinstance(count, int) and count > 1 and count != len(headers):
        raise ModelFileError(f"{first.name} is one of {count} parts", "keep their names as published")
    tensors = tuple(chain.from_iterable(header.tensors for header in headers))
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise ModelFileError(f"{first.name} is damaged: two of its parts have a tensor of the same name")
    stated = first.metadata.get("split.tensors.count", len(tensors))
    if stated != len(tensors):
        raise ModelFileError(f"{first.name}: its parts have {len(tensors)} of {stated} tensors")
    return GgufHeader(first.name, first.metadata, tensors)
