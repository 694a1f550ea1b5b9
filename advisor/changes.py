"""The single changes that may make a launch fit: which are tried, per engine, and how far each has to go.

It knows memory and risk, which bound a change (the longest context, the fewest layers on the host). What a
change costs and which is best is `advisor.fixes`'; how it is written is the engines'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from advisor.calibration import judged
from advisor.config import Request, Setup
from advisor.memory.exllama import EXLLAMA, cache_cells, chunk_tokens, jobs
from advisor.memory.llamacpp import FAMILY, slots
from advisor.memory.mlx import chunk_tokens as mlx_chunk_tokens
from advisor.memory.paged import batched_tokens, utilization
from advisor.memory.placement import memory_of_devices
from advisor.memory.state import layer_states
from advisor.options import formats_for
from advisor.words import SAFE
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError
from knowledge.kv_types import KV_TYPES, normalise_kv_type
from knowledge.names.rig import device
from knowledge.schema import Quant
from knowledge.units import MIB_PER_GIB, format_tokens
from knowledge.weights import best_weight_bytes

_EVEN = 0.5
_HOST_SHARE = 0.9
"""Share of the RAM that a model may take; the rest is the system's."""
_CONTEXT_STEP = 1024
_UBATCHES = (256, 128)
_BATCHED_TOKENS = (2048, 1024)
_CHUNKS = (1024, 512)
_SEQUENCES = (64, 32, 16, 8, 4, 2, 1)
_UTILIZATIONS = (0.9, 0.92, 0.94, 0.95, 0.96, 0.97)
_WHOLE_LAYERS = frozenset({"ollama", "lmstudio"})
"""Of llama.cpp's family, those that leave the finer settings to their own judgement."""
_FORMATS = 2
"""Narrower formats to name, the widest that fit."""
_FEWER_SEQUENCES = 0.01
_EAGER = 0.25
"""Decoding without captured graphs; the speed model does not tell them apart."""
_NO_IMAGES = 0.3
_NO_DRAFT = 0.3
"""What a separate drafter gains; the speed model knows of heads inside the model only."""
_OTHER_FILES = 0.25
"""Files of another format have to be fetched, and every context answers with them: dearer than a flag."""

Accept = Callable[[Setup], bool]


@dataclass(frozen=True, slots=True)
class Change:
    """One change: in words, the setup after it, and a fixed price beside what the figures tell."""

    text: str
    setup: Setup
    price: float = 0.0


def changes_of(setup: Setup, catalog: Catalog) -> Iterator[Change]:
    """Every change worth trying, each alone."""
    if setup.launch.engine in FAMILY:
        yield from _llamacpp_changes(setup)
    elif setup.launch.engine == "mlx":
        yield from _mlx_changes(setup)
        yield from _narrower_formats(setup, catalog)
        return  # its context is no setting: it grows with what is asked
    else:
        yield from _exllama_changes(setup) if setup.launch.engine in EXLLAMA else _paged_changes(setup)
    if setup.launch.engine in FAMILY and setup.launch.engine not in _WHOLE_LAYERS:
        yield from _other_splits(setup, catalog)
    shorter = longest_context(setup) or longest_context(setup, _is_likelier_to_fit)
    if shorter is not None:
        yield Change(f"context {format_tokens(shorter.launch.ctx)}", shorter)
    yield from _narrower_formats(setup, catalog)


def _llamacpp_changes(setup: Setup) -> Iterator[Change]:
    launch = setup.launch
    if launch.engine == "lmstudio":
        pass  # has settings for both in its app alone
    elif not launch.flash_attn:
        yield Change("flash attention on", setup.with_launch(flash_attn=True))
    else:  # a quantized V cache needs it (rule R20)
        for kind in ("q8_0", "q4_0"):
            if _narrows(setup, kind):
                yield Change(f"KV cache {kind}", setup.with_launch(kv_type_k=kind, kv_type_v=kind))
    count, unified = slots(launch)
    wanted = max(launch.concurrency, 1)
    if count > wanted and (wanted == 1 or not unified):
        named = "one slot" if wanted == 1 else f"{wanted} slots"
        yield Change(named, setup.with_launch(parallel=wanted, kv_unified=None), _FEWER_SEQUENCES)
    if launch.engine not in _WHOLE_LAYERS:  # which have no such flags
        yield from _buffer_changes(setup)
    if launch.engine != "ollama":
        moved = offloaded(setup)
        if moved is not None and moved.launch.n_cpu_moe != launch.n_cpu_moe:
            yield Change(f"experts of {moved.launch.n_cpu_moe} layers on the host", moved)
        elif moved is not None:
            placed = f"{moved.launch.n_gpu_layers} of {setup.model.n_layers} layers on the GPU"
            yield Change(placed, moved)


def _buffer_changes(setup: Setup) -> Iterator[Change]:
    launch = setup.launch
    for ubatch in _UBATCHES:
        if ubatch < launch.ubatch:
            yield Change(f"micro-batch {ubatch}", setup.with_launch(ubatch=ubatch))
    if launch.swa_full:
        yield Change("windowed layers keep their window only", setup.with_launch(swa_full=False))
    if launch.mmproj_gib:
        yield Change("no vision projector", setup.with_launch(mmproj_gib=None), _NO_IMAGES)
    if launch.draft_gib:
        yield Change("no draft model", setup.with_launch(draft_gib=None), _NO_DRAFT)


