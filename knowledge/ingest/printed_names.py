"""What engines print of model, device and format → entries of the catalog, beside what the person says.

A name that means nothing known is no entry, with the reason. It reads no lines and knows no engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knowledge.catalog import Catalog
from knowledge.ingest.log_start import Device
from knowledge.names.gpu import match_gpu
from knowledge.names.model import match_model
from knowledge.names.quant import match_quant
from knowledge.names.tokens import clean_name
from knowledge.schema import Gpu, ModelSpec
from knowledge.units import MIB_PER_GIB

_DRIVER_NOISE = re.compile(
    r"\s*\((?:[^()]*\b)?(?:RADV|NVIDIA|AMD|Intel|Mesa|LLVM|NAVI\d*|DG\d|driver)\b[^()]*\)", re.IGNORECASE
)
_STRIX_HALO = re.compile(r"gfx1151|strix_halo", re.IGNORECASE)
_HUB_CACHE = re.compile(r"models--(?:[^/\\]+--)?([^/\\]+)[/\\]snapshots")
_NOMINAL = 0.12
"""Drivers report less than a card is sold with; within this share it is that card's usual memory."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the person says of the runs: the device and the model, where a file does not."""

    gpu: Gpu | None = None
    vram_gib: float | None = None
    gpu_count: int | None = None
    model: ModelSpec | None = None
    model_text: str = ""


class NoRowError(Exception):
    """Why a run is no observation: `reason`, at `line` of its file."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason


def last_part(path: str) -> str:
    """The name behind folders or an owner, of either system."""
    return re.split(r"[/\\]", path)[-1]


def names_in(path: str) -> list[str]:
    """What a path calls the model: its last part, and the repository of a snapshot in the Hub's cache."""
    repository = _HUB_CACHE.search(path)
    return [*([repository[1]] if repository and "." not in last_part(path) else []), last_part(path)]


def model_of(
    paths: Sequence[str], params_b: float | None, catalog: Catalog, said: Said, line: int
) -> tuple[ModelSpec, str]:
    """The catalog's model and what the file calls it.

    Raises:
        NoRowError: there is no name, or none that is known.
    """
    words = [word for path in paths for word in names_in(path)]
    if said.model is not None:
        return said.model, words[0] if words else said.model_text
    for name in words:
        found = match_model(name, catalog, params_b)
        if found is not None:
            return found, name
    if not words:
        raise NoRowError(line, "names no model: say which with --model")
    raise NoRowError(line, f"the model {words[0][:80]!r} is not known: say which with --model")


def gpu_of(
    devices: Mapping[str, Device], catalog: Catalog, said: Said, line: int
) -> tuple[Gpu, float | None]:
    """The catalog's device and the GiB of each.

    Raises:
        NoRowError: there is no device, none that is known, or several kinds.
    """
    total = max((device.total_mib or 0.0 for device in devices.values()), default=0.0) / MIB_PER_GIB
    if said.gpu is not None:
        return said.gpu, said.vram_gib or _sold_with(said.gpu, total)
    names = {_plain(device.name) for device in devices.values() if device.name}
    if not names:
        raise NoRowError(line, "names no GPU: say which with --gpu")
    if len(names) > 1:
        raise NoRowError(line, f"several kinds of GPU ({', '.join(sorted(names))}) are no one device")
    name = names.pop()
    free = max((device.free_mib or 0.0 for device in devices.values()), default=0.0) / MIB_PER_GIB
    found = match_gpu(name, catalog, total or free or None)
    if found is None:
        raise NoRowError(line, f"the GPU {name[:80]!r} is not known: say which with --gpu")
    return found, _sold_with(found, total)


def format_of(file: str, stated: str, catalog: Catalog) -> str:
    """The format: as the file's name says, which knows the recipe, else as is `stated`; '' if neither."""
    named = clean_name(file)[1]
    found = match_quant(named, catalog) if named else None
    if found is None:
        found = match_quant(stated, catalog) if stated else None
    return found.name if found is not None else stated


def _plain(name: str) -> str:
    """A device's name without its driver's."""
    return "Strix Halo" if _STRIX_HALO.search(name) else _DRIVER_NOISE.sub("", name).replace("_", " ")


def _sold_with(gpu: Gpu, total_gib: float) -> float | None:
    """GiB of the device: as sold where the file's figure is about that, else the file's; None: not told."""
    if not total_gib:
        return None
    usual = gpu.memory_gib
    return usual if usual and abs(total_gib / usual - 1) <= _NOMINAL else round(total_gib, 2)
