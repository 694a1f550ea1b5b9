"""Starts of a log as rows of observations: names settled, buffers summed up, nothing invented.

A start whose model or device is not known is no row, with the reason. Engines' words are `llamacpp_log`'s and
`vllm_log`'s.
"""

from __future__ import annotations

from collections.abc import Mapping

from knowledge.catalog import Catalog
from knowledge.ingest.llamacpp_patterns import backend_of, is_host
from knowledge.ingest.log_start import Device, Start
from knowledge.ingest.printed_names import NoRowError, Said, format_of, gpu_of, last_part, model_of
from knowledge.names.quant import match_quant
from knowledge.schema import ModelSpec
from knowledge.units import MIB_PER_GIB
from knowledge.weights import weight_bytes

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


def cells_of(start: Start, source: str, catalog: Catalog, said: Said) -> dict[str, str]:
    """The start as cells of `Observation`; what the log does not tell has no cell.

    Raises:
        NoRowError: model or device unknown, several kinds of devices, or a log that ends too early.
    """
    if not start.outcome:
        raise NoRowError(start.line, "the log ends before the start does: no compute buffers and no failure")
    devices = _devices(start)
    params = start.cells.get("params_b")
    model, text = model_of(start.names, float(params) if params else None, catalog, said, start.line)
    gpu, vram_gib = gpu_of(devices, catalog, said, start.line)
    count = said.gpu_count or _count(start, devices)
    cells = {
        **start.cells,
        "source_url": f"log:{last_part(source)}",
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


def _devices(start: Start) -> dict[str, Device]:
    """The accelerators that the start used: as it says, else those that got weights, else all it lists."""
    listed = {name: device for name, device in start.devices.items() if not is_host(name)}
    used = {name: device for name, device in listed.items() if device.used}
    if not used:
        held = start.by_device.get("model", {})
        used = {name: device for name, device in listed.items() if name in held}
    return used or listed


def _count(start: Start, devices: Mapping[str, Device]) -> int:
    if start.engine == "vllm":
        return int(start.cells.get("tp", 1)) * int(start.cells.get("pp", 1))
    return max(len(devices), 1)


def _quant(start: Start, text: str, catalog: Catalog) -> str:
    """The format in the file's name, else as the log states it."""
    if start.engine != "vllm":
        return format_of(text, start.cells.get("quant", ""), catalog)
    method = start.flags.get("_quantization", "None").lower()
    if method == "none":
        return format_of(text, _UNQUANTIZED.get(start.flags.get("_dtype", ""), ""), catalog)
    return format_of(text, _VLLM_FORMATS.get(method, ""), catalog)


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