def _other_splits(setup: Setup, catalog: Catalog) -> Iterator[Change]:
    """The split over the cards with the least risk, where it is another one."""
    cards = len(memory_of_devices(setup))
    if cards < 2:
        return
    by_memory = _split(setup, None, catalog)
    if setup.launch.tensor_split and _is_safe(by_memory):
        yield Change("layers split by the cards' memory", by_memory)
    elif cards == 2:
        layers = setup.model.n_layers + 1  # the output counts as one
        others = [_split(setup, (first, layers - first), catalog) for first in range(1, layers)]
        best = min(others, key=risk_of)
        if risk_of(best) < risk_of(setup) and best.launch.tensor_split:
            first, second = best.launch.tensor_split
            yield Change(f"layers split {first:g} to {second:g}", best)


def _split(setup: Setup, shares: tuple[float, ...] | None, catalog: Catalog) -> Setup:
    """The setup with other shares of the layers; of cards that differ, at the speed which that gives."""
    gpu = device(setup.gpu.name, catalog, shares or ()) if setup.gpu.memory_each_gib else setup.gpu
    return replace(setup.with_launch(tensor_split=shares), gpu=gpu)


def _narrows(setup: Setup, kind: str) -> bool:
    """Whether the cache type takes fewer bytes than both of the launch's."""
    own = (normalise_kv_type(name) for name in (setup.launch.kv_type_k, setup.launch.kv_type_v))
    return all(KV_TYPES[kind].bits < KV_TYPES[name].bits for name in own if name is not None)


def _paged_changes(setup: Setup) -> Iterator[Change]:
    launch = setup.launch
    if launch.kv_type_k in {"f16", "bf16"}:
        yield Change("KV cache fp8", setup.with_launch(kv_type_k="fp8", kv_type_v="fp8"))
    yield from _fewer_sequences(setup, launch.max_num_seqs or launch.concurrency)
    if launch.engine != "vllm":
        return
    for tokens in _BATCHED_TOKENS:
        if tokens < batched_tokens(setup):
            yield Change(f"{tokens} tokens per step", setup.with_launch(max_num_batched_tokens=tokens))
    if not launch.enforce_eager:
        yield Change("eager mode (no CUDA graphs)", setup.with_launch(enforce_eager=True), _EAGER)
    if launch.mmproj_gib:
        yield Change("text only, without the vision encoder", setup.with_launch(mmproj_gib=None), _NO_IMAGES)
    yield from _other_utilizations(setup)


def _fewer_sequences(setup: Setup, limit: int) -> Iterator[Change]:
    """The most sequences at once, under `limit`, with which it fits."""
    wanted = setup.launch.concurrency
    sequences = sorted({n for n in (*_SEQUENCES, wanted) if wanted <= n < limit}, reverse=True)
    fewer = [setup.with_launch(max_num_seqs=n) for n in sequences]
    enough = (
        next(filter(_is_safe, fewer), None)
        or next(filter(_is_likelier_to_fit, fewer), None)
        or next(reversed(fewer), None)
    )
    if enough is not None:
        most = enough.launch.max_num_seqs
        named = "one sequence at a time" if most == 1 else f"at most {most} sequences at once"
        yield Change(named, enough, _FEWER_SEQUENCES)


def _exllama_changes(setup: Setup) -> Iterator[Change]:
    launch = setup.launch
    for kind in ("q8_0", "q6", "q4_0"):
        if _narrows(setup, kind):
            yield Change(f"KV cache {kind}", setup.with_launch(kv_type_k=kind, kv_type_v=kind))
    needed = setup.with_launch(cache_tokens=None)
    if cache_cells(needed.launch) < cache_cells(launch):
        tokens = format_tokens(cache_cells(needed.launch))
        yield Change(f"a cache of {tokens} tokens", needed, _FEWER_SEQUENCES)
    if layer_states(setup.model):  # other models pay nothing for sequences that do not come
        yield from _fewer_sequences(setup, jobs(setup))
    for chunk in _CHUNKS:
        if chunk < chunk_tokens(launch):
            yield Change(f"{chunk} tokens per step", setup.with_launch(max_num_batched_tokens=chunk))
    if launch.mmproj_gib:
        yield Change("text only, without the vision tower", setup.with_launch(mmproj_gib=None), _NO_IMAGES)
    if launch.draft_gib:
        yield Change("no draft model", setup.with_launch(draft_gib=None), _NO_DRAFT)
    moved = offloaded(setup)
    if moved is not None:
        yield Change(f"experts of {moved.launch.n_cpu_moe} layers on the host", moved)


