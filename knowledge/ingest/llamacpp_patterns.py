"""How llama.cpp words what it tells at a start, in the spellings of 2023 to 2026.

It owns the regular expressions and the names of devices and buffers; what a match means is
`llamacpp_log`'s business.
"""

from __future__ import annotations

import re

SIGNS = re.compile(
    r"llama_model_loader: |llm_load_print_meta: |llm_load_tensors: |load_tensors: |llama_context: "
    r"|llama_new_context_with_model: |llama_kv_cache\w*: |print_info: |ggml_cuda_init: |ggml_vulkan: "
    r"|llama_model_load_from_file_impl: |\bbuild: \d+ \([0-9a-f]+\) with |main: build = \d+ "
)
"""What no other program's log has."""

_MIB = r"(\d+(?:\.\d+)?) MiB"
_CONTEXT = r"(?:llama_context|llama_new_context_with_model|llama_init_from_model): +"
_OUT_OF_MEMORY = (
    r"(?i)(?:ErrorOutOfDeviceMemory|(?:cuda|rocm|hip|sycl) error:? out of memory"
    r"|CommandBufferCallbackErrorOutOfMemory|Insufficient Memory|UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"
)

_DRAFT = (
    r"(?i)load(?:ing)? (?:the )?draft model|draft model is|creating (?:the )?(?:mtp|draft)\b.*context"
    r"|(?:mtp|draft) context"
)
_CACHE = (
    r"size += *(?P<mib>\d+(?:\.\d+)?) MiB(?: \([^)]*?(?:(?P<slots>\d+)/ *(?P<streams>\d+) seqs)?\))?,"
    r" K \((?P<k>\w+)\): [^,]*, V \((?P<v>\w+)\)"
)

PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("build", r"(?:build: |main: build = )(\d+) \([0-9a-f]{6,}"),
        ("build", r"\bbuild_info: b(\d+)-[0-9a-f]{6,}"),
        ("ik", _CONTEXT + r"(?:fused_moe|mla_attn|attn_max_b|graph_reuse) +="),
        ("ollama", r"source=\w+\.go:\d+.*"),
        ("projector", r"clip_model_loader: model size: +" + _MIB),
        (
            "projector",
            r"(?:clip\w*|alloc_compute_meta|load_hparams): +(?:CLIP using|\S+ +compute buffer size)()",
        ),
        ("drafting", _DRAFT),
        ("loading", r"llama_model_loader: loaded meta data with .*? from (?P<path>.+?)(?: \(version .*)?$"),
        ("loading", r"loading model '(?P<path>[^']+)'"),
        ("name", r"general\.name\s+(?:str\s+)?= (.+)$"),
        ("meta", r"(?:print_info: |llm_load_print_meta: )((?:file|model) (?:f?type|size|params))\s+= (.+)$"),
        ("using", r"using device (\S+) \((.*)\) - (\d+) MiB free"),
        ("listed", r"\bDevice (\d+): (.+?), (?:compute capability |gfx)[^,]*"),
        ("vulkan", r"(?:ggml_vulkan: |Vulkan)(\d+)(?: =|:) (.+?) \| "),
        (
            "metal",
            r"ggml_metal\w*: (?:GPU name|picking default device|found device): +(?:MTL\d+ \()?([^()]+)",
        ),
        ("available", r"\b([A-Za-z]+\d+) ?: (.+) \((\d+) MiB, (\d+) MiB free\)"),
        ("old_buffer", r"llm_load_tensors: +(\S+) +buffer size += +" + _MIB),
        ("buffer", r"(\S+) +(model|KV|RS|compute|output) +buffer size += +" + _MIB),
        ("kv", _CACHE),
        (
            "context",
            _CONTEXT + r"(n_ctx|n_seq_max|n_batch|n_ubatch|flash_attn|kv_unified|n_rs_seq) += (\S+)",
        ),
        ("constructing", r"llama_context: constructing llama_context"),
        ("auto_attention", r"Flash Attention was auto, set to (enabled|disabled)"),
        ("offloaded", r"offloaded (\d+)/(\d+) layers to GPU"),
        ("moved", r"tensor (blk\.\d+)\.\S*?(_exps)?\.\w+ .*buffer type overrid"),
        (
            "breakdown",
            r"\|\s+- (\w+) \((.*)\)\s*\|\s*(\d+) = +(\d+) \+ \( *(\d+) = +\d+ \+ +\d+ \+ +\d+\) \+ +-?\d+ \|",
        ),
        ("oom", r"allocating (\d+\.\d+) MiB on device \d+: \w+ failed: out of memory"),
        ("oom", r"failed to allocate (?!CPU)\w+ buffer of size (\d+)"),
        ("oom", r"unable to allocate (?!CPU)\w+ buffer"),
        ("oom", r"Device memory allocation of size (\d+) failed"),
        ("oom", _OUT_OF_MEMORY),
        ("oom", r"failed to allocate (?:compute|buffer for kv|memory for kv)"),
        ("error", r"error loading model: .+|failed to load model\b.*|unable to load model.*"),
        ("ready", r"server is listening on|main: model loaded"),
    )
)
"""Whom a line concerns (`LlamaCppLog._<name>`), in the order of trying: the first that matches has it."""

_HOST = re.compile(r"^(?:CPU|BLAS|AMX|ACCEL|HBM)|_Host|host", re.IGNORECASE)
_BACKENDS = {"CUDA": "cuda", "ROCM": "rocm", "VULKAN": "vulkan", "METAL": "metal", "MTL": "metal",
             "SYCL": "sycl", "MUSA": "musa", "CANN": "cann"}  # fmt: skip


def is_host(device: str) -> bool:
    """Whether a buffer type of the log lies in host memory."""
    return _HOST.search(device) is not None


def backend_of(device: str) -> str:
    """The compute back end that a device's short name (`CUDA0`) belongs to; empty where it is none known."""
    letters = re.match(r"[A-Za-z]+", device)
    return _BACKENDS.get(letters[0].upper(), "") if letters else ""
