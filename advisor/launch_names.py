"""Which model, in which format, from which files a launch command names, and what is loaded beside it.

It owns the order in which a name is tried: what the caller says, files that are there, the catalog, the name
of a folder. It settles no settings; the Hub is asked only where the caller names a repository.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from advisor.engines.parsing import Reading
from advisor.memory.exllama import EXLLAMA
from advisor.memory.paged import PAGED
from advisor.naming import model_asked, quant_asked
from knowledge.catalog import Catalog
from knowledge.errors import UnknownNameError, UsageError
from knowledge.names.model import ModelMatch, resolve_model
from knowledge.names.place import existing_path
from knowledge.names.quant import match_quant, resolve_quant
from knowledge.schema import Quant
from knowledge.units import BYTES_PER_GIB
from knowledge.weights import NATIVE_MXFP4, best_weight_bytes

if TYPE_CHECKING:
    from knowledge.real_model import RealModel

_EXL3_DETAILS = re.compile(r"(?<=bpw)(?:[-_ ](?:h|ng)\d)+$", re.IGNORECASE)
"""Bits of the head and of an n-gram table behind an EXL3 folder's name: `…_3.05bpw_h5_ng5`."""
_WIDTH = re.compile(r"^(\d)-bit$")
"""A format that is no more than its width."""
_PARENTS = 3
"""Folders above a file that may carry the model's name (a Hub cache has two between)."""
_PROJECTOR_GIB = 0.87
"""Usual size of a vision projector in 16 bit: 0.93 GB beside a Qwen3.8-27B (`knowledge/facts/files.csv`)."""


@dataclass(frozen=True, slots=True)
class Names:
    """A command's names, settled; `files` where the model was read from them.

    `quant_text` is the format as it is written in the model's name.
    """

    match: ModelMatch
    quant: Quant
    files: RealModel | None
    quant_text: str | None


def names_of(reading: Reading, options: Mapping[str, Any], catalog: Catalog) -> Names:
    """What the command names, or the caller in its place.

    Raises:
        UsageError: nothing is named, or a name or format that means nothing.
        HubError: the caller names a repository that cannot be read.
    """
    text = str(options.get("model") or reading.model or "").strip()
    if not text:
        raise UsageError("the command names no model", "name it with --model")
    if "$" in text:
        raise UsageError(f"the model {text!r} is a shell variable", "write its value, or add --model")
    if reading.engine in EXLLAMA:
        text = _EXL3_DETAILS.sub("", text)
    if not options.get("model") and existing_path(text) is None:
        match = _of_command(text, catalog)
        return Names(match, _format(reading, match, options, catalog), None, match.quant_text)
    given = {"model": text} | ({"quant": options["quant"]} if options.get("quant") else {})
    given |= {"weights_gib": options["weights_gib"]} if options.get("weights_gib") else {}
    found, files = model_asked(given, catalog)
    if found is None:  # unreachable while `model` is given
        raise UsageError("the command names no model", "name it with --model")
    quant = quant_asked(given, found, files, catalog) or (files.quant if files else None)
    if quant is None:
        own = _of_command(reading.model, catalog).quant_text if _is_known(reading.model, catalog) else None
        quant = _format(reading, replace(found, quant_text=own), options, catalog)
    written = found.quant_text or _written_format(reading.model or "", catalog)
    return Names(found, quant, files, written)


def _is_known(text: str | None, catalog: Catalog) -> bool:
    try:
        return text is not None and _of_command(text, catalog) is not None
    except UnknownNameError:
        return False


def _of_command(text: str | None, catalog: Catalog) -> ModelMatch:
    """The model that the command's text names: a file by its own name, else by its folder's."""
    parts = [part for part in re.split(r"[/\\]", text or "") if part]
    try:
        return resolve_model(text or "", catalog)
    except UnknownNameError as error:
        for folder in reversed(parts[-1 - _PARENTS : -1]):
            try:
                above = resolve_model(folder.rsplit("--", 1)[-1], catalog)
            except UnknownNameError:
                continue
            return replace(above, quant_text=_written_format(parts[-1], catalog) or above.quant_text)
        error.hint = f"{error.hint}; or name it with --model".lstrip("; ")
        raise


def _written_format(file: str, catalog: Catalog) -> str | None:
    """The format that stands in a file's name."""
    stem = re.sub(r"(?:-\d{5}-of-\d{5})?\.gguf$", "", re.split(r"[/\\]", file)[-1], flags=re.IGNORECASE)
    words = re.split(r"[\s.-]", stem)
    return next((word for word in reversed(words) if match_quant(word, catalog)), None)


def _format(reading: Reading, match: ModelMatch, options: Mapping[str, Any], catalog: Catalog) -> Quant:
    """The weights' format: as the caller says, as the name says, else what the engine takes by default."""
    quant = _stated_format(reading, match, options, catalog)
    bits = _WIDTH.match(quant.name) if reading.engine == "mlx" else None
    # what MLX's community calls `-4bit` is MLX's own format of that width
    return resolve_quant(f"MLX-{bits[1]}bit", catalog) if bits else quant


def _stated_format(
    reading: Reading, match: ModelMatch, options: Mapping[str, Any], catalog: Catalog
) -> Quant:
    if options.get("quant"):
        return resolve_quant(str(options["quant"]), catalog)
    published = _published(reading.model or "", catalog) if not options.get("model") else None
    if published is not None and reading.engine in PAGED:
        return resolve_quant(published, catalog)
    if match.quant_text:
        return resolve_quant(match.quant_text, catalog)
    native = match.model.architecture in NATIVE_MXFP4
    if native and (reading.quant_is_default or reading.engine in PAGED):
        return resolve_quant("MXFP4", catalog)
    if reading.quant is not None:
        return resolve_quant(reading.quant, catalog)
    if reading.engine in PAGED:
        return resolve_quant("BF16", catalog)
    example = {"mlx": "MLX-4bit"}.get(
        reading.engine, "EXL3-4.0bpw" if reading.engine in EXLLAMA else "Q4_K_M"
    )
    raise UsageError(
        f"the file {reading.model!r} does not say its format", f"name it with --quant, such as {example}"
    )


def _published(repo: str, catalog: Catalog) -> str | None:
    """The format of a safetensors repository that the facts know."""
    for row in catalog.repos:
        if row.repo.lower() == repo.lower() and row.format == "safetensors":
            return next((name for name in catalog.quants if fnmatchcase(name, row.quants[0])), None)
    return None


def projector_gib(file: str | None) -> float:
    """GiB of a vision projector: of the file where it is there, else the usual size."""
    path = existing_path(file) if file else None
    return path.stat().st_size / BYTES_PER_GIB if path is not None and path.is_file() else _PROJECTOR_GIB


def draft_gib(name: str, engine: str, catalog: Catalog) -> tuple[float | None, str]:
    """GiB of a draft model whose file is there, or that the catalog knows by name; and what to say of it."""
    path = existing_path(name)
    if path is not None and path.is_file():
        size = path.stat().st_size / BYTES_PER_GIB
    else:
        try:
            match = resolve_model(name, catalog)
            plain = "BF16" if engine in {*PAGED, "mlx"} else "Q4_K_M"
            quant = resolve_quant(match.quant_text or plain, catalog)
        except UnknownNameError:
            return None, f"the draft model {name} is not known: its memory is not counted"
        size = best_weight_bytes(match.model, quant, catalog).total_gib
    return size, f"the draft model {name} is counted with {size:.2f} GiB; its speed-up is not"