def _mlx_changes(setup: Setup) -> Iterator[Change]:
    launch = setup.launch
    for kind in ("q8_0", "q4_0"):
        if _narrows(setup, kind):
            yield Change(f"KV cache {kind}", setup.with_launch(kv_type_k=kind, kv_type_v=kind))
    for chunk in _CHUNKS:
        if chunk < mlx_chunk_tokens(launch):
            yield Change(f"{chunk} tokens per step", setup.with_launch(max_num_batched_tokens=chunk))
    if launch.draft_gib:
        yield Change("no draft model", setup.with_launch(draft_gib=None), _NO_DRAFT)


def _other_utilizations(setup: Setup) -> Iterator[Change]:
    """The share of the card with the least risk, where it is another one."""
    now = utilization(setup.launch)
    others = [
        setup.with_launch(gpu_memory_utilization=share) for share in _UTILIZATIONS if abs(share - now) > 0.005
    ]
    best = min(others, key=lambda other: (risk_of(other), utilization(other.launch)))
    if risk_of(best) < risk_of(setup):
        yield Change(f"{utilization(best.launch):.0%} of the GPU's memory", best)


def _narrower_formats(setup: Setup, catalog: Catalog) -> Iterator[Change]:
    """The widest narrower formats of the same model that fit, or the narrowest where none does."""
    engine = "llama.cpp" if setup.launch.engine in FAMILY else setup.launch.engine
    request = Request(gpu=setup.gpu.name, ctx=setup.launch.ctx)
    narrower = [
        changed
        for quant in formats_for(engine, setup.model, setup.gpu, request, catalog)
        if (changed := _in_format(setup, quant, catalog)).weights.total < 0.985 * setup.weights.total
    ]
    narrower.sort(key=lambda other: -other.weights.total)
    enough = [other for other in narrower if _is_safe(other)][:_FORMATS]
    for other in enough or narrower[-1:]:
        size = f"{other.weights.total_gib:.1f} GiB"
        yield Change(f"weights in {other.quant.name} ({size})", other, _OTHER_FILES)


def _in_format(setup: Setup, quant: Quant, catalog: Catalog) -> Setup:
    launch = setup.launch.model_copy(
        update={"quant": quant.name, "weights_gib": None, "path": None, "repo": None}
    )
    return replace(
        setup, launch=launch, quant=quant, weights=best_weight_bytes(setup.model, quant, catalog, None)
    )


def offloaded(setup: Setup, accept: Accept | None = None) -> Setup | None:
    """The setup with as little as possible on the host: experts of a mixture, whole layers of a dense model.

    None where even everything on the host does not fit. Only llama.cpp splits so; Ollama and LM Studio move
    whole layers, and ExLlama experts, unless every layer is split over the cards.
    """
    fits = accept or _is_safe
    if setup.launch.engine in EXLLAMA:
        if not setup.model.is_moe or setup.launch.tensor_parallel > 1:
            return None
    elif setup.launch.engine not in FAMILY:
        return None
    layers = setup.model.n_layers
    if setup.model.is_moe and setup.launch.engine not in _WHOLE_LAYERS:
        start = setup.launch.n_cpu_moe
        return _least(start, layers, lambda n: setup.with_launch(n_cpu_moe=n), fits)
    placed = setup.launch.n_gpu_layers
    start = layers - min(placed, layers) if placed is not None else 0
    return _least(start, layers, lambda n: setup.with_launch(n_gpu_layers=layers - n), fits)


def longest_context(setup: Setup, accept: Accept | None = None) -> Setup | None:
    """The setup with the longest context, in whole Ki tokens, that fits; None where none does."""
    fits = accept or _is_safe
    most = (setup.launch.ctx - 1) // _CONTEXT_STEP
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(_shortened(setup, middle * _CONTEXT_STEP)):
            low = middle
        else:
            high = middle - 1
    return _shortened(setup, low * _CONTEXT_STEP) if low else None


def _shortened(setup: Setup, ctx: int) -> Setup:
    launch = setup.launch
    return setup.with_launch(
        ctx=ctx, depth=min(launch.depth, ctx), prompt=min(launch.prompt, ctx), cache_tokens=None
    )


def _least(start: int, most: int, build: Callable[[int], Setup], fits: Accept) -> Setup | None:
    """`build` of the smallest number above `start` that fits, by halving."""
    if start >= most or not fits(build(most)):
        return None
    low, high = start + 1, most
    while low < high:
        middle = (low + high) // 2
        if fits(build(middle)):
            high = middle
        else:
            low = middle + 1
    return build(low)


def risk_of(setup: Setup) -> float:
    """The risk of running out, without the speed figures; 1 where the memory cannot be computed."""
    try:
        return judged(setup).risk.full
    except UnsupportedError:
        return 1.0


def _is_likelier_to_fit(setup: Setup) -> bool:
    return risk_of(setup) <= _EVEN


def _is_safe(setup: Setup) -> bool:
    return risk_of(setup) <= SAFE and host_holds(setup)


def host_holds(setup: Setup) -> bool:
    """Whether the host's memory, where it was stated, holds what the launch keeps there."""
    ram = setup.host.ram_gib
    return ram is None or judged(setup).memory.host_mib <= _HOST_SHARE * ram * MIB_PER_GIB
