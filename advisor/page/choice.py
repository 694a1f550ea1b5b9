"""What is asked: the widgets beside the answer, each bound to the address, as options of the contract.

It owns the widgets and their words; what their values mean is the service's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

from advisor import service
from advisor.page import links
from knowledge.errors import AdvisorError
from knowledge.units import format_tokens, parse_tokens

BEST = "best that fits"
"""Leaves the quantization to the ranking."""
OPEN = "automatic"
_CACHES = (OPEN, "f16", "q8_0", "q5_1", "q4_0", "fp8")
_ENGINES = (OPEN, "llama.cpp", "vllm", "sglang", "ollama", "lmstudio", "mlx")
_CONTEXTS = tuple(
    format_tokens(kibi * 1024) for kibi in (2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
)
_SLIDER = "context slider"
_TEXTS = (
    ("ram", "Host memory to use, GiB", "none", "Parts of a model that is too large may live there, slower."),
    ("ram_bandwidth", "Host memory, GB/s", "by platform", "What the host's memory reads."),
    ("vram_used", "GiB taken already", "by system", "By the desktop and other programs."),
    ("gpu_count", "Number of GPUs", "1", "Or write `2x3090` as the GPU."),
    ("depth", "Tokens in the cache now", "0", "Where decoding starts."),
    ("prompt", "Prompt, tokens", "2Ki", "What prefill and the time to the first token are for."),
    ("engine_version", "Engine version", "newest known", "`b6000`, `0.19.1`: flags and defaults follow it."),
    ("kv_type_v", "KV cache, V alone", "as K", "Where V has another type than K."),
    ("parallel", "Slots (llama.cpp)", "by users", "How many requests the server takes at once."),
    ("ubatch", "Micro-batch (llama.cpp)", "512", "Tokens of a prompt that are computed together."),
    ("ngl", "Layers on the GPU (llama.cpp)", "all", "The others stay on the host."),
    ("n_cpu_moe", "Layers' experts on the host", "0", "For mixtures of experts that are too large."),
    ("tensor_parallel", "Tensor parallel", "by GPUs", "vLLM and SGLang."),
    ("gpu_memory_utilization", "Memory utilization (vLLM)", "0.92", "Share of the card that vLLM takes."),
    ("max_num_seqs", "Sequences at most (vLLM)", "by users", "How many the scheduler runs at once."),
    ("max_num_batched_tokens", "Tokens per step (vLLM)", "by version", "The scheduler's budget."),
    ("weights_gib", "Size of the file, GiB", "computed", "Of the file that you have."),
)
_SELECTS = (
    ("spec", "Speculation", ("none", "mtp")),
    ("flash_attn", "Flash attention", (OPEN, "on", "off")),
    ("kv_unified", "Slots share the cache", (OPEN, "on", "off")),
    ("headless", "No display on the card", ("off", "on")),
    ("backend", "Backend", (OPEN, "cuda", "rocm", "vulkan", "metal", "sycl", "cpu")),
)
_SAYS_NOTHING = {("spec", "none"), ("headless", "off")}
"""Choices that say what is so anyway."""
DEFAULTS: Mapping[str, Any] = {
    "gpu": "RTX 4090", "vram": "", "model": "Qwen3.5-35B-A3B", "quant": BEST, "ctx": "32Ki", "concurrency": 1,
    "kv_type": OPEN, "engine": OPEN,
    **{name: "" for name, *_ in _TEXTS},
    **{name: choices[0] for name, _, choices in _SELECTS},
}  # fmt: skip


@st.cache_data(show_spinner=False)
def names(stamp: str) -> tuple[list[str], list[str], list[str]]:
    """The names to choose from: devices, models (newest first), formats; `stamp` is `service.stamp`."""
    del stamp  # it makes the cache forget
    return (
        [gpu.name for gpu in service.gpus().gpus],
        [model.name for model in service.models().models],
        [quant.name for quant in service.quants().quants],
    )


def asked(other_keys: Iterable[str]) -> dict[str, Any]:
    """What the widgets ask, under the option names of the contract; what is left open is left out.

    A link is held against what can be meant first; `other_keys` are those of other widgets.
    """
    with st.sidebar:
        values = _widgets()
    options = {name: value for name, value in values.items() if value not in (None, "", OPEN, BEST)}
    options = {name: value for name, value in options.items() if (name, value) not in _SAYS_NOTHING}
    links.check(options, DEFAULTS, set(other_keys))
    return options


def widgets_for(options: Mapping[str, Any]) -> dict[str, Any]:
    """What every widget shows when exactly `options` are asked for."""
    given = {name: value for name, value in options.items() if name in DEFAULTS}
    cache = options.get("kv_type_k")
    if cache is not None:
        given["kv_type"] = cache
    if given.get("kv_type_v") == given.get("kv_type"):
        given.pop("kv_type_v", None)
    for name in ("ctx", "depth", "prompt"):
        if name in given:
            given[name] = format_tokens(parse_tokens(str(given[name]), minimum=0))
    whole = {**DEFAULTS, **given}
    return {name: int(value) if name == "concurrency" else str(value) for name, value in whole.items()}


def _widgets() -> dict[str, Any]:
    gpus, models, quants = names(service.stamp())
    values: dict[str, Any] = {}
    device, memory = st.columns([3, 2], gap="small")
    values["gpu"] = device.selectbox(
        "GPU", gpus, gpus.index(DEFAULTS["gpu"]), key="gpu", bind="query-params", accept_new_options=True,
        help="Pick one, or write it as you would say it: `2x3090`, `5060 ti 16gb`, `m4 max`.",
    )  # fmt: skip
    values["vram"] = memory.text_input(
        "GiB each", key="vram", bind="query-params", placeholder="as sold",
        help="Only where it is not the usual one, such as a 4090 with 48.",
    )  # fmt: skip
    values["model"] = st.selectbox(
        "Model", models, models.index(DEFAULTS["model"]), key="model", bind="query-params",
        accept_new_options=True, help="A repository on Hugging Face or a file of yours works too.",
    )  # fmt: skip
    values["quant"] = st.selectbox(
        "Quantization", [BEST, *quants], key="quant", bind="query-params", accept_new_options=True
    )
    values["ctx"] = _context()
    users, cache = st.columns(2, gap="small")
    values["concurrency"] = users.number_input(
        "Users at once", 1, 1024, key="concurrency", bind="query-params"
    )
    values["kv_type"] = cache.selectbox("KV cache", _CACHES, key="kv_type", bind="query-params")
    values["engine"] = st.selectbox("Engine", _ENGINES, key="engine", bind="query-params")
    with st.expander("More choices"):
        for name, label, choices in _SELECTS:
            values[name] = st.selectbox(label, choices, key=name, bind="query-params")
        for name, label, placeholder, about in _TEXTS:
            values[name] = st.text_input(
                label, key=name, bind="query-params", placeholder=placeholder, help=about
            )
    return values


def _context() -> str:
    """The context as text, which takes any number, and as a slider over the usual ones."""
    typed, slid = st.columns([2, 3], gap="small")
    text = typed.text_input(
        "Context", DEFAULTS["ctx"], key="ctx", bind="query-params",
        help="Tokens for each user: `200k` = 200,000, `200Ki` = 204,800.",
    )  # fmt: skip
    st.session_state[_SLIDER] = _nearest(text or DEFAULTS["ctx"])
    slid.select_slider(
        "Context per user", _CONTEXTS, key=_SLIDER, on_change=_slide, label_visibility="hidden"
    )
    return text or ""


def _slide() -> None:
    st.session_state["ctx"] = st.session_state[_SLIDER]


def _nearest(text: str) -> str:
    """The slider's place that is nearest to a context; its start where the text is no number."""
    try:
        tokens = parse_tokens(text)
    except AdvisorError:
        return _CONTEXTS[0]
    return min(_CONTEXTS, key=lambda mark: abs(parse_tokens(mark) - tokens))
