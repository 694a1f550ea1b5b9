"""One exact `Setup` from a request and its settled names: what stays open takes the engine's own default.

`recommend` varies the result, `predict` takes it as it is; both start here, so that one configuration has one
answer. It understands no free text (`advisor.asking`) and judges nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from advisor.calibration import calibrated
from advisor.config import Host, LaunchConfig, Request, Setup
from advisor.engines import apply, vllm
from advisor.memory.exllama import jobs
from advisor.memory.llamacpp import FAMILY, slots
from advisor.memory.paged import PAGED, sequences
from advisor.memory.state import layer_states
from advisor.receipts import NO_RECEIPTS, Receipts
from knowledge.catalog import Catalog
from knowledge.schema import Gpu, ModelSpec, Quant
from knowledge.units import BYTES_PER_GIB
from knowledge.weights import best_weight_bytes, stored_format

if TYPE_CHECKING:
    from knowledge.real_model import RealModel

BACKENDS = ("cuda", "rocm", "vulkan", "metal", "sycl", "cpu")
"""Compute backends that a build of an engine can have."""
_SAFETENSORS = (*PAGED, "mlx", "exllamav3")
"""Engines that read such files; the others read GGUF."""
DEFAULT_BATCH, DEFAULT_UBATCH = 2048, 512
"""llama.cpp's `--batch-size` and `--ubatch-size`."""


def usual_backend(engine: str, gpu: Gpu) -> str:
    """The backend that people run `engine` with on the device.

    llama.cpp's Vulkan is the usual choice on AMD and Intel cards; vLLM has ROCm only (SYCL on Intel).
    """
    if gpu.kind == "cpu":
        return "cpu"
    vendor = gpu.vendor.lower()
    if vendor in {"nvidia", "apple"}:
        return "cuda" if vendor == "nvidia" else "metal"
    if engine not in PAGED:
        return "vulkan"
    return "rocm" if vendor == "amd" else "sycl"


def setup_for(
    request: Request,
    engine: str,
    model: ModelSpec,
    quant: Quant,
    gpu: Gpu,
    catalog: Catalog,
    files: RealModel | None = None,
    receipts: Receipts = NO_RECEIPTS,
) -> Setup:
    """The configuration that `request` describes for these names; `request.vram` or the card's own memory.

    With `files` the weights are those of the model's own files, byte by byte, and the launch names them;
    another format than theirs is computed from the same shape.

    Open choices: f16 cache, all layers on the device, llama.cpp's automatic slots, and for vLLM tensors split
    over every device asked for. `receipts` of the user's own starts correct what is estimated.

    Raises:
        UsageError: a stated file size that cannot be this model in this format.
    """
    paged = engine in PAGED
    kind: Literal["safetensors", "gguf"] = "safetensors" if engine in _SAFETENSORS else "gguf"
    own = files if files and files.are(quant, kind) else None
    quant = quant if own else stored_format(quant, model, catalog, gguf=kind == "gguf")
    if files and own is None and files.path and not files.catalogued:
        model = model.model_copy(update={"hf_id": files.path})  # what vLLM quantizes while loading
    ubatch = request.ubatch or DEFAULT_UBATCH
    launch = LaunchConfig(
        model=model.hf_id,
        quant=quant.name,
        weights_gib=request.weights_gib,
        gpu=gpu.name,
        gpu_count=request.gpu_count,
        vram_gib=request.vram or gpu.memory_gib or 0.0,
        vram_per_gpu_gib=gpu.memory_each_gib or None,
        engine=engine,
        engine_version=request.engine_version,
        backend=request.backend or usual_backend(engine, gpu),
        ctx=request.ctx,
        depth=request.depth,
        prompt=min(request.prompt, request.ctx),
        concurrency=request.concurrency,
        kv_type_k=request.kv_type_k or "f16",
        kv_type_v=request.kv_type_v or ((request.kv_type_k or "f16") if paged else "f16"),
        flash_attn=request.flash_attn is not False,
        n_gpu_layers=request.ngl,
        n_cpu_moe=request.n_cpu_moe or 0,
        parallel=request.parallel,
        kv_unified=request.kv_unified,
        batch=max(DEFAULT_BATCH, ubatch),
        ubatch=ubatch,
        tensor_parallel=request.tensor_parallel or (request.gpu_count if paged else 1),
        spec_decode=request.spec,
        gpu_memory_utilization=request.gpu_memory_utilization,
        max_num_seqs=request.max_num_seqs,
        max_num_batched_tokens=request.max_num_batched_tokens,
        # with speculation, hybrids corrupt cached prefixes (rule R45)
        prefix_caching=False if engine == "vllm" and request.spec != "none" else None,
        path=own.path if own else None,
        repo=own.repo if own else None,
        mmproj_gib=(own.projector or own.weights.vision) / BYTES_PER_GIB or None if own else None,
    )
    host = Host(request.vram_used, request.headless, request.ram, request.ram_bandwidth)
    if own is None:
        weights = best_weight_bytes(model, quant, catalog, request.weights_gib)
    else:
        weights = own.weights.with_drafts() if request.spec == "mtp" else own.weights
    setup = Setup(launch, model, quant, weights, gpu, host)
    if engine == "vllm":
        setup = _with_caching(_with_sequences(setup), catalog)
    elif engine == "exllamav3" and jobs(setup) < request.concurrency:  # its default would let some wait
        setup = setup.with_launch(max_num_seqs=request.concurrency)
    return calibrated(setup, receipts, catalog)


