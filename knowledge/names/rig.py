"""Cards of different kinds in one machine, as one device: `3090+3060` names a rig that fills them in turn.

llama.cpp gives each card layers, in proportion to its memory unless told otherwise, and a token passes
through all of them: the rig's rates are therefore harmonic means over the layers, as if one card had them.
It knows names and datasheets only; what lies on which card is the accounting's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from knowledge.catalog import Catalog
from knowledge.errors import UnknownNameError, UsageError
from knowledge.names.gpu import KIND, GpuMatch, resolve_gpu
from knowledge.schema import Gpu

_JOINT = re.compile(r"\s*[+,]\s*")
_MOST_CARDS = 16
"""Devices of one kind of backend that llama.cpp addresses (`GGML_CUDA_MAX_DEVICES`)."""
_RATES = ("bandwidth_gbps", "fp16_tflops", "fp8_tflops", "fp4_tflops", "fp32_tflops", "int8_tops")


def resolve_rig(
    text: str, catalog: Catalog, vram_gib: float | None = None, shares: Sequence[float] = ()
) -> GpuMatch:
    """The device or the rig that a person means: `4090`, `2x3090`, `3090+3060`, `2x3090 + 4090 48gb`.

    `shares` of the layers for each card of a rig, in any unit; in proportion to their memory without.

    Raises:
        UnknownNameError, AmbiguousNameError: see `resolve_gpu`; of a rig, about the card in question.
        UsageError: cards that no one build drives, too many of them, or one `--vram` for cards that differ.
    """
    names = _JOINT.split(text.strip())
    try:
        if all(names):  # `Ryzen AI Max+ 395` is one device
            return resolve_gpu(text, catalog, vram_gib)
    except UnknownNameError:
        if len(names) == 1:
            raise
    if not all(names):
        raise UnknownNameError(KIND, text[:60], command="advisor gpus")
    found = [resolve_gpu(name, catalog) for name in names]
    cards = [match for match in found for _ in range(match.count)]
    first = cards[0]
    if all((match.gpu, match.memory_gib) == (first.gpu, first.memory_gib) for match in cards):
        return GpuMatch(first.gpu, len(cards), vram_gib if vram_gib is not None else first.vram_gib)
    if vram_gib is not None:
        raise UsageError(
            "--vram is one size, and these cards differ", "write sizes in their names: --gpu '4090 48gb+3090'"
        )
    return GpuMatch(_joined(cards, shares), len(cards))


def device(name: str, catalog: Catalog, shares: Sequence[float] = ()) -> Gpu:
    """The device of a request: the catalog's of that name, or the rig, split as `resolve_rig` says.

    Raises:
        UnknownNameError: neither.
    """
    if name in catalog.gpus:
        return catalog.gpus[name]
    if not _JOINT.search(name):
        raise UnknownNameError(KIND, name, command="advisor gpus")
    return resolve_rig(name, catalog, shares=shares).gpu


def _joined(cards: Sequence[GpuMatch], shares: Sequence[float]) -> Gpu:
    sizes = [_memory(card) for card in cards]
    vendors = {card.gpu.vendor for card in cards}
    if len(vendors) > 1:
        raise UsageError(f"one build drives no cards of {' and '.join(sorted(vendors))}", "name one vendor's")
    if len(cards) > _MOST_CARDS:
        raise UsageError(f"{len(cards)} cards are more than llama.cpp drives", f"name at most {_MOST_CARDS}")
    parts = shares if len(shares) == len(cards) and sum(shares) > 0 else sizes
    slowest = min((card.gpu for card in cards), key=lambda gpu: gpu.bandwidth_gbps or 0.0)
    rates = {rate: _harmonic([getattr(card.gpu, rate) for card in cards], parts) for rate in _RATES}
    return slowest.model_copy(
        update=rates
        | {
            "name": _name(cards),
            "aliases": (),
            "memory_gib": sum(sizes) / len(sizes),
            "memory_each_gib": tuple(sizes),
            "compute_capability": _least_capability([card.gpu for card in cards]),
            "pcie_gen": _least([card.gpu.pcie_gen for card in cards]),
            "pcie_lanes": _least([card.gpu.pcie_lanes for card in cards]),
        }
    )


def _memory(card: GpuMatch) -> float:
    if card.gpu.kind != "gpu":
        raise UsageError(f"{card.gpu.name} is no card to put beside others", "name discrete cards")
    if card.memory_gib is None:
        raise UsageError(f"the memory of {card.gpu.name} is not known", "write it behind the name: '… 24gb'")
    return card.memory_gib


def _name(cards: Sequence[GpuMatch]) -> str:
    """`2x RTX 3090 + RTX 4090 48GB`, in the order of the devices; it resolves to the same rig."""
    runs: list[tuple[str, int]] = []
    for card in cards:
        own = card.memory_gib == card.gpu.memory_gib
        name = card.gpu.name if own else f"{card.gpu.name} {card.memory_gib:g}GB"
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return " + ".join(name if count == 1 else f"{count}x {name}" for name, count in runs)


def _harmonic(rates: Sequence[float | None], parts: Sequence[float]) -> float | None:
    """The rate of a whole whose `parts` are worked through one after the other."""
    if any(not rate for rate in rates):
        return None
    return sum(parts) / sum(part / rate for part, rate in zip(parts, rates, strict=True) if rate)


def _least(values: Sequence[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _least_capability(gpus: Sequence[Gpu]) -> str:
    """CUDA's of the oldest card: what every card can do. Other vendors' targets have no order."""
    numbers = [gpu.compute_capability for gpu in gpus if re.fullmatch(r"\d+\.\d+", gpu.compute_capability)]
    if len(numbers) == len(gpus):
        return min(numbers, key=float)
    return Counter(gpu.compute_capability for gpu in gpus).most_common(1)[0][0]
