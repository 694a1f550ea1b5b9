"""Starts of a log as rows of observations: names settled, buffers summed up, nothing invented.

A start whose model or device is not known is no row, with the reason. Engines' words are `llamacpp_log`'s and
`vllm_log`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from knowledge.catalog import Catalog
from knowledge.ingest.llamacpp_patterns import backend_of, is_host
from knowledge.ingest.log_start import Device, Start
from knowledge.names.gpu import match_gpu
from knowledge.names.model import match_model
from knowledge.names.quant import match_quant
from knowledge.names.tokens import clean_name
from knowledge.schema import Gpu, ModelSpec
from knowledge.units import MIB_PER_GIB
from knowledge.weights import weight_bytes

_DRIVER_NOISE = re.compile(
    r"\s*\((?:[^()]*\b)?(?:RADV|NVIDIA|AMD|Intel|Mesa|LLVM|NAVI\d*|DG\d|driver)\b[^()]*\)", re.IGNORECASE
)
_STRIX_HALO = re.compile(r"gfx1151|strix_halo", re.IGNORECASE)
_HUB_CACHE = re.compile(r"models--(?:[^/\\]+--)?([^/\\]+)[/\\]snapshots")
_NOMINAL = 0.12
"""Drivers report less than a card is sold with; within this share it is that card's usual memory."""
_VLLM_FORMATS = {
    "awq": "AWQ-INT4", "awq_marlin": "AWQ-INT4", "gptq": "GPTQ-INT4", "gptq_marlin": "GPTQ-INT4",
    "fp8": "FP8", "modelopt": "FP8", "modelopt_fp4": "NVFP4", "nvfp4": "NVFP4", "mxfp4": "MXFP4",
}  # fmt: skip
_VLLM_FLAGS = ("gpu_memory_utilization", "max_num_batched_tokens", "max_num_seqs")
_UNQUANTIZED = {"torch.bfloat16": "BF16", "bfloat16": "BF16", "torch.float16": "FP16", "float16": "FP16"}
_SPILL = 0.08
"""Share of the weights beside the embeddings that must lie on the host to be called partial."""
_PER_DEVICE = ("compute", "overhead")
"""Buffers that every device has of its own: the largest counts, where the others are shared out."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the person says of the logs: the device and the model, where a log does not."""

    gpu: Gpu | None = None
    vram_gib: float | None = None
    gpu_count: int | None = None
    model: ModelSpec | None = None
    model_text: str = ""


class NoRowError(Exception):
    """Why a start is no observation: `reason`, at `line` of its file."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason


def cells_of(start: Start, source: str, catalog: Catalog, said: Said) -> dict[str, str]:
    """The start as cells of `Observation`; what the log does not tell has no cell.

    Raises:
        NoRowError: model or device unknown, several kinds of devices, or a log that ends too early.
    """
    if not start.outcome:
        raise NoRowError(start.line, "the log ends before the start does: no compute buffers and no failure")
    devices = _devices(start)
    model, text = _model(start, catalog, said)
    gpu, vram_gib = _gpu(start, devices, catalog, said)
    count = said.gpu_count or _count(start, devices)
    cells = {
        **start.cells,
        "source_url": f"log:{_last_part(source)}",
        "model": model.name,
        "model_raw": text,
        "quant": _quant(start, text, catalog),
        "gpu": gpu.name,
        "gpu_count": str(count),
        "vram_gib": f"{vram_gib:g}" if vram_gib else "",
        "engine": start.engine,
        "backend": next((backend_of(name) for name in devices if backend_of(name)), ""),
        "outcome": start.outcome,
        "flags": _flags(start),
        "notes": _notes(start, devices),
    }
    moved = _experts_on_host(start)
    if moved:
        cells["n_cpu_moe"] = str(moved)
    elif cells.get("offload") == "full" and _spilled(start, model, cells["quant"], catalog):
        cells |= {"offload": "partial", "ngl": ""}
    used = _used_mib(start, count)
    if used and start.outcome == "ok":
        cells["vram_used_gib"] = f"{used / MIB_PER_GIB:.4g}"
    return {name: cell for name, cell in cells.items() if cell}


def _last_part(path: str) -> str:
    """The name behind folders or an owner, of either system."""
    return re.split(r"[/\\]", path)[-1]


def _names_in(path: str) -> list[str]:
    """What a path calls the model: its last part, and the repository of a snapshot in the Hub's cache."""
    repository = _HUB_CACHE.search(path)
    return [*([repository[1]] if repository and "." not in _last_part(path) else []), _last_part(path)]


