"""The user's own starts beside their own accounting: measured ÷ estimated, part by part.

It makes a setup of each receipt and compares; what follows for another setup is `advisor.calibration`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from advisor.config import Host, LaunchConfig, Memory, Setup
from advisor.memory import account
from advisor.memory.paged import utilization, version_of
from advisor.memory.supply import usable_fraction
from advisor.receipts import Receipt, Receipts
from knowledge.catalog import Catalog
from knowledge.errors import AdvisorError
from knowledge.units import MIB_PER_GIB
from knowledge.weights import best_weight_bytes

_PLAUSIBLE = (0.7, 1.45)
"""Measured ÷ estimated weights outside of which a start had another file, or another split, than it says."""
_BUFFER_BOUNDS = (1 / 3, 3.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """A receipt beside its own accounting: measured ÷ estimated of each part, and the demand in MiB."""

    receipt: Receipt
    weights: float | None
    compute: float | None
    overhead: float | None
    estimate: Memory
    placed: bool
    """Whether the weights lay where the accounting puts them, so that its demand is the start's."""

    @property
    def came_up(self) -> bool:
        """Whether the start got as far as serving: what failed afterwards had its last buffers."""
        return self.receipt.outcome == "ok" or (
            self.receipt.engine != "vllm" and self.receipt.compute_mib is not None
        )


@lru_cache(maxsize=8)
def measured_starts(receipts: Receipts, catalog: Catalog) -> tuple[Measured, ...]:
    """Every receipt whose launch can be accounted, beside its accounting."""
    return tuple(item for receipt in receipts.starts if (item := _compare(receipt, catalog)) is not None)


def _compare(receipt: Receipt, catalog: Catalog) -> Measured | None:
    setup = setup_of_start(receipt, catalog)
    if setup is None:
        return None
    try:
        memory = account(setup)
    except AdvisorError:  # an architecture or version without accounting: the start tells nothing comparable
        return None
    parts = memory.per_gpu or [memory]
    paged = receipt.engine == "vllm"
    weights = max(part.weights_mib for part in parts) if paged else sum(part.weights_mib for part in parts)
    split = (
        receipt.offload == "partial"
        and receipt.n_cpu_moe is None
        and (receipt.ngl is None or receipt.ngl > setup.model.n_layers)
    )  # what was moved to the host is not told
    compute, overhead = (_vllm_ratios if paged else _llamacpp_ratios)(receipt, setup, memory)
    ratio = None if split else _ratio(receipt.model_mib, weights, _PLAUSIBLE)
    placed = not split and (ratio is not None or receipt.model_mib is None)
    return Measured(receipt, ratio, compute, overhead, memory, placed)


def _ratio(measured: float | None, estimated: float, bounds: tuple[float, float]) -> float | None:
    if measured is None or estimated <= 0 or not bounds[0] <= measured / estimated <= bounds[1]:
        return None
    return measured / estimated


def _llamacpp_ratios(receipt: Receipt, setup: Setup, memory: Memory) -> tuple[float | None, float | None]:
    del setup
    return (
        _ratio(receipt.compute_mib, memory.compute_mib, _BUFFER_BOUNDS),
        _ratio(receipt.overhead_mib, memory.overhead_mib, _BUFFER_BOUNDS),
    )


def _vllm_ratios(receipt: Receipt, setup: Setup, memory: Memory) -> tuple[float | None, float | None]:
    """What vLLM's budget left over besides weights and cache, over what was expected of it."""
    if receipt.activation_mib is not None and receipt.non_torch_mib is not None:
        rest = receipt.activation_mib + receipt.non_torch_mib + (receipt.graphs_mib or 0.0)
        expected = memory.compute_mib + memory.overhead_mib
        if receipt.graphs_mib is None:
            return None, None
    else:
        if receipt.kv_mib is None or receipt.model_mib is None:
            return None, None
        version = version_of(receipt.engine_version)
        usable = setup.launch.vram_gib * MIB_PER_GIB * usable_fraction(setup)
        budget = utilization(setup.launch) * (receipt.total_mib or usable)
        rest = budget - receipt.model_mib - receipt.kv_mib
        expected = memory.compute_mib + memory.overhead_mib
        if version is not None and version < (0, 21):
            return None, None  # graphs came on top of the budget: the rest holds other parts
    ratio = _ratio(rest, expected, _BUFFER_BOUNDS)
    return ratio, ratio


def setup_of_start(receipt: Receipt, catalog: Catalog) -> Setup | None:
    """The receipt's launch as a setup; None where it names what the catalog has not, or no context."""
    gpu, model = catalog.gpus.get(receipt.gpu), catalog.models.get(receipt.model)
    quant = catalog.quants.get(receipt.quant or "")
    if gpu is None or model is None or quant is None or receipt.ctx is None or receipt.projector:
        return None
    if receipt.spec_decode not in {"", "none"}:
        return None  # a draft's buffers are not told apart
    vram_gib = receipt.vram_gib or gpu.memory_gib
    if vram_gib is None:
        return None
    paged = receipt.engine == "vllm"
    slots = 1 if receipt.kv_unified else receipt.parallel or 1
    ubatch = receipt.ubatch or 512
    launch = LaunchConfig(
        model=model.hf_id,
        quant=quant.name,
        gpu=gpu.name,
        gpu_count=receipt.gpu_count,
        vram_gib=vram_gib,
        engine=receipt.engine,
        engine_version=receipt.engine_version,
        backend=receipt.backend,
        ctx=max(receipt.ctx // (1 if paged else slots), 1),
        kv_type_k=receipt.kv_type_k or "f16",
        kv_type_v=receipt.kv_type_v or receipt.kv_type_k or "f16",
        flash_attn=receipt.flash_attn is not False,
        n_gpu_layers=receipt.ngl,
        n_cpu_moe=receipt.n_cpu_moe or 0,
        parallel=receipt.parallel,
        kv_unified=receipt.kv_unified or slots == 1,
        batch=receipt.batch or max(2048, ubatch),
        ubatch=ubatch,
        tensor_parallel=receipt.tensor_parallel or 1,
        gpu_memory_utilization=receipt.gpu_memory_utilization,
        max_num_seqs=receipt.max_num_seqs,
        max_num_batched_tokens=receipt.max_num_batched_tokens,
        enforce_eager=receipt.enforce_eager,
    )
    weights = best_weight_bytes(model, quant, catalog)
    return Setup(launch, model, quant, weights, gpu, Host(free_mib=receipt.free_mib))
