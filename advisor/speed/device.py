"""What a device offers a step: bytes per second, FLOP per second, and the links between devices.

It knows datasheet rates only; how much of them an engine reaches is fitted (`advisor.speed.roofline`).
"""

from __future__ import annotations

import math

from advisor.config import Setup
from knowledge.errors import UnsupportedError
from knowledge.schema import Gpu

PCIE_GBPS_PER_LANE = {2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}
"""One direction, after line coding (PCI-SIG base specifications)."""
NVLINK_GBPS = {"Volta": 150.0, "Ampere": 300.0, "Hopper": 450.0, "Blackwell": 900.0, "Blackwell Ultra": 900.0}
"""One direction per GPU of the SXM parts (NVIDIA datasheets); cards with a PCIe edge have none."""
DEFAULT_HOST_GBPS = 60.0
"""Two channels of DDR5-5600 at about two thirds of 89.6 GB/s: a desktop whose memory was not stated."""
_PAGEABLE_BYTES_PER_S = 12e9
"""Best rate of copies from memory that is not pinned, whatever the link: 8.9 GB/s of a mapped file where
pinned memory gives 55 (an H200 on PCIe 5.0 x16, docs/h100_llamacpp.md)."""
_HALF_LANES = ("6.0", "7.0", "7.5", "8.0")
"""CUDA capabilities with 64 FP32 lanes per multiprocessor; the others have 128 (CUDA programming guide)."""
_DUAL_ISSUE = ("RDNA 3", "RDNA 4")
"""Whose FP32 rate counts two operations per lane and cycle that such kernels rarely find."""
_BYTES_PER_CYCLE, _FLOAT_BYTES_PER_CYCLE = 6.0, 9.5
"""Per multiprocessor: llama.cpp reads at 5.4 to 5.7 on A100 and H100 PCIe (the runs of
https://github.com/XiongjieDai/GPU-Benchmarks-on-LLM-Inference), and 16-bit weights at 9.5 on an H100 since it
has kernels for vectors of floats (docs/h100_llamacpp.md)."""
_FLOAT_KERNELS_SINCE = 2025.6
_SYNCHRONOUS_OPS = {8: 4096.0, 16: 2048.0}
"""Dense operations per multiprocessor and cycle of matrix instructions that a warp waits for, by bits: an
A100's. Hopper and the Blackwell of servers are faster only by instructions of their own kind."""
_LAPTOP_CLOCK = 1.3
"""Boost clocks of laptop parts are listed for the lowest power that they are sold with: an RTX 4070 Laptop
has 1,230 to 2,175 MHz by its maker's data, 1,695 in the catalog."""
_SWITCHED_HOP_S, _PCIE_HOP_S = 4e-6, 12e-6
"""Order of magnitude of small all-reduces, per doubling of the devices; what is left of it is fitted."""
_SERVER_PARTS = ("SXM", "GB200", "GB300", "B200", "B300", "H200", "H800")


def bandwidth_bytes_per_s(gpu: Gpu) -> float:
    """Memory bandwidth of one device, bytes per second.

    Raises:
        UnsupportedError: when the catalog has no bandwidth for it.
    """
    if gpu.bandwidth_gbps is None:
        raise UnsupportedError(
            f"the memory bandwidth of {gpu.name} is not known", "choose another with: advisor gpus"
        )
    return gpu.bandwidth_gbps * 1e9


def cycles_per_s(gpu: Gpu) -> float:
    """Cycles per second of all multiprocessors together; infinite where the FP32 rate does not tell them."""
    if gpu.kind != "gpu" or gpu.fp32_tflops is None:
        return math.inf
    lanes = 64 if gpu.vendor == "AMD" or gpu.compute_capability in _HALF_LANES else 128
    issues = 2 if gpu.arch.startswith(_DUAL_ISSUE) else 1
    return gpu.fp32_tflops * 1e12 / (2 * lanes * issues)


def issue_bytes_per_s(gpu: Gpu, *, floats: bool, year: float) -> float:
    """Bytes per second that matrix-vector kernels of a build of `year` can ask for, whatever memory delivers.

    Their loads in flight are bounded by multiprocessor and cycle, so that cards with much bandwidth per
    multiprocessor (A100, H100) do not reach it; `floats`: of weights that are not quantized.
    """
    new = floats and not year < _FLOAT_KERNELS_SINCE
    return (_FLOAT_BYTES_PER_CYCLE if new else _BYTES_PER_CYCLE) * cycles_per_s(gpu)


