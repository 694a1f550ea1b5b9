"""A launch command with its names settled: what it says and the device it runs on → one `Setup`.

It owns what the engine fills in where the command is silent (context, slots, format of the weights). It
judges nothing; what cannot be understood is a `UsageError` in one line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from advisor.asking import understand
from advisor.config import LaunchConfig, Setup
from advisor.engines import lmstudio, mlx
from advisor.engines.parsing import Reading, Remark
from advisor.engines.parsing.ollama_env import default_context
from advisor.launch_names import draft_gib, names_of, projector_gib
from advisor.memory.exllama import EXLLAMA, PAGE, cache_cells
from advisor.memory.kv_cache import pad
from advisor.memory.llamacpp import slots
from advisor.memory.paged import PAGED, sequences
from advisor.options import check_device
from advisor.receipts import NO_RECEIPTS, Receipts
from advisor.setups import setup_for
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.names.rig import device
from knowledge.schema import Gpu, ModelSpec, Quant
from knowledge.units import format_tokens

_SETTLED = ("model", "quant", "engine_version")
_FORMAT_CHECKS: Mapping[str, Callable[[Quant], None]] = {
    "lmstudio": lmstudio.check_format, "mlx": mlx.check_format,
}  # fmt: skip
"""Engines whose names for models may mean files that are not counted here."""
_SPARE_LAYER = 0.02
"""Parts of a layer that a share of four digits is off by at most; else a begun layer counts as a whole."""
_NOT_ON_THE_COMMAND = {
    "lmstudio": "what the app is set to, taken here as ",
    "mlx": "what requests make it (say how long with --ctx), taken here as ",
}
"""Engines that have their context from elsewhere where the command is silent; the most is what is judged."""
_FALLBACK_CONTEXT = 32768
"""Tokens where neither the command nor the catalog states any."""


@dataclass(frozen=True, slots=True)
class Launched:
    """The configuration that a command launches; `label` is what the command calls the model."""

    setup: Setup
    label: str
    quant_text: str | None
    """The format as it is written in the model's name."""
    remarks: tuple[Remark, ...]


def launched(
    reading: Reading, options: Mapping[str, Any], catalog: Catalog, receipts: Receipts = NO_RECEIPTS
) -> Launched:
    """The one configuration that the command launches on the device of `options`.

    Raises:
        UsageError: no model is named, its name or format means nothing, or devices contradict each other.
        UnsupportedError: the engine does not run on the device, or does not read the format.
        HubError: the caller names a repository that cannot be read.
    """
    named = names_of(reading, options, catalog)
    model = named.match.model
    if reading.engine in _FORMAT_CHECKS:
        _FORMAT_CHECKS[reading.engine](named.quant)
    remarks = list(reading.remarks)
    asked = understand(_options(reading, options, model), catalog)
    gpu = device(asked.request.gpu, catalog, reading.settings.get("tensor_split", ()))
    if reading.engine in _FORMAT_CHECKS:
        check_device(reading.engine, gpu)
    count = _devices(reading, gpu, asked.request.gpu_count, remarks)
    drafts = str(reading.settings.get("spec_decode", "")).startswith("mtp")
    own = {"gpu_count": count, "engine_version": reading.version, "spec": "mtp" if drafts else "none"}
    users = _users(reading, asked.request.concurrency, remarks)
    request = asked.request.model_copy(update={**own, "concurrency": users})
    setup = setup_for(request, reading.engine, model, named.quant, gpu, catalog, named.files, receipts)
    settings = _settings(reading, model, gpu)
    if reading.splits_tensors:
        settings["tensor_parallel"] = count
    setup = setup.with_launch(**settings, **_beside(reading, setup, remarks, catalog))
    if reading.engine == "vllm" and setup.launch.max_num_seqs is None:
        setup = setup.with_launch(max_num_seqs=sequences(setup))
    asked_ctx = asked.request.ctx if reading.grows and options.get("ctx") is not None else None
    setup = _in_cache(reading, _in_context(reading, setup, asked_ctx, remarks), remarks)
    return Launched(setup, named.match.label, named.quant_text, tuple(remarks))


def _beside(
    reading: Reading, setup: Setup, remarks: list[Remark], catalog: Catalog
) -> dict[str, float | None]:
    """What is loaded beside the model: a vision projector, a draft model."""
    projector = reading.found.text("--mmproj")
    draft = None
    if reading.draft is not None:
        draft, said = draft_gib(reading.draft, reading.engine, catalog)
        remarks.append(Remark("draft", said))
    if not reading.loads_projector or not (setup.model.multimodal or projector):
        return {"mmproj_gib": None, "draft_gib": draft}
    known = setup.launch.mmproj_gib
    size = known or projector_gib(projector)
    if not known:
        remarks.append(Remark("projector", f"a vision projector is loaded too, taken as {size:.2f} GiB"))
    return {"mmproj_gib": size, "draft_gib": draft}


def _options(reading: Reading, options: Mapping[str, Any], model: ModelSpec) -> dict[str, Any]:
    """The request's options: those of the caller but for the names, which are settled."""
    most = model.max_context or _FALLBACK_CONTEXT
    context = max(reading.context or 0, most)  # settled later; a depth must not exceed it
    own = {"ctx": options["ctx"] if reading.grows and options.get("ctx") is not None else context}
    if options.get("concurrency") is None and reading.concurrency:
        own["concurrency"] = reading.concurrency
    return {name: value for name, value in options.items() if name not in _SETTLED} | own


