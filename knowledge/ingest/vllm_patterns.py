"""How vLLM words what it tells at a start, from 0.5 to 0.2x.

It owns the regular expressions; what a match means is `vllm_log`'s business.
"""

from __future__ import annotations

import re

SIGNS = re.compile(
    r"vLLM API server version|Initializing an? (?:V\d )?LLM engine \(v|non-default args: \{"
    r"|vllm\.entrypoints|GPU KV cache size: [\d,]+ tokens|Model loading took [\d.]+ Gi?B"
    r"|Available KV cache memory: -?[\d.]+ GiB"
)
"""What no other program's log has."""

_GIB = r"(-?\d+(?:\.\d+)?) ?Gi?B"
ARGUMENT = re.compile(
    r"\b'?(model|model_tag|max_seq_len|max_model_len|tensor_parallel_size|pipeline_parallel_size|quantization"
    r"|kv_cache_dtype|gpu_memory_utilization|max_num_seqs|max_num_batched_tokens|enforce_eager|dtype"
    r"|enable_prefix_caching|speculative_config)'?[=:] ?"
    r"(?:'([^']*)'|\"([^\"]*)\"|(\{[^}]*\}?|\w+\([^)]*\)?|[^\s,)}]+))"
)
_OLD_PARTS = (
    r"model weights take ([\d.]+)GiB; non_torch_memory takes ([\d.]+)GiB; PyTorch activation peak memory "
    r"takes ([\d.]+)GiB; the rest of the memory reserved for KV Cache is (-?[\d.]+)GiB"
)
_OLD_RESULTS = (
    r"total_gpu_memory=([\d.]+)GiB .*non_torch_memory=([\d.]+)GiB kv_cache_size=(-?[\d.]+)GiB "
    r"gpu_memory_utilization=([\d.]+)"
)
_ACTUAL = (
    r"Actual usage is ([\d.]+) GiB for weight, ([\d.]+) GiB for peak activation, ([\d.]+) GiB for non-torch "
    r"memory, and ([\d.]+) GiB for CUDAGraph memory"
)
_OOM = (
    r"(?:torch\.(?:cuda\.)?OutOfMemoryError|(?:CUDA|HIP) out of memory|No available memory for the cache "
    r"blocks|is larger than the maximum number of tokens that can be stored in KV cache).*"
)
PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("server", r"vLLM API server version v?(\S+)"),
        ("engine", r"Initializing an? (?:V\d )?LLM engine \(v([^)\s]+)\) with config: (.*)"),
        ("arguments", r"non-default args: (.*)|\bargs: Namespace\((.*)"),
        ("device_name", r"device_name=([A-Za-z0-9_-]+?)(?:\.json|,|\b)"),
        ("listed", r"\bGPU \d+: ([A-Z][\w ()-]+?)(?: \(UUID.*)?$"),
        ("old_profile", r"total_gpu_memory \(([\d.]+)GiB\) x gpu_memory_utilization \(([\d.]+)\)"),
        ("old_parts", _OLD_PARTS),
        ("old_results", _OLD_RESULTS),
        ("actual", _ACTUAL),
        ("free", r"Free memory on device (?:\S+ )?\(([\d.]+)/([\d.]+) GiB\) on startup(.*)"),
        ("weights", r"(?:Model loading took|Loading model weights took) " + _GIB),
        ("available", r"Available KV cache memory: " + _GIB),
        ("tokens", r"GPU KV cache size: ([\d,]+) tokens"),
        ("blocks", r"# (?:GPU|cuda) blocks: (\d+)"),
        ("concurrency", r"Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x"),
        ("graphs", r"Graph capturing finished in .*?took " + _GIB),
        ("attention", r"larger than the available KV cache memory \((-?[\d.]+) ?GiB\)"),
        ("longest", r"estimated maximum model length is (\d+)"),
        ("oom", _OOM),
        ("ready", r"Application startup complete|init engine \(profile|Uvicorn running on|Starting vLLM API"),
        ("error", r"Engine core initialization failed|EngineCore failed to start|Engine process failed"),
    )
)
CAPACITY = re.compile(r"GPU \d+ has a total capacity of ([\d.]+) GiB")
ASKED = re.compile(r"Tried to allocate ([\d.]+) (GiB|MiB)")
"""In an out-of-memory message: the device's size, and what it would not give."""