def synchronous_op_per_s(gpu: Gpu, bits: int) -> float:
    """What matrix instructions of NVIDIA's that every architecture since Turing has can do at most."""
    return _SYNCHRONOUS_OPS[bits] * cycles_per_s(gpu) * _clock(gpu)


def peak_flop_per_s(gpu: Gpu, activation_bits: int = 16) -> float:
    """Dense matrix rate for products of `activation_bits` activations, FLOP per second.

    A format whose activations the device cannot multiply natively runs at the next wider rate (weight-only
    kernels); a device without a listed matrix rate runs at its FP32 rate.
    """
    narrow = (activation_bits <= 4 and gpu.fp4_tflops) or (activation_bits <= 8 and gpu.fp8_tflops)
    rate = narrow or gpu.fp16_tflops or gpu.fp32_tflops
    # Without any rate: 20 FLOP per byte of bandwidth, the low end of the catalog's devices.
    return rate * 1e12 * _clock(gpu) if rate else 20.0 * bandwidth_bytes_per_s(gpu)


def _clock(gpu: Gpu) -> float:
    """What the clock really is, relative to the catalog's."""
    return _LAPTOP_CLOCK if gpu.vendor == "NVIDIA" and "Laptop" in gpu.name else 1.0


def integer_op_per_s(gpu: Gpu) -> float:
    """Dense matrix rate of 8-bit integers, operations per second; the 16-bit rate where none is listed."""
    return gpu.int8_tops * 1e12 * _clock(gpu) if gpu.int8_tops else peak_flop_per_s(gpu)


def vector_flop_per_s(gpu: Gpu) -> float:
    """Rate of what no matrix unit does, FLOP per second: unpacking, scaling, addresses.

    Half the matrix rate where the catalog has no FP32 rate.
    """
    return gpu.fp32_tflops * 1e12 * _clock(gpu) if gpu.fp32_tflops else peak_flop_per_s(gpu) / 2


def link_bytes_per_s(gpu: Gpu) -> float:
    """Device to device, one direction: NVLink on server parts, PCIe otherwise, memory where it is unified."""
    if gpu.vendor == "NVIDIA" and gpu.arch in NVLINK_GBPS and any(p in gpu.name for p in _SERVER_PARTS):
        return NVLINK_GBPS[gpu.arch] * 1e9
    if gpu.vendor == "AMD" and gpu.arch.startswith("CDNA"):
        return 64e9 * 4  # four Infinity Fabric links of 64 GB/s towards any one peer group (CDNA 3 datasheet)
    return pcie_bytes_per_s(gpu)


def link_latency_s(gpu: Gpu) -> float:
    """Latency of one hop between devices: through a switch of their own, or over PCIe and the host."""
    own_switch = link_bytes_per_s(gpu) > pcie_bytes_per_s(gpu)
    return _SWITCHED_HOP_S if own_switch else _PCIE_HOP_S


def pcie_bytes_per_s(gpu: Gpu) -> float:
    """Host to device, one direction; PCIe 4.0 x16 where the catalog is silent."""
    lanes = gpu.pcie_lanes or 16
    return PCIE_GBPS_PER_LANE.get(gpu.pcie_gen or 4, PCIE_GBPS_PER_LANE[4]) * lanes * 1e9


def copied_bytes_per_s(setup: Setup) -> float:
    """Rate at which weights that lie on the host come to the device for a prompt.

    They lie in pages of a mapped file, which a driver copies through a buffer of its own: a laptop with eight
    lanes and desktops with sixteen get the same.
    """
    return min(host_bytes_per_s(setup), pcie_bytes_per_s(setup.gpu), _PAGEABLE_BYTES_PER_S)


def host_bytes_per_s(setup: Setup) -> float:
    """Bandwidth of the memory that offloaded weights are read from."""
    if setup.gpu.unified_memory or setup.gpu.kind == "cpu":
        return bandwidth_bytes_per_s(setup.gpu)
    return (setup.host.ram_bandwidth_gbps or DEFAULT_HOST_GBPS) * 1e9
