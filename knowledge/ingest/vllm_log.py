"""What a vLLM start log says (API server or offline engine, V0 and V1, 0.5 to 0.2x).

It keeps only figures that are printed; per device where the engine prints one line per worker, of which the
first is taken. It knows no catalog: vLLM names a card only in passing, if at all.
"""

from __future__ import annotations

import re

from knowledge.ingest.log_reader import LogReader, Match
from knowledge.ingest.log_start import Device, Start
from knowledge.ingest.vllm_patterns import ARGUMENT, ASKED, CAPACITY, PATTERNS
from knowledge.units import MIB_PER_GIB


class VllmLog(LogReader):
    """Reads a log of vLLM's API server or offline engine."""

    engine = "vllm"
    patterns = PATTERNS
    says_several = True

    def _mib(self, name: str, gib: str, kind: str | None = None) -> None:
        """Keep a size once: the other workers print the same."""
        self._now.figures.setdefault(name, round(float(gib) * MIB_PER_GIB, 2))
        if kind:
            self._now.by_device.setdefault(kind, {}).setdefault("GPU0", float(gib) * MIB_PER_GIB)

    def _server(self, match: Match) -> None:
        if self._start is not None and (self._start.names or self._start.figures or self._start.outcome):
            self._finish()
        self._now.cells["engine_version"] = match[1].strip(",").removeprefix("v")

    def _engine(self, match: Match) -> None:
        start = self._start
        if start is not None and (start.figures or start.outcome):
            self._finish()
        self._now.cells["engine_version"] = match[1]
        self._take_arguments(match[2], resolved=True)

    def _arguments(self, match: Match) -> None:
        self._take_arguments(match[1] or match[2] or "", resolved=False)  # a log may end right here

    def _take_arguments(self, text: str, *, resolved: bool) -> None:
        """What was asked for, and — `resolved` — what the engine made of it, which has the last word."""
        start = self._now
        if "speculative_config=None" not in text and re.search(r"speculative_config'?[=:] ?\S", text):
            start.cells["spec_decode"] = "mtp" if re.search(r"mtp", text, re.IGNORECASE) else "draft"
        for match in ARGUMENT.finditer(text):
            key, value = match[1], match[2] or match[3] or match[4] or ""
            if key in {"model", "model_tag"}:
                start.names.extend([value] if value and value not in start.names else [])
            elif key in {"max_seq_len", "max_model_len"}:
                if value.isdigit() and (resolved or "ctx_limit" not in start.cells):
                    start.cells["ctx_limit"] = value
            else:
                _take_setting(start, key, value)

    def _device_name(self, match: Match) -> None:
        self._now.devices.setdefault("GPU0", Device("")).name = match[1]

    def _listed(self, match: Match) -> None:
        device = self._now.devices.setdefault("GPU0", Device(""))
        device.name = device.name or match[1].strip()

    def _total(self, gib: str) -> None:
        device = self._now.devices.setdefault("GPU0", Device(""))
        device.total_mib = device.total_mib or float(gib) * MIB_PER_GIB

    def _old_profile(self, match: Match) -> None:
        self._total(match[1])
        self._now.flags.setdefault("gpu_memory_utilization", match[2])

    def _old_parts(self, match: Match) -> None:
        self._mib("model_mib", match[1], "model")
        self._mib("non_torch_mib", match[2])
        self._mib("activation_mib", match[3])
        self._mib("kv_mib", match[4], "kv")

    def _old_results(self, match: Match) -> None:
        self._total(match[1])
        self._mib("non_torch_mib", match[2])
        self._mib("kv_mib", match[3], "kv")
        self._now.flags.setdefault("gpu_memory_utilization", match[4])

    def _actual(self, match: Match) -> None:
        self._mib("model_mib", match[1], "model")
        self._mib("activation_mib", match[2])
        self._mib("non_torch_mib", match[3])
        self._mib("graphs_mib", match[4], "graphs")

    def _free(self, match: Match) -> None:
        self._total(match[2])
        device = self._now.devices["GPU0"]
        if device.free_mib is None:
            device.free_mib = float(match[1]) * MIB_PER_GIB
        wanted = re.search(r"gpu memory utilization(?: is)? \(([\d.]+),", match[3], re.IGNORECASE)
        if wanted:
            self._now.flags.setdefault("gpu_memory_utilization", wanted[1])
        if "less than desired" in match[3]:
            self._now.fail("oom", match[0], self._line)

    def _weights(self, match: Match) -> None:
        self._mib("model_mib", match[1], "model")

    def _available(self, match: Match) -> None:
        self._mib("kv_mib", match[1], "kv")

    def _tokens(self, match: Match) -> None:
        self._now.figures.setdefault("kv_tokens", float(match[1].replace(",", "")))

    def _blocks(self, match: Match) -> None:
        self._now.figures.setdefault("kv_blocks", float(match[1]))

    def _concurrency(self, match: Match) -> None:
        self._now.figures.setdefault("concurrency_x", float(match[2]))
        self._now.cells.setdefault("ctx_limit", match[1].replace(",", ""))

    def _graphs(self, match: Match) -> None:
        self._mib("graphs_mib", match[1], "graphs")

    def _attention(self, match: Match) -> None:
        self._mib("kv_mib", match[1], "kv")
        self._now.fail("oom", match.string[match.start() :], self._line)

    def _longest(self, match: Match) -> None:
        self._now.figures.setdefault("longest_tokens", float(match[1]))
        self._now.fail("oom", match.string[match.start() :], self._line)

    def _oom(self, match: Match) -> None:
        if capacity := CAPACITY.search(match.string):
            self._total(capacity[1])
        asked = ASKED.search(match.string)
        if asked and self._now.outcome != "oom":
            mib = float(asked[1]) * (MIB_PER_GIB if asked[2] == "GiB" else 1)
            self._now.figures.setdefault("asked_mib", round(mib, 2))
        self._now.fail("oom", match[0], self._line)

    def _ready(self, match: Match) -> None:
        del match  # some versions announce the HTTP server before the engine: figures decide
        if (
            self._start is not None
            and self._start.outcome != "oom"
            and ("kv_mib" in self._start.figures or "kv_tokens" in self._start.figures)
        ):
            self._start.ready()

    def _error(self, match: Match) -> None:
        if self._now.outcome != "oom":
            self._now.fail("error", match[0], self._line)


def _take_setting(start: Start, key: str, value: str) -> None:
    """One setting of the engine, into the column or flag that has it."""
    if key in {"tensor_parallel_size", "pipeline_parallel_size"}:
        if value.isdigit():
            start.cells["tp" if key[0] == "t" else "pp"] = value
    elif key == "kv_cache_dtype":
        start.cells["kv_type_k"] = start.cells["kv_type_v"] = value
    elif key in {"quantization", "dtype"}:
        if value != "auto":
            start.flags[f"_{key}"] = value  # the engine's own word comes after what was asked for
    elif key in {"enforce_eager", "enable_prefix_caching"}:
        start.flags[key] = "1" if value == "True" else "0"
    elif re.fullmatch(r"\d+(?:\.\d+)?", value):
        start.flags.setdefault(key, value)
