"""`lms load`'s command line for a configuration.

It owns the spelling of LM Studio's flags and of its names for models. Memory and speed are not here; what
only the app's own settings can change (cache types, flash attention, batches) is refused.
"""

from __future__ import annotations

from advisor.config import Setup
from advisor.engines.command_line import CommandLine
from advisor.engines.rules import RuleOutcome
from advisor.engines.traits import is_gguf
from advisor.engines.versions import newest_without_calendar
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError
from knowledge.kv_types import normalise_kv_type
from knowledge.schema import Quant
from knowledge.weights import file_tag

VARIANT = "@"
"""Between a model's name and its format, where several are there
(https://github.com/lmstudio-ai/docs/blob/421dd43/3_cli/0_local-models/get.md)."""
_APPS_OWN = {"ubatch": 512, "batch": 2048, "swa_full": False, "kv_offload": True, "kv_unified": None}
"""Settings that `lms load` cannot change, as LM Studio has them."""


def render(setup: Setup, _rules: RuleOutcome, catalog: Catalog | None = None) -> tuple[str, dict[str, str]]:
    """The command that loads `setup` from the models that LM Studio has (`lms ls` gives their names).

    Raises:
        UnsupportedError: a format or setting that `lms load` does not have.
    """
    launch = setup.launch
    check_format(setup.quant)
    _refuse(setup)
    line = CommandLine(
        ["lms", "load", key_of(setup.model.name, setup.quant)],
        newest_without_calendar("lmstudio"),
        catalog=catalog,
    )
    line.require("--context-length", launch.ctx)
    line.require("--gpu", share_of(launch.n_gpu_layers, setup.model.n_layers))
    if launch.parallel is not None:
        line.require("--parallel", launch.parallel)
    return str(line), {}


def check_format(quant: Quant) -> None:
    """Refuse what is no GGUF file: LM Studio runs MLX's formats on a Mac with another engine.

    Raises:
        UnsupportedError: the format is another, or says its width only, as the names of MLX's do.
    """
    if not is_gguf(quant) or quant.family == "generic":
        raise UnsupportedError(
            f"LM Studio is counted with GGUF files only, not with {quant.name}",
            "use for example --quant Q4_K_M",
        )


def _refuse(setup: Setup) -> None:
    launch = setup.launch
    types = {normalise_kv_type(name) for name in (launch.kv_type_k, launch.kv_type_v)}
    if types != {"f16"} or not launch.flash_attn:
        raise UnsupportedError(
            "lms load has no flag for cache types or flash attention", "set them in the app, or use llama.cpp"
        )
    if launch.n_cpu_moe or launch.tensor_split:
        raise UnsupportedError("lms load places whole layers, by their share", "use llama.cpp")
    if launch.spec_decode != "none" or launch.draft_gib:
        raise UnsupportedError("lms load has no flag for speculation", "use llama.cpp")
    other = next((name for name, value in _APPS_OWN.items() if getattr(launch, name) != value), None)
    if other is not None:
        raise UnsupportedError(f"lms load has no flag for {other}", "set it in the app, or use llama.cpp")


def key_of(name: str, quant: Quant) -> str:
    """What LM Studio calls a model in one format: `qwen3.5-9b@q4_k_m`."""
    return f"{name}{VARIANT}{file_tag(quant)}".lower()


def share_of(layers: int | None, n_layers: int) -> str:
    """Layers on the GPU as the share of all that stands on the command."""
    if layers is None or layers >= n_layers:
        return "max"
    return f"{layers / n_layers:.4f}".rstrip("0") if layers else "off"
