"""The shared options of `recommend`, `predict` and `check`: their spelling and one line of help each.

Every value reaches `advisor.asking` as it was typed, so that the command line and `import advisor` understand
the same things and answer mistakes in the same words.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import typer

Command = TypeVar("Command", bound=Callable[..., None])

_TEXT = {
    "model": ("--model", "-m", "NAME", "Model: a name, a Hugging Face id, repo:quant, or a path."),
    "quant": ("--quant", "-q", "FORMAT", "Quantization, such as Q4_K_M or FP8."),
    "gpu": ("--gpu", "-g", "NAME", "Device: 4090, 2x3090, 3090+3060, 'rtx 5060 ti 16gb', 'm4 max'."),
    "ctx": ("--ctx", "-c", "TOKENS", "Context per sequence: 200k = 200000, 200Ki = 204800. Default 32Ki."),
    "concurrency": ("--concurrency", "", "N", "Sequences decoding at once. Default 1."),
    "depth": ("--depth", "", "TOKENS", "Tokens in the cache when decoding starts. Default 0."),
    "prompt": ("--prompt", "", "TOKENS", "Tokens of the prompt to wait for. Default 2048."),
    "weights_gib": ("--weights-gib", "", "GIB", "Real size of the file, when known."),
    "gpu_count": ("--gpu-count", "", "N", "Number of such devices; also: --gpu 2x3090."),
    "vram": ("--vram", "", "GIB", "Memory per GPU, where it is not the usual one (a 48 GiB 4090)."),
    "vram_used": ("--vram-used", "", "GIB", "Memory per GPU that is already taken."),
    "ram": ("--ram", "", "GIB", "Host memory: allows to keep parts of the model there."),
    "ram_bandwidth": ("--ram-bandwidth", "", "GB/S", "Bandwidth of the host memory."),
    "engine": ("--engine", "-e", "NAME", "llama.cpp or vllm."),
    "engine_version": ("--engine-version", "", "VERSION", "Such as b9265 or 0.28.0. Default: the newest."),
    "backend": ("--backend", "", "NAME", "cuda, rocm, vulkan, metal, sycl or cpu."),
    "kv_type": ("--kv-type", "", "TYPE", "KV cache type for keys and values: f16, q8_0, q4_0, fp8 …"),
    "kv_type_k": ("--kv-type-k", "", "TYPE", "KV cache type for keys alone."),
    "kv_type_v": ("--kv-type-v", "", "TYPE", "KV cache type for values alone."),
    "flash_attn": ("--flash-attn", "", "on|off|auto", "llama.cpp: flash attention. Default on."),
    "parallel": ("--parallel", "", "N", "llama.cpp: slots of the server."),
    "kv_unified": ("--kv-unified", "", "on|off", "llama.cpp: one cache for all slots."),
    "ubatch": ("--ubatch", "", "N", "llama.cpp: micro-batch. Default 512."),
    "ngl": ("--ngl", "", "N", "llama.cpp: layers on the GPU. Default all."),
    "n_cpu_moe": ("--n-cpu-moe", "", "N", "llama.cpp: layers whose experts stay on the host."),
    "tensor_parallel": ("--tp", "", "N", "vLLM: devices that share every tensor. Default: all."),
    "gpu_memory_utilization": ("--gpu-memory-utilization", "", "SHARE", "vLLM: share of the GPU to use."),
    "max_num_seqs": ("--max-num-seqs", "", "N", "vLLM: most sequences at once."),
    "max_num_batched_tokens": ("--max-num-batched-tokens", "", "N", "vLLM: tokens per step."),
    "spec": ("--spec", "", "none|mtp", "Speculative decoding."),
    "goal": (
        "--goal", "", "GOAL", "Order by: balanced, quality, speed, context or throughput. Default balanced.",
    ),
    "min_tps": ("--min-tps", "", "TPS", "Least tokens per second at a full context. Default 5."),
    "max_oom": ("--max-oom", "", "SHARE", "Most risk of running out of memory. Default 0.05."),
    "top": ("--top", "", "N", "Rows of the table. Default 10."),
}  # fmt: skip
"""Name → spelling, short spelling, what to write, help; in the order of the help page."""

RANKING = ("goal", "min_tps", "max_oom", "top")
EXACT = tuple(name for name in _TEXT if name not in RANKING)
BESIDE_A_COMMAND = (
    "gpu", "gpu_count", "vram", "vram_used", "engine_version", "model", "quant", "weights_gib", "concurrency",
    "depth", "prompt", "ram", "ram_bandwidth", "backend", "ctx",
)  # fmt: skip
"""What `check` is told beside a command that says the rest."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Explain = Annotated[
    bool, typer.Option("--explain", help="Say why each flag is there, and the second choice.")
]


def texts(names: Iterable[str]) -> dict[str, str]:
    """What each of the named options means, in one line."""
    return {name: _TEXT[name][-1] for name in names}


def asking(names: Iterable[str]) -> Callable[[Command], Command]:
    """Give a command that takes `**options` the named options, each as text."""

    def decorate(command: Command) -> Command:
        own = [
            parameter
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        added = [_parameter(name) for name in names]
        headless = Annotated[bool, typer.Option("--headless", help="Nothing is displayed by this GPU.")]
        added.append(_keyword("headless", headless, default=False))
        command.__signature__ = inspect.Signature(sorted([*added, *own], key=_kind))  # type: ignore[attr-defined]
        return command

    return decorate


def _kind(parameter: inspect.Parameter) -> int:
    """Positional parameters come before those with a keyword."""
    return parameter.kind


def _parameter(name: str) -> inspect.Parameter:
    spelling, short, metavar, text = _TEXT[name]
    spellings = [spelling, *([short] if short else [])]
    return _keyword(
        name, Annotated[str | None, typer.Option(*spellings, metavar=metavar, help=text)], default=None
    )


def _keyword(name: str, annotation: Any, *, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