def _devices(start: Start) -> dict[str, Device]:
    """The accelerators that the start used: as it says, else those that got weights, else all it lists."""
    listed = {name: device for name, device in start.devices.items() if not is_host(name)}
    used = {name: device for name, device in listed.items() if device.used}
    if not used:
        held = start.by_device.get("model", {})
        used = {name: device for name, device in listed.items() if name in held}
    return used or listed


def _model(start: Start, catalog: Catalog, said: Said) -> tuple[ModelSpec, str]:
    """The catalog's model and what the log calls it."""
    words = [word for name in start.names for word in _names_in(name)]
    if said.model is not None:
        return said.model, words[0] if words else said.model_text
    params = start.cells.get("params_b")
    for name in words:
        found = match_model(name, catalog, float(params) if params else None)
        if found is not None:
            return found, name
    if not words:
        raise NoRowError(start.line, "names no model: say which with --model")
    raise NoRowError(start.line, f"the model {words[0][:80]!r} is not known: say which with --model")


def _gpu(
    start: Start, devices: Mapping[str, Device], catalog: Catalog, said: Said
) -> tuple[Gpu, float | None]:
    """The catalog's device and the GiB of each."""
    total = max((device.total_mib or 0.0 for device in devices.values()), default=0.0) / MIB_PER_GIB
    if said.gpu is not None:
        return said.gpu, said.vram_gib or _sold_with(said.gpu, total)
    names = {_plain(device.name) for device in devices.values() if device.name}
    if not names:
        raise NoRowError(start.line, "names no GPU: say which with --gpu")
    if len(names) > 1:
        raise NoRowError(start.line, f"several kinds of GPU ({', '.join(sorted(names))}) are no one device")
    name = names.pop()
    free = max((device.free_mib or 0.0 for device in devices.values()), default=0.0) / MIB_PER_GIB
    found = match_gpu(name, catalog, total or free or None)
    if found is None:
        raise NoRowError(start.line, f"the GPU {name[:80]!r} is not known: say which with --gpu")
    return found, _sold_with(found, total)


def _plain(name: str) -> str:
    """A device's name without its driver's."""
    return "Strix Halo" if _STRIX_HALO.search(name) else _DRIVER_NOISE.sub("", name).replace("_", " ")


def _sold_with(gpu: Gpu, total_gib: float) -> float | None:
    """GiB of the device: as sold where the log's figure is about that, else the log's; None: not told."""
    if not total_gib:
        return None
    usual = gpu.memory_gib
    return usual if usual and abs(total_gib / usual - 1) <= _NOMINAL else round(total_gib, 2)


def _count(start: Start, devices: Mapping[str, Device]) -> int:
    if start.engine == "vllm":
        return int(start.cells.get("tp", 1)) * int(start.cells.get("pp", 1))
    return max(len(devices), 1)


def _quant(start: Start, text: str, catalog: Catalog) -> str:
    """The format: as the file's name says, which knows the recipe, else as the log does; '' if neither."""
    named = clean_name(text)[1]
    found = match_quant(named, catalog) if named else None
    if found is not None:
        return found.name
    stated = start.cells.get("quant", "")
    if start.engine == "vllm":
        method = start.flags.get("_quantization", "None").lower()
        stated = _VLLM_FORMATS.get(method, "")
        if method == "none":
            stated = _UNQUANTIZED.get(start.flags.get("_dtype", ""), "")
    found = match_quant(stated, catalog) if stated else None
    return found.name if found is not None else stated


