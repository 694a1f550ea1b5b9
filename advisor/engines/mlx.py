"""`mlx_lm.server`'s command line for a configuration.

It owns the spelling of mlx-lm's flags. Memory and speed are not here; the server has no flag for the context,
which grows with the request.
"""

from __future__ import annotations

from advisor.config import Setup
from advisor.engines.command_line import CommandLine
from advisor.engines.rules import RuleOutcome
from advisor.engines.versions import newest_without_calendar
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError
from knowledge.kv_types import normalise_kv_type

_FACTS = "mlx-lm"
"""The facts know the engine by its package."""
_KV_BITS = {"f16": None, "bf16": None, "q8_0": 8, "q4_0": 4}


def render(setup: Setup, _rules: RuleOutcome, catalog: Catalog | None = None) -> tuple[str, dict[str, str]]:
    """The command that serves `setup`; the folder or repository is of one's own where the facts name none.

    Raises:
        UnsupportedError: a format or setting that mlx-lm does not have.
    """
    launch, quant = setup.launch, setup.quant
    if "mlx" not in quant.engines or quant.family == "generic":
        raise UnsupportedError(f"MLX does not read {quant.name}", "use for example --quant MLX-4bit")
    if launch.n_gpu_layers is not None or launch.n_cpu_moe:
        raise UnsupportedError(
            "MLX does not split layers between GPU and CPU", "leave --ngl and --n-cpu-moe out"
        )
    if launch.spec_decode != "none":
        raise UnsupportedError("speculation by MLX is not supported", "use --spec none")
    line = CommandLine(["mlx_lm.server"], newest_without_calendar(_FACTS), catalog=catalog)
    own = launch.path or launch.repo
    whole = setup.model.hf_id if quant.family == "float" else f"./{setup.model.name}-{quant.name}"
    line.require("--model", own or whole)
    bits = kv_bits(setup)
    if bits is not None:
        line.require("--kv-bits", bits)
    if launch.concurrency > 1:
        line.require("--decode-concurrency", launch.concurrency)
    return str(line), {}


def kv_bits(setup: Setup) -> int | None:
    """Bits of the cache; None for the model's own type.

    Raises:
        UnsupportedError: a type that mlx-lm lacks, or different ones for keys and values.
    """
    launch = setup.launch
    name = normalise_kv_type(launch.kv_type_k) or ""
    if name not in _KV_BITS or name != normalise_kv_type(launch.kv_type_v):
        raise UnsupportedError(
            f"MLX has no KV cache of {launch.kv_type_k} and {launch.kv_type_v}",
            "use f16, q8_0 or q4_0 for both",
        )
    return _KV_BITS[name]
