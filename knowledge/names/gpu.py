"""From what people type or a benchmark prints to a device of the catalog, never to a neighbour of it.

A spelling is reduced to a key (vendor noise, separators and case gone) and a stated memory size; the
catalog's names and aliases are reduced the same way, and a text must meet one of them exactly. It knows
nothing of what a device can do, and guesses nothing: `resolve_gpu` raises where `match_gpu`, for rows that
cannot be asked back, takes the variant that the catalog lists first (the commonest) or None.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from knowledge.catalog import Catalog
from knowledge.errors import AmbiguousNameError, UnknownNameError
from knowledge.schema import Gpu

KIND = "GPU"
COMMAND = "advisor gpus"
MAX_LENGTH = 120
"""Characters of the longest text that may be a name."""
MEMORY_TOLERANCE = 0.1
"""Drivers report up to a tenth less than a card is sold with (22 of an A10's 24 GiB)."""

_LEADING_COUNT = re.compile(r"^\s*(\d{1,3})(?:x|\s+x\s|\s*[×*])\s*", re.IGNORECASE)
_TRAILING_COUNT = re.compile(r"(?:(?<=\d)|\s)[x×*]\s?(\d{1,3})\s*$", re.IGNORECASE)
_MEMORY = re.compile(r"(?<![0-9.])(\d{1,3}(?:\.\d+)?)[\s-]*gi?b\b|(?<![0-9a-z.])(\d{1,3})\s*g\b")
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"_", " "),
        (r"\(r\)|\(tm\)|[®™]|\bintel r\b|\bcore tm\b", " "),
        (r"@\s*[\d.]+\s*ghz", " "),  # a CPU's base clock
        (r"\b\d+th gen\b", " "),
        (r"\brev\.? [\d.]+", " "),
        (r"\b(?:w/|with) *radeon\b.*$", " "),  # the integrated GPU that a CPU also has
        (r"\b(\d+)[ -]?cores? gpu\b", r"\1-core"),
        (r"\b\d+-cores\b|\b\d+-core processor\b", " "),
    )
)
_VENDORS = ("nvidia", "geforce", "amd", "radeon", "instinct", "intel", "apple", "core")
_NOISE = frozenset(
    (
        *_VENDORS,
        "ati",
        "corporation",
        "graphics",
        "gpu",
        "cpu",
        "processor",
        "integrated",
        "generation",
        "edition",
    )
)
_GLUED_VENDOR = re.compile(rf"^(?:{'|'.join(_VENDORS)})+(?=.)")
_LAPTOP = re.compile(r"mobile|laptopgpu")
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class GpuMatch:
    """A device, how many of it, and the memory per device in GiB where the text or the caller states it."""

    gpu: Gpu
    count: int = 1
    vram_gib: float | None = None

    @property
    def memory_gib(self) -> float | None:
        """GiB per device: as stated, else as sold; None when neither is known (a CPU's host memory)."""
        return self.vram_gib if self.vram_gib is not None else self.gpu.memory_gib


def spelling_key(text: str) -> tuple[str, float | None]:
    """The key of a spelling and the GiB it states: `NVIDIA GeForce RTX 4090 48GB` → (`rtx4090`, 48.0)."""
    if len(text) > MAX_LENGTH:
        return "", None
    plain = unicodedata.normalize("NFKC", text).casefold()
    for pattern, replacement in _REWRITES:
        plain = pattern.sub(replacement, plain)
    memory = _MEMORY.search(plain)
    if memory:
        plain = f"{plain[: memory.start()]} {plain[memory.end() :]}"
    key = "".join(word for word in _WORD.findall(plain) if word not in _NOISE)
    key = _LAPTOP.sub("laptop", _GLUED_VENDOR.sub("", key))
    return key, float(memory.group(1) or memory.group(2)) if memory else None


Variants = dict[float | None, Gpu]
"""Devices that share a key, by the memory their spelling states; None is the bare name's own device."""


