"""Candidate configurations: what could be launched for a request, and why the rest could not.

It owns the enumeration and its pruning by memory, risk and rules, so that few enough are left to predict; how
fast they are and which is best is judged afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from advisor.calibration import Judged, judged
from advisor.config import Rejected, Request, Setup
from advisor.engines.rules import forbidden_by
from advisor.memory.llamacpp import least_mib
from advisor.memory.placement import memory_of_devices
from advisor.memory.supply import free_mib
from advisor.options import check_options, engines_for, formats_for, is_last_resort, kv_pairs_for
from advisor.receipts import NO_RECEIPTS, Receipts
from advisor.setups import setup_for, with_room_for
from knowledge.catalog import Catalog
from knowledge.errors import UnknownNameError, UnsupportedError, UsageError
from knowledge.names.rig import device
from knowledge.schema import Gpu, ModelSpec, Quant
from knowledge.units import BYTES_PER_MIB, MIB_PER_GIB, format_mib, format_tokens

if TYPE_CHECKING:
    from knowledge.real_model import RealModel

KvPairs = Sequence[tuple[str, str]]

_HOST_SHARE = 0.9
"""Share of the RAM that a model may take; the rest is the system's."""
_SMALL_UBATCH, _OFFLOAD_UBATCH = 256, 2048
"""Half of llama.cpp's default where compute buffers are what does not fit; more where experts on the
host are streamed once per micro-batch, so that prompts wait for fewer transfers."""
_FOUR_BIT = 5.0
"""Bits per weight under which a format counts as 4-bit: the usual compromise of speed and quality."""


@dataclass(frozen=True, slots=True)
class Search:
    """Setups to predict, and what was left out with its reason."""

    setups: tuple[Setup, ...]
    rejected: tuple[Rejected, ...]


def candidates(
    request: Request, catalog: Catalog, files: RealModel | None = None, receipts: Receipts = NO_RECEIPTS
) -> Search:
    """Configurations that satisfy `request` and fit: every sensible one of a named model, few of each else.

    `files` is the model itself, where it was read from its files; `receipts` of the user's own starts correct
    what is estimated. Setups are within `request.max_oom` and forbidden by no rule; a named model yields at
    most about 60, the whole catalog at most about 1,500.

    Raises:
        UnknownNameError: the GPU or model is not in the catalog.
        UsageError: a context above a named model's maximum, a device whose memory is not known, or options
            that contradict each other; among them those of another engine (UnsupportedError).
    """
    gpu = device(request.gpu, catalog)
    if request.vram is None and gpu.memory_gib is None:
        raise UsageError(f"the memory of {gpu.name} is not known", "give it with --vram")
    check_options(request)
    named = request.model is not None
    search = _Search(request, gpu, catalog, files, receipts, thorough=named)
    for model in _models(request, catalog) if files is None else (files.model,):
        if model.max_context and request.ctx > model.max_context:
            reason = f"{model.name} takes at most {format_tokens(model.max_context)} tokens of context"
            if named:
                raise UsageError(reason, f"write --ctx {format_tokens(model.max_context)} or less")
            search.reject(model, reason)
            continue
        search.add(model)
    return Search(tuple(search.setups), tuple(search.rejected))


def _models(request: Request, catalog: Catalog) -> tuple[ModelSpec, ...]:
    if request.model is None:
        return tuple(catalog.models.values())
    if request.model not in catalog.models:
        raise UnknownNameError("model", request.model, command="advisor models")
    return (catalog.models[request.model],)


