"""What a llama.cpp start log says (server, cli, bench; ik_llama.cpp and Ollama print the same lines).

It reads lines in the spellings of 2023 to 2026 and keeps only figures that are printed. Figures of a second
context (a draft's, a benchmark's next test) are not the first one's and are left out.
"""

from __future__ import annotations

import re

from knowledge.ingest.llamacpp_patterns import PATTERNS
from knowledge.ingest.log_reader import LogReader, Match
from knowledge.ingest.log_start import Device

_AFTER_NAME = re.compile(r"\) \((?:[0-9a-fA-F:.]+|unknown id)$")
_FIRST_BUILD = 1000
"""Smaller build numbers come from shallow clones and tell nothing."""


class LlamaCppLog(LogReader):
    """Reads a log of llama.cpp, ik_llama.cpp or Ollama."""

    engine = "llama.cpp"
    patterns = PATTERNS

    def __init__(self) -> None:
        """Begin before the first line."""
        super().__init__()
        self._begin()

    def _begin(self) -> None:
        self._contexts, self._draft = 0, False

    @property
    def _own(self) -> bool:
        """Whether figures that come now are the first context's of the main model."""
        return self._contexts <= 1 and not self._draft

    def _build(self, match: Match) -> None:
        if self._start is not None and (self._start.names or self._start.by_device or self._start.outcome):
            self._finish()
        if int(match[1]) >= _FIRST_BUILD:
            self._now.cells["engine_version"] = f"b{match[1]}"
        else:
            _ = self._now

    def _ik(self, match: Match) -> None:
        del match
        self._now.engine = "ik_llama.cpp"

    def _ollama(self, match: Match) -> None:
        if "starting" in match[0] and self._start is not None and self._start.by_device:
            self._finish()
        self._now.engine = "ollama"

    def _projector(self, match: Match) -> None:
        """The vision projector's own file and graph, which are no part of the model's buffers."""
        if match[1]:
            self._now.figures.setdefault("mmproj_mib", float(match[1]))
        self._now.flags["mmproj"] = "1"

    def _drafting(self, match: Match) -> None:
        self._draft = True
        self._now.cells["spec_decode"] = "mtp" if "mtp" in match[0].lower() else "draft"

    def _loading(self, match: Match) -> None:
        """A model file is opened: the next start, where the last one has come to its buffers or its end."""
        if self._draft:
            return
        start = self._start
        if start is not None and (start.outcome or "compute" in start.by_device or "kv" in start.by_device):
            engine, version = start.engine, start.cells.get("engine_version")
            devices = {name: Device(d.name, None, d.total_mib) for name, d in start.devices.items()}
            self._finish()
            self._now.engine = engine
            self._now.devices = devices  # one process, the same devices; what is free is told again
            if version:
                self._now.cells["engine_version"] = version
        path = match.groupdict().get("path")
        if path:
            self._now.names.insert(0, path.strip())

    def _name(self, match: Match) -> None:
        if not self._draft:
            self._now.names.append(match[1].strip())

    def _meta(self, match: Match) -> None:
        if self._draft:
            return
        key, value = match[1], match[2].strip()
        start = self._now
        if "type" in key:
            start.cells.setdefault("quant", re.sub(r"\s+- [\d.]+ bpw$", "", value.removesuffix(" (guessed)")))
        elif "params" in key:
            number, unit = value.split()[:2] if " " in value else (value, "")
            scale = {"B": 1.0, "M": 1e-3, "T": 1e3, "K": 1e-6}.get(unit)
            if scale is not None and _is_number(number):
                start.cells.setdefault("params_b", f"{float(number) * scale:g}")
        else:
            gib = _gib(value)
            if gib is not None:
                start.cells.setdefault("weights_gib", f"{gib:g}")

    def _using(self, match: Match) -> None:
        """`using device …` comes before each load: free memory as the start found it."""
        if self._draft:
            return
        if self._start is not None and (self._start.outcome or "compute" in self._start.by_device):
            self._loading(match)
        device = self._device(match[1], _AFTER_NAME.sub("", match[2]))
        device.used = True
        if device.free_mib is None:
            device.free_mib = float(match[3])

    def _device(self, key: str, name: str) -> Device:
        devices = self._now.devices
        if key not in devices:
            devices[key] = Device(name)
        return devices[key]

    def _listed(self, match: Match) -> None:
        """`Device 0: NVIDIA …, compute capability 8.6, …` of the CUDA and ROCm back ends."""
        key = ("ROCm" if ", gfx" in match[0] else "CUDA") + match[1]
        unnamed = " gfx1151" if "gfx1151" in match[0] else ""  # a Strix Halo says `AMD Radeon Graphics`
        device = self._device(key, match[2].strip() + unnamed)
        total = re.search(r"VRAM: (\d+) MiB", match.string)
        if total:
            device.total_mib = float(total[1])

    def _vulkan(self, match: Match) -> None:
        self._device(f"Vulkan{match[1]}", re.sub(r" \([a-z][^()]*\)$", "", match[2].strip()))

    def _metal(self, match: Match) -> None:
        self._device("Metal", match[1].strip())

    def _available(self, match: Match) -> None:
        """`CUDA0: NVIDIA … (24126 MiB, 23887 MiB free)` of the list of devices."""
        device = self._device(match[1], match[2].strip())
        device.total_mib = float(match[3])
        if device.free_mib is None:
            device.free_mib = float(match[4])

    def _buffer(self, match: Match) -> None:
        if not self._own:
            return
        kind = match[2].lower()
        if kind == "compute":  # a graph that is reserved again replaces the one before
            self._now.by_device.setdefault(kind, {})[match[1]] = float(match[3])
            self._now.ready()
        else:
            self._now.add(kind, match[1], float(match[3]))

    def _old_buffer(self, match: Match) -> None:
        """Weights in the spelling of before December 2024."""
        if self._own:
            self._now.add("model", match[1], float(match[2]))

    def _kv(self, match: Match) -> None:
        if not self._own:
            return
        cells = self._now.cells
        cells.setdefault("kv_type_k", match["k"])
        cells.setdefault("kv_type_v", match["v"])
        self._now.figures["kv_total_mib"] = self._now.figures.get("kv_total_mib", 0.0) + float(match["mib"])
        if match["streams"]:
            unified = match["streams"] == "1"
            self._now.flags.setdefault("kv_unified", "1" if unified else "0")
            self._now.flags.setdefault("parallel", match["slots"])

    def _context(self, match: Match) -> None:
        key, value = match[1], match[2].rstrip(",")
        first = key == "n_seq_max" or (key == "n_ctx" and "ctx_limit" in self._now.cells)
        if first and ("ctx_limit" in self._now.cells or "compute" in self._now.by_device):
            self._contexts = max(self._contexts, 1) + 1
        if not self._own:
            return
        cells, flags = self._now.cells, self._now.flags
        column = {"n_ctx": "ctx_limit", "n_batch": "batch", "n_ubatch": "ubatch"}.get(key)
        if column and value.isdigit():
            cells.setdefault(column, value)
        elif key == "n_seq_max" and value.isdigit():
            flags.setdefault("parallel", value)
        elif key == "kv_unified":
            flags.setdefault("kv_unified", "1" if value in {"true", "1"} else "0")
        elif key == "n_rs_seq" and value.isdigit() and int(value):
            self._now.figures["rs_seq"] = float(value)
        elif key == "flash_attn" and value in {"enabled", "disabled", "1", "0"}:
            cells["flash_attn"] = "1" if value in {"enabled", "1"} else "0"

    def _constructing(self, match: Match) -> None:
        del match
        self._contexts += 1
        _ = self._now

    def _auto_attention(self, match: Match) -> None:
        if self._own:
            self._now.cells["flash_attn"] = "1" if match[1] == "enabled" else "0"

    def _offloaded(self, match: Match) -> None:
        if self._draft:
            return
        done, most = int(match[1]), int(match[2])
        self._now.cells.setdefault("ngl", str(done))
        whole = "full" if done >= most else "partial" if done else "cpu"
        self._now.cells.setdefault("offload", whole)

    def _moved(self, match: Match) -> None:
        """Tensors put elsewhere by an override; experts of leading layers are what `--n-cpu-moe` moves."""
        if self._draft:
            return
        self._now.cells["offload"] = "partial"
        if match[2]:
            blocks = self._now.by_device.setdefault("moved", {})
            blocks[match[1]] = 0.0
        else:
            self._now.flags["other_tensors"] = "1"

    def _breakdown(self, match: Match) -> None:
        """One device of the table at the end: total = free + (self = model + context + compute) + rest."""
        start = self._now
        device = self._device(match[1], match[2].strip())
        total, free, own = (float(match[index]) for index in (3, 4, 5))
        device.total_mib = total
        if device.free_mib is not None and device.free_mib - free - own >= 0:
            start.by_device.setdefault("overhead", {})[match[1]] = device.free_mib - free - own

    def _oom(self, match: Match) -> None:
        start = self._now
        size = next((group for group in match.groups() if group), None)
        if size is not None and start.outcome != "oom":
            mib = float(size) if "." in size else float(size) / 1024**2
            start.figures.setdefault("asked_mib", mib)
        start.fail("oom", match.string[match.start() :], self._line)

    def _error(self, match: Match) -> None:
        if self._now.outcome != "oom":
            self._now.fail("error", match[0], self._line)

    def _ready(self, match: Match) -> None:
        del match
        if self._start is not None and self._start.by_device:
            self._start.ready()


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(?:\.\d+)?", text) is not None


def _gib(text: str) -> float | None:
    match = re.match(r"(\d+(?:\.\d+)?) ([MG])i?B\b", text)
    if not match:
        return None
    return float(match[1]) / (1 if match[2] == "G" else 1024)
