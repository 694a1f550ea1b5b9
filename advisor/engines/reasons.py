"""Why each flag stands on a launch command.

It owns the words. That a flag stands there is the engines' doing, and what a rule says is the rule's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from advisor.config import FlagReason, Setup
from advisor.engines.command_line import flags_in
from advisor.engines.llamacpp import LONG
from advisor.engines.rules import RuleOutcome
from advisor.memory.exllama import EXLLAMA
from advisor.memory.llamacpp import total_context
from advisor.memory.paged import PAGED
from knowledge.catalog import Catalog, default_catalog
from knowledge.errors import AdvisorError
from knowledge.kv_types import KV_TYPES, normalise_kv_type
from knowledge.units import format_tokens

_DEFAULT_UBATCH = 512


def reasons(
    setup: Setup, command: str, env: Mapping[str, str], rules: RuleOutcome, catalog: Catalog | None = None
) -> list[FlagReason]:
    """One reason for every flag and variable of the command that launches `setup`, in its order.

    `rules` is what `apply(setup)` said: a flag that a rule asks for carries the rule's address.

    Raises:
        AdvisorError: a flag is printed that no reason is known for.
    """
    by_flag = {
        rule.sets.split()[0]: rule
        for rule in (catalog or default_catalog()).rules
        if rule.id in rules.fired and rule.sets
    }
    found = []
    for spelled in (*env, *flags_in(command)):
        flag = LONG.get(spelled, spelled)
        rule = by_flag.get(flag)
        if flag in _REASONS:
            text = _REASONS[flag](setup)
        elif rule is not None:
            text = f"{rule.text} [{rule.id}]"
        else:
            raise AdvisorError(f"{flag} has no reason in advisor/engines/reasons.py", "add it")
        found.append(FlagReason(flag=spelled, reason=text, evidence_url=rule.evidence_url if rule else None))
    return found


def _weights(setup: Setup) -> str:
    counted = {"computed": "computed, not read from the file", "read": "read from the file"}
    how = counted.get(setup.weights.basis, "the file's own size")
    return f"{setup.quant.name}: {setup.weights.total_gib:.1f} GiB of weights ({how})"


def _folder(setup: Setup) -> str:
    return f"a folder that has to be there; {_weights(setup)}"


def _context(setup: Setup) -> str:
    launch = setup.launch
    if launch.engine == "llama.cpp" and total_context(launch) != launch.ctx:
        slots = total_context(launch) // launch.ctx
        return f"{format_tokens(launch.ctx)} tokens for each of {slots} slots, which share what stands here"
    return f"{format_tokens(launch.ctx)} tokens, as asked; left out, it would be the engine's own choice"


def _gpu_layers(setup: Setup) -> str:
    layers = setup.launch.n_gpu_layers
    if layers is None:
        return "every layer on the GPU"
    there = min(layers, setup.model.n_layers)
    return f"{there} of {setup.model.n_layers} layers on the GPU, the rest on the host"


def _experts(setup: Setup) -> str:
    return (
        f"the experts of {setup.launch.n_cpu_moe} layers in host RAM: only a few of them are read per token"
    )


def _flash_attention(setup: Setup) -> str:
    if not setup.launch.flash_attn:
        return "flash attention off, as asked"
    narrow = _bits(setup.launch.kv_type_v) < 16
    return "attention without a buffer of scores" + (", and a quantized V cache needs it" if narrow else "")


def _bits(kv_type: str) -> float:
    name = normalise_kv_type(kv_type)
    return KV_TYPES[name].bits if name else 16


def _cache(setup: Setup) -> str:
    return (
        f"{_bits(setup.launch.kv_type_k):g} bits a key and {_bits(setup.launch.kv_type_v):g} a value, of 16"
    )


def _users(setup: Setup) -> str:
    launch = setup.launch
    most = launch.max_num_seqs if launch.engine in {*PAGED, *EXLLAMA} else launch.parallel
    at_once = most or launch.concurrency
    if at_once == 1:
        return "one sequence at a time; left out, room is kept for more"
    users = f"{launch.concurrency} users" if launch.concurrency > 1 else "one user"
    return f"{at_once} sequences at a time, for {users}"


def _micro_batch(setup: Setup) -> str:
    larger = setup.launch.ubatch > _DEFAULT_UBATCH
    price = "faster, for larger buffers" if larger else "slower, for smaller buffers"
    return f"{setup.launch.ubatch} tokens of a prompt in one pass over the weights: {price}"


def _prefix_caching(setup: Setup) -> str:
    if setup.launch.prefix_caching is False:
        return "prompts that begin alike are each read whole, as asked"
    return "a prompt that begins like an earlier one starts behind what they share"


def _utilization(_setup: Setup) -> str:
    return "the share of the card that the server takes; its default changed between versions"


def _fixed(text: str) -> Callable[[Setup], str]:
    return lambda _setup: text


def _cache_size(setup: Setup) -> str:
    launch = setup.launch
    users = f"{launch.concurrency} users" if launch.concurrency > 1 else "one user"
    return f"the cache that all sequences share, in pages of 256 tokens, for {users}"


def _per_card(what: str) -> Callable[[Setup], str]:
    return lambda setup: f"{what} over {setup.launch.gpu_count} cards"


_DRAFTS = _fixed("the model's own draft head guesses tokens, which one step checks together")
_OFFLOADED: Final = _fixed("weights that stay in host RAM and are read over PCIe at every step")
_GRAPHS = _fixed("no CUDA graphs, as asked: less memory, more time per kernel")
_CHUNK = _fixed("the most tokens of prompts and answers in one step, as asked")
_REASONS: Mapping[str, Callable[[Setup], str]] = {
    # what is loaded
    "--hf-repo": _weights, "--model": _weights, "--model-path": _weights, "--model-name": _folder,
    "--model-dir": _fixed("the folder that the model's own folder lies in"),
    "--vision": _fixed("the vision tower that was counted, which is left out otherwise"),
    "--mmproj": _fixed("the vision projector that was counted"),
    "--no-mmproj": _fixed("text only: a projector beside the weights would be loaded, uncounted"),
    "--quantization": _fixed("quantized while loading, from the unquantized files"),
    # room
    "--ctx-size": _context, "--max-model-len": _context, "--context-length": _context,
    "--max-seq-len": _context, "--cache-size": _cache_size,
    "OLLAMA_CONTEXT_LENGTH": _context,
    "--parallel": _users, "--max-num-seqs": _users, "--max-running-requests": _users,
    "--decode-concurrency": _users, "--max-batch-size": _users, "OLLAMA_NUM_PARALLEL": _users,
    "--kv-unified": _fixed("the slots share one cache, whoever needs it"),
    "--no-kv-unified": _fixed("each slot has a cache of its own, as asked"),
    "--kv-unified-per-slot": _fixed("no slot takes more of the shared cache than one user's context"),
    "--gpu-memory-utilization": _utilization, "--mem-fraction-static": _utilization,
    "--max-num-batched-tokens": _CHUNK, "--chunked-prefill-size": _CHUNK,
    "--chunk-size": _CHUNK, "--prefill-step-size": _CHUNK,
    # the cache
    "--cache-type-k": _cache, "--cache-type-v": _cache, "--kv-cache-dtype": _cache, "--kv-bits": _cache,
    "--cache-mode": _cache,
    "OLLAMA_KV_CACHE_TYPE": _cache,
    "--swa-full": _fixed("the whole context kept for windowed layers too, as asked"),
    "--enable-prefix-caching": _prefix_caching, "--no-enable-prefix-caching": _prefix_caching,
    "--disable-radix-cache": _prefix_caching,
    # where things lie
    "--n-gpu-layers": _gpu_layers, "--gpu": _gpu_layers,
    "--n-cpu-moe": _experts, "--no-kv-offload": _fixed("the KV cache in host RAM, as asked"),
    "--split-mode": _per_card("whole layers"),
    "--tensor-split": _per_card("how layers are dealt"),
    "--tensor-parallel-size": _per_card("every layer split"), "--tp-size": _per_card("every layer split"),
    "--pipeline-parallel-size": _per_card("whole layers"), "--pp-size": _per_card("whole layers"),
    "--tensor-parallel": _per_card("every layer split"),
    "--gpu-split": _fixed("the most that each card takes, in GB"),
    "--cpu-moe-offload-layers": _experts, "--cpu-offload-gb": _OFFLOADED,
    # how it computes
    "--flash-attn": _flash_attention, "OLLAMA_FLASH_ATTENTION": _flash_attention,
    "--batch-size": _fixed("at least one micro-batch has to fit into a batch"), "--ubatch-size": _micro_batch,
    "--enforce-eager": _GRAPHS, "--disable-cuda-graph": _GRAPHS,
    "--speculative-config": _DRAFTS, "--spec-type": _DRAFTS,
    "--draft-mode": _DRAFTS, "--draft-num-tokens": _fixed("the most tokens guessed in a step, as asked"),
    "--spec-draft-n-max": _fixed("the most tokens guessed in a step"),
    "HSA_OVERRIDE_GFX_VERSION": _fixed("ROCm has kernels of this generation under gfx1030 only"),
    "--port": _fixed("where the server answers"),
}  # fmt: skip