@lru_cache(maxsize=4)
def _index(catalog: Catalog) -> dict[str, Variants]:
    index: dict[str, Variants] = {}
    for gpu in catalog.gpus.values():
        for spelling in (gpu.name, *gpu.aliases):
            key, memory = spelling_key(spelling)
            index.setdefault(key, {}).setdefault(memory, gpu)
    return index


def _distinct(variants: Variants) -> tuple[Gpu, ...]:
    return tuple({gpu.name: gpu for gpu in variants.values()}.values())


def _choose(variants: Variants, stated: float | None, given: float | None) -> tuple[Gpu, ...]:
    """The devices that remain: one when settled, several when ambiguous, none when no such card is sold.

    `stated` GiB belong to the name and must exist; `given` GiB only choose between variants.
    """
    memory = stated if stated is not None else given
    if memory is not None:
        near = {
            gpu.name: (abs(size - memory), gpu)
            for spelled, gpu in variants.items()
            if (size := spelled or gpu.memory_gib) and abs(size - memory) <= MEMORY_TOLERANCE * size
        }
        if near:
            best = min(distance for distance, _ in near.values())
            return tuple(gpu for distance, gpu in near.values() if distance == best)
    left = (variants[None],) if None in variants else _distinct(variants)
    if stated is not None:
        # Unified and host memory come in many sizes; a card comes as it is sold.
        return tuple(gpu for gpu in left if gpu.kind != "gpu" or gpu.memory_gib is None)
    return left


def _split_count(text: str) -> tuple[int, str]:
    """`2x3090`, `2 x RTX 3090` and `3090 x2` → (2, rest); a text without a count → (1, text)."""
    found = _LEADING_COUNT.match(text) or _TRAILING_COUNT.search(text)
    if not found:
        return 1, text
    return int(found.group(1)), text[: found.start()] + text[found.end() :]


def _nearest(text: str, index: dict[str, Variants]) -> list[str]:
    key, _ = spelling_key(text[:60])
    names: dict[str, None] = {}
    for close in difflib.get_close_matches(key, index, n=8, cutoff=0.6):
        names.update(dict.fromkeys(gpu.name for gpu in _distinct(index[close])))
    return list(names)[:4]


@lru_cache(maxsize=4096)
def match_gpu(text: str, catalog: Catalog, vram_gib: float | None = None) -> Gpu | None:
    """The device a benchmark row means, or None; `vram_gib` per GPU, where known, chooses between variants.

    A name that fits several variants (`A100`, `RTX 5060 Ti`) means the first the catalog lists. Mixed rigs
    and names that state no model (`Radeon Graphics`) stay None.
    """
    key, stated = spelling_key(text)
    variants = _index(catalog).get(key)
    left = _choose(variants, stated, vram_gib) if variants else ()
    return left[0] if left else None


def resolve_gpu(text: str, catalog: Catalog, vram_gib: float | None = None) -> GpuMatch:
    """The device that a person means, with a count (`2x3090`) and a memory size (`4090 48gb`).

    `vram_gib` is the memory per device given beside the name: it chooses between variants, and overrides
    the memory of a card that has none of that size.

    Raises:
        UnknownNameError: nothing of that name, with the nearest names.
        AmbiguousNameError: several devices of that name (`5060 ti` is sold with 8 and 16 GiB).
    """
    index = _index(catalog)
    count, name = 1, text
    key, stated = spelling_key(text)
    if key not in index:  # the whole text first: the `x` of `5700 xt` counts nothing
        count, name = _split_count(text)
        key, stated = spelling_key(name)
    variants = index.get(key)
    if not variants or count < 1:
        raise UnknownNameError(KIND, text[:60], _nearest(name, index), command=COMMAND)
    left = _choose(variants, stated, vram_gib)
    if len(left) != 1:
        error = AmbiguousNameError if left else UnknownNameError
        raise error(KIND, text[:60], [gpu.name for gpu in left or _distinct(variants)], command=COMMAND)
    return GpuMatch(left[0], count, vram_gib if vram_gib is not None else stated)