def _users(reading: Reading, users: int, remarks: list[Remark]) -> int:
    """Sequences that are decoded at once: those of all users, within what the server takes."""
    most = reading.most_at_once
    if most is None or users <= most:
        return users
    remarks.append(Remark("users", f"of {users} users {most} are served at once, the others wait"))
    return most


def _devices(reading: Reading, gpu: Gpu, count: int, remarks: list[Remark]) -> int:
    """How many devices the command uses: what it says, within what there is."""
    used = reading.devices
    if gpu.memory_each_gib and reading.engine in PAGED:
        raise UsageError(
            f"{reading.engine} splits evenly, and {gpu.name} differ", "name as many of the smallest card"
        )
    if used is None or used == count:
        return count
    if gpu.memory_each_gib:
        raise UsageError(f"the command uses {used} of the {count} devices", "name with --gpu only those")
    if used > count > 1:
        raise UsageError(f"the command uses {used} devices, and --gpu names {count}", f"write --gpu {used}x…")
    if used < count:
        remarks.append(Remark("devices", f"the command uses {used} of the {count} devices"))
    return used


def _settings(reading: Reading, model: ModelSpec, gpu: Gpu) -> dict[str, Any]:
    """The command's settings, with "every layer" and equal shares as the defaults that they are."""
    # what a command leaves open is the engine's, not what would be recommended
    settings = {"prefix_caching": None, "max_num_seqs": None, **reading.settings}
    equal = not gpu.memory_each_gib and len(set(settings.get("tensor_split", ()))) == 1
    if equal and reading.engine not in EXLLAMA:  # whose parts are limits
        settings["tensor_split"] = None  # equal shares are what equal cards get anyway
    if reading.layer_share is not None:
        settings["n_gpu_layers"] = math.ceil(reading.layer_share * model.n_layers - _SPARE_LAYER)
    layers = settings.get("n_gpu_layers")
    everything = layers is not None and layers == model.n_layers and reading.layer_share is not None
    if everything or (layers is not None and layers > model.n_layers):
        settings["n_gpu_layers"] = None
    if "n_cpu_moe" in settings:
        settings["n_cpu_moe"] = min(settings["n_cpu_moe"], model.n_layers) if model.is_moe else 0
    return settings


def _in_context(reading: Reading, setup: Setup, asked: int | None, remarks: list[Remark]) -> Setup:
    """The setup with the context that one sequence gets; `asked` is the caller's, where no flag has it."""
    launch, model = setup.launch, setup.model
    total = reading.context or reading.default_context or asked
    if total is None and reading.engine == "ollama":
        total = default_context(launch.vram_gib * launch.gpu_count)
    if total is None:
        total = model.max_context or _FALLBACK_CONTEXT
        whose = "the model's maximum" if model.max_context else "assumed, as the model's own is not known"
        whose = _NOT_ON_THE_COMMAND.get(reading.engine, "") + whose
        remarks.append(Remark("context", f"the context is {whose}: {format_tokens(total)} tokens"))
    ctx = per_sequence(launch, total) if reading.context_is_total else total
    if model.max_context and ctx > model.max_context:
        most = format_tokens(model.max_context)
        remarks.append(
            Remark(
                "context",
                f"{model.name} takes at most {most} tokens, the command asks for {format_tokens(ctx)}",
            )
        )
    if launch.depth > ctx:
        raise UsageError(
            f"--depth {launch.depth} is more than the {ctx} tokens that a sequence gets", "write less"
        )
    return setup.with_launch(ctx=max(ctx, 1), prompt=min(launch.prompt, max(ctx, 1)))


def _in_cache(reading: Reading, setup: Setup, remarks: list[Remark]) -> Setup:
    """The setup with the cache that all sequences of ExLlama share, which may cut what one of them gets."""
    if reading.engine not in EXLLAMA:
        return setup
    launch = setup.launch
    # left out, it is as long as one sequence
    cells = launch.cache_tokens or pad(launch.ctx, PAGE)
    if launch.ctx > cells:
        if reading.context is not None:
            said = f"the cache holds {format_tokens(cells)} tokens: no sequence gets more"
            remarks.append(Remark("context", said))
        setup = setup.with_launch(ctx=cells, depth=min(launch.depth, cells), prompt=min(launch.prompt, cells))
        launch = setup.launch
    users = max(launch.concurrency, 1)
    if cells < users * launch.ctx:
        held = f"{cells / launch.ctx:.2g} of {users} full contexts"
        remarks.append(Remark("cache", f"the cache of {format_tokens(cells)} tokens holds {held} at once"))
    needed = cache_cells(setup.with_launch(cache_tokens=None).launch)
    return setup.with_launch(cache_tokens=None if cells == needed else cells)


def per_sequence(launch: LaunchConfig, total: int) -> int:
    """Tokens that one sequence gets of a total context: the inverse of `total_context`."""
    count, unified = slots(launch)
    return total // (min(max(launch.concurrency, 1), count) if unified else count)
