import re

import pytest

from knowledge.catalog import default_catalog

GPUS = default_catalog().gpus
CPUS = [gpu for gpu in GPUS.values() if gpu.kind == "cpu"]


def faults(gpu):
    rates = [r for r in (gpu.fp32_tflops, gpu.fp16_tflops, gpu.fp8_tflops, gpu.fp4_tflops) if r]
    yield "no address", re.match(r"https?://|PyPI package ", gpu.source_url) is None
    yield "no bandwidth", gpu.bandwidth_gbps is None
    yield "no memory", gpu.memory_gib is None and gpu.kind != "cpu"
    yield "unified memory without sharing it", gpu.unified_memory != (gpu.kind == "apu")
    yield "a narrower format is slower", rates != sorted(rates)
    yield "a rate of unknown origin", bool(gpu.fp16_tflops and not gpu.tensor_basis)
    if gpu.fp8_tflops and gpu.int8_tops and gpu.arch != "Blackwell Ultra":  # which gave INT8 up for FP4
        # GeForce halves products that are summed in FP32, so not INT8.
        yield "INT8 unlike FP8", round(gpu.int8_tops / gpu.fp8_tflops, 1) not in {1, 2}


def test_every_device_is_possible():
    assert [(gpu.name, what) for gpu in GPUS.values() for what, wrong in faults(gpu) if wrong] == []


def test_rates_follow_from_the_units_and_clocks_that_their_basis_states():
    checked = 0
    for gpu in GPUS.values():
        units = re.search(r"(\d+) (SM|CU|cores) x (\d+) FLOP/clk.*? x ([\d.]+) (MHz|GHz)", gpu.tensor_basis)
        if not units:
            continue
        count, what, flop, clock, unit = units.groups()
        tflops = int(count) * int(flop) * float(clock) * (1e-6 if unit == "MHz" else 1e-3)
        stated = gpu.fp32_tflops if gpu.kind == "cpu" else gpu.fp16_tflops
        assert stated == pytest.approx(tflops, rel=0.01), (gpu.name, what)
        checked += 1
    assert checked > 200


def test_bandwidth_of_a_cpu_is_channels_times_rate():
    checked = 0
    for cpu in CPUS:
        bus = re.search(r"([\d.]+) x 64 bit x \w+-(\d+)", cpu.notes)
        if bus:
            gbps = float(bus.group(1)) * 8 * float(bus.group(2)) / 1000
            assert cpu.bandwidth_gbps == pytest.approx(gbps, rel=0.005), cpu.name
            checked += 1
    assert checked > 90


def test_laptop_parts_and_smaller_bins_are_not_faster_than_their_namesakes():
    pairs = 0
    for gpu in GPUS.values():
        base = GPUS.get(re.sub(r" Laptop$| \(\d+-core GPU\)$", "", gpu.name))
        # Some others are really the faster chip on laptops: GTX 1650, RTX A2000, RTX 4000 Ada.
        if base is None or base is gpu or re.match(r"GTX|RTX A|.* Ada ", gpu.name):
            continue
        assert gpu.fp32_tflops <= base.fp32_tflops, gpu.name
        assert gpu.bandwidth_gbps <= base.bandwidth_gbps, gpu.name
        pairs += 1
    assert pairs > 25


def test_a_memory_mod_keeps_the_chip():
    for gpu in GPUS.values():
        if not gpu.name.endswith("(modded)"):
            continue
        base = GPUS[re.sub(r" \d+GB \(modded\)$", "", gpu.name)]
        assert gpu.memory_gib > base.memory_gib
        assert (gpu.bandwidth_gbps, gpu.fp16_tflops) == (base.bandwidth_gbps, base.fp16_tflops), gpu.name
        assert "mod" in gpu.notes
