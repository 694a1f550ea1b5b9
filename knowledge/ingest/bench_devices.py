"""Which devices a test of llama-bench ran on: those of the build's back end, or the ones picked among them.

It settles names and counts; the rest of a row is `bench_rows`'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from knowledge.catalog import Catalog
from knowledge.ingest.bench_forms import Test
from knowledge.ingest.llamacpp_patterns import backend_of
from knowledge.ingest.log_start import Device
from knowledge.ingest.printed_names import NoRowError, Said, gpu_of
from knowledge.names.gpu import match_gpu
from knowledge.schema import Gpu

_CPU_BACKENDS = frozenset({"CPU", "BLAS", "ZenDNN", "KleidiAI", "Accelerate"})
_OLD_BACKENDS = ("cuda", "vulkan", "metal", "sycl")
"""Fields of their own before August 2024."""


@dataclass(frozen=True, slots=True)
class RanOn:
    """Devices of one kind, the GiB of each where told, and the back end; '' where several are built in."""

    gpu: Gpu
    count: int
    vram_gib: float | None
    backend: str


def devices_of(test: Test, catalog: Catalog, said: Said) -> RanOn:
    """What a test ran on.

    Raises:
        NoRowError: a device that is not known or not named, several kinds, or several machines.
    """
    fields, devices = test.fields, _devices(test)
    backends = _backends(fields)
    on_cpu = fields.get("devices") == "none" or (not devices and backends <= _CPU_BACKENDS)
    used = {"CPU": Device(fields.get("cpu_info", ""))} if on_cpu else devices
    gpu, vram_gib = gpu_of(used, catalog, said, test.line)
    if on_cpu != (gpu.kind == "cpu"):
        where = "the CPU alone" if on_cpu else "a GPU"
        raise NoRowError(test.line, f"ran on {where}, and {gpu.name} is none: say which with --gpu")
    if on_cpu:
        return RanOn(gpu, 1, vram_gib, "cpu")
    known = {name for backend in backends if (name := backend_of(backend))}
    count = said.gpu_count or _count(devices, gpu, catalog)
    return RanOn(gpu, count, vram_gib, known.pop() if len(known) == 1 else "")


def _backends(fields: Mapping[str, str]) -> set[str]:
    """The names of the compute back ends of the build."""
    text = fields.get("backends") or ",".join(name for name in _OLD_BACKENDS if fields.get(name) == "1")
    return {name.strip() for name in text.split(",")}


def _devices(test: Test) -> dict[str, Device]:
    """The accelerators that were used, as far as is told."""
    fields = test.fields
    if "RPC" in fields.get("backends", ""):
        raise NoRowError(test.line, "ran on several machines (RPC)")
    listed = test.devices or {
        f"{i}": Device(name) for i, name in enumerate(_listed(fields.get("gpu_info", "")))
    }
    chosen = fields.get("devices", "auto")
    shares = [float(share) for share in re.findall(r"\d+(?:\.\d+)?", fields.get("tensor_split", ""))]
    used = list(listed)
    if chosen not in {"auto", "none", ""}:
        used = _picked(used, [re.sub(r"\D", "", name) for name in chosen.split("/")])
    if fields.get("split_mode") == "none":
        used = _picked(used, [fields.get("main_gpu", "0")])
    elif any(shares):
        used = _picked(used, [f"{index}" for index, share in enumerate(shares) if share])
    return {name: listed[name] for name in used}


def _count(devices: Mapping[str, Device], gpu: Gpu, catalog: Catalog) -> int:
    """How many of the devices are such ones; an integrated one beside them lies idle."""
    found = [match_gpu(device.name, catalog) == gpu for device in devices.values()]
    same_name = len({device.name for device in devices.values()}) == 1
    return sum(found) or (len(devices) if same_name else 1)


def _picked(names: list[str], numbers: list[str]) -> list[str]:
    """The named ones of a list by number; as many of the first where the numbers are of another list."""
    found = [names[int(number)] for number in numbers if number.isdecimal() and int(number) < len(names)]
    return found if len(found) == len(numbers) else names[: len(numbers)]


def _listed(text: str) -> list[str]:
    """Names of devices in one text: separated by commas, before 2024 by slashes."""
    names = [name for name in text.split(", ") if name.strip()]
    parts = text.split("/")
    return parts if len(names) == 1 and len(parts) > 1 and len(set(parts)) == 1 else names