def with_room_for(setup: Setup, users: int, request: Request) -> Setup:
    """`setup` with slots for so many users at once, or for as many as were asked for."""
    engine, slots = setup.launch.engine, max(users, request.parallel or 0)
    if engine == "llama.cpp":
        unified = request.kv_unified if request.kv_unified is not None else (slots > 1 or None)
        return setup.with_launch(concurrency=users, parallel=slots, kv_unified=unified)
    if engine in FAMILY:
        return setup.with_launch(concurrency=users, parallel=slots)
    if engine == "mlx":  # takes as many as come; its command says how many those are
        return setup.with_launch(concurrency=users)
    return setup.with_launch(concurrency=users, max_num_seqs=max(users, request.max_num_seqs or 0))


def with_slots(setup: Setup, request: Request) -> Setup:
    """`setup` with a slot for every user, where none were asked for and the engine's own are too few."""
    launch = setup.launch
    if launch.engine not in FAMILY or request.parallel is not None or launch.concurrency <= slots(launch)[0]:
        return setup
    return with_room_for(setup, launch.concurrency, request)


def _with_sequences(setup: Setup) -> Setup:
    """`setup` with the limit of sequences that its command will print.

    A hybrid does not start when the limit exceeds its state blocks, so it is asked for what is needed (rule
    R48); others keep vLLM's default.
    """
    launch = setup.launch
    needed = max(launch.concurrency, 1) if layer_states(setup.model) else sequences(setup)
    return setup.with_launch(max_num_seqs=launch.max_num_seqs or needed)


def _with_caching(setup: Setup, catalog: Catalog) -> Setup:
    """`setup` with the prefix caching that a rule puts on its command (R41): it is part of the launch."""
    if setup.launch.prefix_caching is not None:
        return setup
    printed = vllm.states_prefix_caching(apply(setup, catalog=catalog).sets)
    return setup.with_launch(prefix_caching=printed)


def options_of(launch: LaunchConfig) -> dict[str, str | int | float | None]:
    """The options that ask for exactly this configuration, by their names; None for those left out."""
    return {
        "model": launch.path or launch.repo or launch.model.rsplit("/", 1)[-1],
        "quant": launch.quant,
        "weights_gib": launch.weights_gib,
        "gpu": launch.gpu,
        "gpu_count": launch.gpu_count if launch.gpu_count > 1 and not launch.vram_per_gpu_gib else None,
        "vram": None if launch.vram_per_gpu_gib else f"{launch.vram_gib:g}",
        "engine": launch.engine,
        "engine_version": launch.engine_version,
        "backend": launch.backend,
        "ctx": launch.ctx,
        "depth": launch.depth or None,
        "prompt": launch.prompt,
        "concurrency": launch.concurrency if launch.concurrency > 1 else None,
        "kv_type_k": launch.kv_type_k,
        "kv_type_v": launch.kv_type_v,
        "parallel": launch.parallel,
        "kv_unified": None if launch.kv_unified is None else "on" if launch.kv_unified else "off",
        "flash_attn": None if launch.flash_attn else "off",
        "ubatch": launch.ubatch if launch.engine not in PAGED and launch.ubatch != DEFAULT_UBATCH else None,
        "ngl": None if launch.n_gpu_layers is None else str(launch.n_gpu_layers),
        "n_cpu_moe": launch.n_cpu_moe or None,
        "tensor_parallel": launch.tensor_parallel if launch.tensor_parallel > 1 else None,
        "gpu_memory_utilization": launch.gpu_memory_utilization,
        "max_num_seqs": launch.max_num_seqs,
        "max_num_batched_tokens": launch.max_num_batched_tokens,
        "spec": launch.spec_decode if launch.spec_decode != "none" else None,
    }
