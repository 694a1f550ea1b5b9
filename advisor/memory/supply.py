"""How much of a card's memory a program can have.

It knows drivers, working-set limits and desktops, not engines: a server's own limit
(`--gpu-memory-utilization`) is applied by the engine's accounting.
"""

from __future__ import annotations

from advisor.config import Setup
from knowledge.schema import Gpu
from knowledge.units import MIB_PER_GIB

_DISPLAY_MIB = 350.0
"""What a desktop session holds on a card that drives a display, when nothing was stated."""
_NVIDIA_DRIVER = 0.982
_NVIDIA_HBM = 0.988
"""`cudaMemGetInfo` total ÷ nominal: 23.56–23.69 of 24 GiB, 15.70 of 16, 31.36 of 32; 39.4 of 40 and 79.1–79.2
of 80 with HBM (`data/memory/vllm_startup.csv`, column vram_gib)."""
_ECC_CARDS = ("A10", "A16", "A40", "L4", "L40", "L40S", "T4", "Tesla T4")
_ECC = 0.922
"""GDDR6 cards of data centres keep error correction in their own memory: 44.39 of 48, 22.1 of 24, 14.74 of
16."""
_REPORTED = (0.85, 0.995)
"""A stated size that is this share of the nominal one, and no whole number, is what the driver reports."""
_APPLE_SMALL_GIB = 36.0


def usable_fraction(setup: Setup) -> float:
    """Share of the nominal memory that a process may allocate.

    Discrete cards lose the driver's reserve. Unified memory has a working-set limit: Metal's default is two
    thirds up to 36 GB and three quarters above; a Strix Halo's GTT is usually set to 110 of 128 GB (a
    carve-out that the user states is his to fill); GB10 leaves the system about 5 %.
    """
    gpu, stated = setup.gpu, setup.launch.vram_gib
    if gpu.kind == "cpu":
        return 0.95
    if gpu.unified_memory or gpu.kind == "apu":
        return _unified_fraction(gpu, stated)
    low, high = _REPORTED
    if stated % 1 and gpu.memory_gib and low < stated / gpu.memory_gib < high:
        return 1.0
    vendor = gpu.vendor.lower()
    if "nvidia" not in vendor:
        return 0.97 if "intel" in vendor else 0.995
    if gpu.name in _ECC_CARDS:
        return _ECC
    return _NVIDIA_HBM if "HBM" in gpu.memory_type.upper() else _NVIDIA_DRIVER


def _unified_fraction(gpu: Gpu, stated_gib: float) -> float:
    vendor = gpu.vendor.lower()
    if "apple" in vendor:
        return 0.67 if stated_gib <= _APPLE_SMALL_GIB else 0.75
    if "nvidia" in vendor:
        return 0.95
    carved = gpu.memory_gib is not None and stated_gib < 0.99 * gpu.memory_gib
    return 0.98 if carved else 0.86


def taken_mib(setup: Setup) -> float:
    """MiB others hold on the card: as stated, else nothing when headless, else a desktop's.

    Cards with HBM have no display output; unified memory is limited by `usable_fraction` already.
    """
    host, gpu = setup.host, setup.gpu
    if host.vram_used_gib is not None:
        return host.vram_used_gib * MIB_PER_GIB
    if host.headless or gpu.kind != "gpu" or gpu.unified_memory or "HBM" in gpu.memory_type.upper():
        return 0.0
    return _DISPLAY_MIB


def free_mib(setup: Setup, gib: float | None = None) -> float:
    """MiB that the engine can have on one device of `gib` (else of the launch's memory) before it starts.

    As a start on such a card has logged it, where one has, else estimated.
    """
    if setup.host.free_mib is not None and gib in {None, setup.launch.vram_gib}:
        return setup.host.free_mib
    total = (setup.launch.vram_gib if gib is None else gib) * MIB_PER_GIB
    return max(0.0, total * usable_fraction(setup) - taken_mib(setup))