class _Search:
    """One request's enumeration under way."""

    def __init__(
        self,
        request: Request,
        gpu: Gpu,
        catalog: Catalog,
        files: RealModel | None,
        receipts: Receipts,
        *,
        thorough: bool,
    ) -> None:
        self.request, self.gpu, self.catalog, self.thorough = request, gpu, catalog, thorough
        self.files, self.receipts = files, receipts
        self.setups: list[Setup] = []
        self.rejected: list[Rejected] = []
        self.vram_gib = request.vram or gpu.memory_gib or 0.0
        self.engines = engines_for(gpu, request, files.kind_for(request.quant) if files else None)

    def reject(self, model: ModelSpec, reason: str, **config: object) -> None:
        """Remember why something was left out."""
        self.rejected.append(Rejected(config={"model": model.hf_id, **config}, reason=reason))

    def add(self, model: ModelSpec) -> None:
        """Add the model's configurations; across the catalog one reason per model says why there is none."""
        before, left_out = len(self.setups), len(self.rejected)
        for engine in self.engines:
            formats = formats_for(engine, model, self.gpu, self.request, self.catalog)
            if not formats:
                asked = self.request.quant or "any listed format"
                self.reject(model, f"{engine} does not run {asked} on {self.gpu.name}", engine=engine)
            pairs = kv_pairs_for(engine, self.gpu, self.request)
            if self.thorough:
                self._add_formats(engine, model, formats, pairs)
                continue
            # narrower weights before a cache that shows: that one only when nothing else fits
            usual = tuple(pair for pair in pairs if len(pairs) == 1 or not is_last_resort(pair))
            self._add_formats(engine, model, formats, usual)
            if len(self.setups) == before and len(usual) < len(pairs):
                self._add_formats(engine, model, formats, pairs[len(usual) :])
            if len(self.setups) > before:
                break
        if not self.thorough:
            reasons = self.rejected[left_out:]
            # the narrowest format came last and was the nearest to fitting
            self.rejected[left_out:] = reasons[-1:] if len(self.setups) == before else []

    def _add_formats(self, engine: str, model: ModelSpec, formats: Sequence[Quant], pairs: KvPairs) -> None:
        has_wide = False
        for quant in formats:
            four_bit = min(quant.bpw, quant.expert_bpw) < _FOUR_BIT
            if has_wide and not four_bit and not self.thorough:
                continue  # across the catalog: the widest that fits, and a 4-bit one
            found = list(self._of_format(engine, model, quant, pairs))
            self.setups.extend(found)
            if found and four_bit and not self.thorough:
                return
            has_wide = has_wide or bool(found)

    def _of_format(self, engine: str, model: ModelSpec, quant: Quant, pairs: KvPairs) -> Iterator[Setup]:
        base = self._base(engine, model, quant)
        reason, fits = self._overweight(base), 0
        for key, value in () if reason else pairs:
            if is_last_resort((key, value)) and fits and len(pairs) > 1:
                continue
            setup = base.with_launch(kv_type_k=key, kv_type_v=value)
            overfull = self._overfull(setup)
            reason = overfull or self._obstacle(setup)
            if reason and not overfull and engine == "llama.cpp" and self.request.ubatch is None:
                smaller = setup.with_launch(ubatch=_SMALL_UBATCH)
                if not self._obstacle(smaller):
                    setup, reason = smaller, ""
            if not reason:
                fits += 1
                yield setup
                if not self.thorough:
                    return
        if fits:
            return
        offloaded = self._offloaded(base, pairs[min(1, len(pairs) - 1)])
        if offloaded is not None:
            yield offloaded
        else:
            self.reject(model, reason, quant=quant.name, engine=engine)

    def _base(self, engine: str, model: ModelSpec, quant: Quant) -> Setup:
        """The configuration before its open choices, with room for the asked users and no more."""
        asked = self.request
        setup = setup_for(asked, engine, model, quant, self.gpu, self.catalog, self.files, self.receipts)
        return with_room_for(setup, asked.concurrency, asked)

    def _obstacle(self, setup: Setup) -> str:
        """Why the setup cannot be recommended; empty when it can."""
        if setup.launch.spec_decode == "mtp" and not setup.model.has_mtp:
            return f"{setup.model.name} has no draft (MTP) head"
        if setup.launch.n_cpu_moe and not setup.model.is_moe:
            return f"{setup.model.name} has no experts to keep on the CPU"
        try:
            shortage = self._shortage(judged(setup))
        except UnsupportedError as error:
            return str(error)
        if shortage:
            return shortage
        return forbidden_by(setup, self.catalog)

    def _overweight(self, setup: Setup) -> str:
        """That the weights alone are too much, where nothing moves them: spares the accounting."""
        if setup.launch.n_gpu_layers is not None or setup.launch.n_cpu_moe:
            return ""
        body = (setup.weights.dense + setup.weights.experts) / BYTES_PER_MIB / setup.launch.gpu_count
        room = self.vram_gib * MIB_PER_GIB
        return f"weights of {format_mib(body)} in {format_mib(room)}" if body > room else ""

    def _overfull(self, setup: Setup) -> str:
        """That weights and cache alone are too much for all cards together: spares the graph's replay."""
        launch = setup.launch
        counted = launch.engine == "llama.cpp" and launch.kv_offload
        if not counted or launch.n_gpu_layers is not None or launch.n_cpu_moe:
            return ""
        try:
            least = least_mib(setup)
        except UnsupportedError as error:
            return str(error)
        if setup.calibration is None:
            room = sum(free_mib(setup, gib) for gib in memory_of_devices(setup))
        else:  # an own start may have shown that there is more than is reckoned with
            room = sum(memory_of_devices(setup)) * MIB_PER_GIB
        return f"weights and cache of {format_mib(least)} in {format_mib(room)}" if least > room else ""

    def _shortage(self, found: Judged) -> str:
        memory, risk = found.memory, found.risk.full
        if memory.total_mib > memory.available_mib and not found.fits:
            return f"needs {format_mib(memory.total_mib)} of {format_mib(memory.available_mib)}"
        if self.request.ram is not None and memory.host_mib > self.request.ram * MIB_PER_GIB * _HOST_SHARE:
            return f"needs {format_mib(memory.host_mib)} of {self.request.ram:g} GiB RAM"
        if risk > self.request.max_oom:
            return f"{risk:.0%} risk of running out of memory, above {self.request.max_oom:.0%}"
        return ""

    def _offloaded(self, base: Setup, pair: tuple[str, str]) -> Setup | None:
        """The setup with as little as possible on the host, where RAM was given and nothing was fixed."""
        asked = self.request
        fixed = asked.ngl is not None or asked.n_cpu_moe is not None
        if asked.ram is None or fixed or base.launch.engine != "llama.cpp":
            return None
        layers = base.model.n_layers
        start = base.with_launch(kv_type_k=pair[0], kv_type_v=pair[1])
        if base.model.is_moe:
            start = start.with_launch(ubatch=asked.ubatch or _OFFLOAD_UBATCH)
            return _first(layers, lambda n: self._if_free(start.with_launch(n_cpu_moe=n)))
        return _first(layers, lambda n: self._if_free(start.with_launch(n_gpu_layers=layers - n)))

    def _if_free(self, setup: Setup) -> Setup | None:
        return None if self._obstacle(setup) else setup


def _first(most: int, attempt: Callable[[int], Setup | None]) -> Setup | None:
    """The attempt with the smallest number from 1 to `most` that succeeds, by halving; None if none does."""
    best = attempt(most)
    if best is None:
        return None
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        found = attempt(middle)
        if found is None:
            low = middle + 1
        else:
            best, high = found, middle
    return best
