"""`lms load`'s command line for a configuration.

It owns the spelling of LM Studio's flags. Memory and speed are not here; what only the app's own settings can
change (cache types, flash attention) is refused.
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


def render(setup: Setup, _rules: RuleOutcome, catalog: Catalog | None = None) -> tuple[str, dict[str, str]]:
    """The command that loads `setup` from the models that LM Studio has (`lms ls` gives their names).

    Raises:
        UnsupportedError: a format or setting that `lms load` does not have.
    """
    launch = setup.launch
    if not is_gguf(setup.quant):
        raise UnsupportedError(
            f"LM Studio does not read {setup.quant.name} here", "use for example --quant Q4_K_M"
        )
    types = {normalise_kv_type(name) for name in (launch.kv_type_k, launch.kv_type_v)}
    if types != {"f16"} or not launch.flash_attn:
        raise UnsupportedError(
            "lms load has no flag for cache types or flash attention", "set them in the app, or use llama.cpp"
        )
    if launch.n_gpu_layers is not None or launch.n_cpu_moe or launch.spec_decode != "none":
        raise UnsupportedError("lms load places layers by share and does not speculate", "use llama.cpp")
    line = CommandLine(
        ["lms", "load", setup.model.name.lower()], newest_without_calendar("lmstudio"), catalog=catalog
    )
    line.require("--context-length", launch.ctx)
    line.require("--gpu", "max")
    if launch.parallel is not None:
        line.require("--parallel", launch.parallel)
    return str(line), {}
