"""Which valid rows say the impossible, and the figures that show it.

Only physics speaks here, with generous slack: a row is held back when no engine, however good, could have
measured it on the named hardware. Rows whose hardware or model is unknown cannot be judged and pass.
"""

from __future__ import annotations

import re

from knowledge.errors import UsageError
from knowledge.ingest.identity import has_figure
from knowledge.ingest.resolving import Names
from knowledge.schema import Gpu, ModelSpec, Observation, Quant
from knowledge.tensors import parameter_counts
from knowledge.units import BYTES_PER_GIB, BYTES_PER_MIB
from knowledge.weights import WeightBytes, weight_bytes

_DECODE_SLACK = 1.05
"""Printed rates are rounded, and a card's memory may be clocked a little higher."""
_HOST_GBPS = 614.4
"""Twelve channels of DDR5-6400: no host is faster."""
_MEMORY_SLACK = 1.02
_PREFILL_SLACK = 1.3
_SPECULATION = re.compile(r"mtp|eagle|draft|d-?flash|n-?gram|medusa|specul|lookahead", re.IGNORECASE)

_NEVER_SPECULATES = re.compile(r"\bllama-bench\b")


class Judge:
    """Weighs rows; remembers the sums it has done for each model and format."""

    def __init__(self) -> None:
        """Start with nothing remembered."""
        self._bytes: dict[tuple[str, str | None, float | None], float | None] = {}
        self._weights: dict[str, float] = {}

    def reason(self, row: Observation, names: Names) -> str:
        """Why the row cannot be true, with figures, or '' when it can."""
        if row.outcome == "ok" and not has_figure(row):
            return "nothing was measured: no rate, no time, no memory"
        gpu, model = names.gpu, names.model
        if gpu is None:
            return ""
        devices = row.gpu_count or (row.tp or 1) * (row.pp or 1)
        reason = _memory(row, gpu, devices)
        if model is not None and not reason:
            reason = self._decode(row, gpu, model, names.quant, devices) or self._prefill(
                row, gpu, model, devices
            )
        return reason

    def _decode(self, row: Observation, gpu: Gpu, model: ModelSpec, quant: Quant | None, devices: int) -> str:
        """One sequence cannot outrun bandwidth ÷ bytes read per token unless tokens are guessed ahead."""
        rates = [row.decode_tps, 1000 / row.tpot_ms if row.tpot_ms else None]
        if row.concurrency == 1:
            rates.append(row.decode_tps_total)
        rate = max((rate for rate in rates if rate), default=None)
        if rate is None or gpu.bandwidth_gbps is None:
            return ""
        key = (model.hf_id, quant.name if quant else None, row.weights_gib)
        if key not in self._bytes:
            self._bytes[key] = bytes_per_token(model, quant, row.weights_gib)
        read = self._bytes[key]
        if read is None:
            return ""
        # What stays in the device's last cache from token to token need not be read again.
        read = max(read - (gpu.l2_mib or 0) * BYTES_PER_MIB * devices, 1.0)
        bandwidth_gbps = gpu.bandwidth_gbps * devices
        if row.offload not in {"", "full"}:
            # Layers take turns, so that the faster memory bounds the whole.
            bandwidth_gbps = max(bandwidth_gbps, _HOST_GBPS)
        bound = bandwidth_gbps * 1e9 / read
        if rate <= bound * _DECODE_SLACK or speculates(row):
            return ""
        return (
            f"{rate:.4g} tok/s for one sequence, but {devices} × {gpu.name} ({gpu.bandwidth_gbps:g} GB/s) "
            f"can read the {read / 1e9:.3g} GB per token of {model.name} at most {bound:.4g} times a second"
        )

    def _prefill(self, row: Observation, gpu: Gpu, model: ModelSpec, devices: int) -> str:
        """Prompt tokens cost 2 operations per weight; the silicon's best rate bounds them."""
        rates = (gpu.fp16_tflops, gpu.fp8_tflops, gpu.fp4_tflops, gpu.int8_tops)
        peak = max((rate for rate in rates if rate), default=None)
        if row.prefill_tps is None or peak is None:
            return ""
        if model.hf_id not in self._weights:
            self._weights[model.hf_id] = weights_per_prompt_token(model)
        needed = 2 * self._weights[model.hf_id] * row.prefill_tps / 1e12
        if needed <= peak * devices * _PREFILL_SLACK:
            return ""
        return (
            f"{row.prefill_tps:.5g} prompt tok/s of {model.name} need {needed:.4g} TFLOPS; "
            f"{devices} × {gpu.name} has {peak * devices:g}"
        )


def _memory(row: Observation, gpu: Gpu, devices: int) -> str:
    per_device = row.vram_gib or gpu.memory_gib
    if row.vram_used_gib is None or per_device is None or gpu.kind == "cpu":
        return ""
    limit = per_device * devices
    if row.vram_used_gib <= limit * _MEMORY_SLACK:
        return ""
    return f"{row.vram_used_gib:g} GiB used of {limit:g} GiB on {devices} × {gpu.name}"


def weights_per_prompt_token(model: ModelSpec) -> float:
    """Parameters that every prompt token is multiplied with; the head sees only the last one."""
    counts = parameter_counts(model)
    head = counts.token_embd if counts.tied else counts.output
    return counts.active(model.n_experts_used, model.n_experts) - head


def speculates(row: Observation) -> bool:
    """Whether tokens were, or may have been, guessed ahead: stated, or named in any free text."""
    if _NEVER_SPECULATES.search(row.flags):
        return False
    if row.spec_decode.strip().lower() not in {"", "none", "off", "0", "no", "false"}:
        return True
    return bool(_SPECULATION.search(f"{row.notes} {row.flags} {row.quant} {row.model_raw} {row.model}"))


def bytes_per_token(model: ModelSpec, quant: Quant | None, weights_gib: float | None) -> float | None:
    """Weight bytes that one decoded token must read, at least; None when neither format nor size is known."""
    if quant is None:
        # The size alone: assume that what is read is as dense in bits as the rest.
        share = min(model.active_params_b / model.total_params_b, 1.0)
        return None if weights_gib is None else 0.9 * share * weights_gib * BYTES_PER_GIB
    if quant.family == "fp4" and quant.expert_bpw < quant.bpw:
        # Which matrices besides the experts are quantized differs by publisher; assume all of them are.
        least = quant.expert_bpw
        quant = quant.model_copy(
            update={"bpw": least, "attn_bpw": least, "mixer_bpw": least, "down_bpw": least}
        )
    try:
        weights: WeightBytes = weight_bytes(model, quant, weights_gib)
    except UsageError:
        # The stated size is not this model's in this format, so one of the three is not what it seems.
        return None
    return weights.per_token(model)