def _flags(start: Start) -> str:
    """Settings that have no column, as the engine spells them."""
    flags = start.flags
    if start.engine == "vllm":
        words = [f"--{name.replace('_', '-')} {flags[name]}" for name in _VLLM_FLAGS if name in flags]
        return " ".join([*words, *(["--enforce-eager"] if flags.get("enforce_eager") == "1" else [])])
    words = [f"-np {flags['parallel']}"] if "parallel" in flags else []
    words += ["-kvu"] if flags.get("kv_unified") == "1" else []
    return " ".join([*words, *(["--mmproj"] if flags.get("mmproj") else [])])


def _notes(start: Start, devices: Mapping[str, Device]) -> str:
    """Every size that was printed, as `name=figure`, and the failure in the log's words."""
    figures: dict[str, float] = {}
    for kind in ("model", "kv", "rs", "compute", "output", "overhead"):
        buffers = start.by_device.get(kind, {})
        on_device = [mib for name, mib in buffers.items() if not is_host(name)]
        on_host = [mib for name, mib in buffers.items() if is_host(name)]
        if on_device:
            figures[f"{kind}_mib"] = max(on_device) if kind in _PER_DEVICE else sum(on_device)
        if on_host:
            figures[f"{kind}_host_mib"] = sum(on_host)
    figures |= {name: value for name, value in start.figures.items() if name not in figures}
    if "kv_mib" in figures or start.cells.get("offload") == "cpu":
        figures.pop("kv_total_mib", None)
    for what in ("free", "total"):
        sizes = [getattr(device, f"{what}_mib") for device in devices.values()]
        if sizes and all(size is not None for size in sizes):
            figures[f"{what}_mib"] = min(sizes)
    words = [f"{name}={value:.7g}" for name, value in figures.items()]
    if start.complaint:
        words.append(f"line {start.complaint_line}: {start.complaint.replace(';', ',')}")
    return "; ".join(words)


def _experts_on_host(start: Start) -> int:
    """Leading layers whose experts were moved to the host; 0 where other tensors were, or not told."""
    blocks = sorted(int(name.removeprefix("blk.")) for name in start.by_device.get("moved", {}))
    whole = blocks and blocks == list(range(blocks[0], blocks[-1] + 1)) and blocks[0] <= 3
    return blocks[-1] + 1 if whole and "other_tensors" not in start.flags else 0


def _spilled(start: Start, model: ModelSpec, quant: str, catalog: Catalog) -> bool:
    """Whether more of the weights lies on the host than the embeddings that always do.

    Since December 2025 llama.cpp moves what does not fit by itself and still counts its layers as offloaded.
    """
    buffers = start.by_device.get("model", {})
    host = sum(mib for name, mib in buffers.items() if is_host(name))
    kind = match_quant(quant, catalog) if quant else None
    if not host or kind is None:
        return False
    usual = weight_bytes(model, kind)
    share = (usual.token_embd + usual.per_layer_embedding) / usual.total
    return host / sum(buffers.values()) > share + _SPILL


def _used_mib(start: Start, count: int) -> float:
    """MiB of the buffers that the log lists, on all devices; 0 where a main part is not told."""
    if "model" not in start.by_device:
        return 0.0
    if start.engine == "vllm":
        parts = [start.by_device.get(kind, {}).get("GPU0") for kind in ("model", "kv", "graphs")]
        return count * sum(part or 0.0 for part in parts) if parts[1] is not None else 0.0
    kinds = ("model", "kv", "rs", "compute", "output")
    return sum(
        mib for kind in kinds for name, mib in start.by_device.get(kind, {}).items() if not is_host(name)
    )
