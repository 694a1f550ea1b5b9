"""How builds of an engine got faster: kernels fused, windows cut, integers used; by the date of the build.

It knows engines by date and parts by name; what a part is, the roofline says.
"""

from __future__ import annotations

import math

from advisor.config import Setup
from knowledge.schema import Gpu

AGED_PARTS = frozenset({"experts", "unpack", "layers", "recurrent_layers", "moe_layers", "step"})
"""What engines got faster at by writing better kernels: launches fused and captured, unpacking, experts."""
AGEING_PER_YEAR, KERNEL_AGEING_PER_YEAR, PREFILL_AGEING_PER_YEAR = 0.05, 0.2, 0.2
"""Slowness per year of age of the engine, in log: of decoding, of its `AGED_PARTS` on top, of prompts. One
rate for all engines: single reporters use single builds, so that finer ones would only tell the reporters
apart."""
NVIDIA_PREFILL_AGEING_PER_YEAR = 0.05
"""Prompts on NVIDIA's cards: their kernels for matrices were there by 2024, and an H100 of 2026 reads prompts
no faster, per multiprocessor and cycle, than one of 2024 did (docs/h100_llamacpp.md)."""
AMD_AGEING_PER_YEAR, AMD_PREFILL_AGEING_PER_YEAR = 0.1, 0.6
"""The same on AMD's GPUs, whose kernels for matrix units, attention and integers came during these years."""
REFERENCE_YEAR, FIRST_YEAR = 2026.0, 2025.0
"""Builds before `FIRST_YEAR` are as slow as those of that year: older ones ran models that were easier."""
WINDOWS_SINCE = {"llama.cpp": 2025.38, "ollama": 2025.45, "lmstudio": 2025.45, "ik_llama.cpp": 2025.6}
"""Builds before which sliding layers were computed over the whole context and masked afterwards: llama.cpp
cut them with b5427 (https://github.com/ggml-org/llama.cpp/pull/13194), others followed."""
FUSED_RECURRENCE = {"llama.cpp": 2026.16, "ik_llama.cpp": 2026.16, "ollama": 2026.4, "lmstudio": 2026.16}
"""When linear attention no longer cost more launches than other layers: two dozen small kernels as first
written (llama.cpp: https://github.com/ggml-org/llama.cpp/pull/20091 counts 23), fewer from build to build
(https://github.com/ggml-org/llama.cpp/pull/19365), one in the end; Ollama followed later
(https://github.com/ollama/ollama/issues/16149)."""
_FUSING_YEARS = 0.16
AMD_INTEGERS_SINCE = 2025.8
"""Builds for ROCm multiplied quantized weights by rocBLAS or hipBLASLt before, by own integers since."""


def age_years(year: float) -> float:
    """How much older a build is than one of `REFERENCE_YEAR`; negative for a younger one."""
    return 0.0 if math.isnan(year) else REFERENCE_YEAR - max(year, FIRST_YEAR)


def slowness(gpu: Gpu, year: float) -> tuple[float, float]:
    """Factors on a build's decoding steps: on every part, and on `AGED_PARTS` besides."""
    age = age_years(year)
    rate = AMD_AGEING_PER_YEAR if _is_amd_gpu(gpu) else AGEING_PER_YEAR
    return math.exp(rate * age), math.exp(KERNEL_AGEING_PER_YEAR * age)


def prompt_slowness(gpu: Gpu, year: float) -> float:
    """Factor on what a build takes for a prompt."""
    rate = NVIDIA_PREFILL_AGEING_PER_YEAR if gpu.vendor == "NVIDIA" else PREFILL_AGEING_PER_YEAR
    if _is_amd_gpu(gpu):
        rate = AMD_PREFILL_AGEING_PER_YEAR
    return math.exp(rate * age_years(year))


def cuts_windows(engine: str, year: float) -> bool:
    """Whether a build of `year` spares sliding layers what lies beyond their window."""
    return not year < WINDOWS_SINCE.get(engine, -math.inf)


def unfused(setup: Setup, year: float) -> float:
    """How far a build of `year` still is from that kernel: 1 as first written, 0 with it."""
    fused = FUSED_RECURRENCE.get(setup.launch.engine)
    if fused is None or math.isnan(year):
        return 0.0
    return min(max((fused - year) / _FUSING_YEARS, 0.0), 1.0)


def _is_amd_gpu(gpu: Gpu) -> bool:
    return gpu.vendor == "AMD" and gpu.kind != "cpu"
