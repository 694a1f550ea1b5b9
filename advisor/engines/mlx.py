"""`mlx_lm.server`'s command line for a configuration.

It owns the spelling of mlx-lm's flags. Memory and speed are not here; the server has no flag for the context,
which grows with the request: whoever reads a command back has to say how long.
"""

from __future__ import annotations

from advisor.config import Setup
from advisor.engines.command_line import CommandLine
from advisor.engines.rules import RuleOutcome
from advisor.engines.versions import newest_without_calendar, parse
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError
from knowledge.kv_types import normalise_kv_type
from knowledge.schema import Quant
from knowledge.weights import NATIVE_MXFP4

FACTS = "mlx-lm"
"""The facts know the engine by its package."""
BITS_OF = {"q8_0": 8, "q4_0": 4}
"""Bits of a cache that is not kept at full width."""
_FULL_WIDTH = frozenset({"f16", "bf16"})


def render(setup: Setup, _rules: RuleOutcome, catalog: Catalog | None = None) -> tuple[str, dict[str, str]]:
    """The command that serves `setup`; the folder or repository is of one's own where the facts name none.

    Raises:
        UnsupportedError: a format or setting that mlx-lm does not have.
    """
    launch = setup.launch
    check_format(setup.quant)
    _refuse(setup)
    text = launch.engine_version
    version = parse(FACTS, text, catalog) if text else newest_without_calendar(FACTS)
    line = CommandLine(["mlx_lm.server"], version, catalog=catalog)
    line.require("--model", folder_of(setup))
    bits = kv_bits(setup)
    if bits is not None:
        line.require("--kv-bits", bits)
    if launch.concurrency > 1:
        line.require("--decode-concurrency", launch.concurrency)
    if launch.max_num_batched_tokens is not None:
        line.require("--prefill-step-size", launch.max_num_batched_tokens)
    return str(line), {}


def check_format(quant: Quant) -> None:
    """Refuse a format that mlx-lm does not read.

    Raises:
        UnsupportedError: naming one that it does.
    """
    if "mlx" not in quant.engines or quant.family == "generic":
        raise UnsupportedError(f"MLX does not read {quant.name}", "use for example --quant MLX-4bit")


def _refuse(setup: Setup) -> None:
    launch = setup.launch
    if launch.n_gpu_layers is not None or launch.n_cpu_moe or launch.tensor_split or launch.gpu_count > 1:
        raise UnsupportedError(
            "MLX does not split layers between GPU and CPU, or over devices",
            "leave --ngl and --n-cpu-moe out",
        )
    if launch.spec_decode != "none" or launch.draft_gib:
        raise UnsupportedError("speculation by MLX is not supported", "use --spec none")
    if launch.max_num_seqs not in {None, launch.concurrency}:
        raise UnsupportedError(
            f"MLX is asked for as many sequences at once as there are users, not {launch.max_num_seqs}",
            f"use --concurrency {launch.max_num_seqs}",
        )


def folder_of(setup: Setup) -> str:
    """The files to serve: one's own, the publisher's where they are unquantized, else a converted folder."""
    launch = setup.launch
    own = launch.path or launch.repo
    if own is not None:
        return own
    published = setup.quant.name == "BF16" and setup.model.architecture not in NATIVE_MXFP4
    return setup.model.hf_id if published else f"./{setup.model.name}-{setup.quant.name}"


def renamed(name: str, quant_text: str | None, after: Setup) -> str:
    """The files' name with another format: as it is spelled there, else a converted folder."""
    if not quant_text or not name.lower().endswith(quant_text.lower()):
        return folder_of(after)
    quant = after.quant.name
    short = not quant_text.lower().startswith("mlx")
    return name[: -len(quant_text)] + (quant.removeprefix("MLX-") if short else quant)


def kv_bits(setup: Setup) -> int | None:
    """Bits of the cache; None for the model's own type.

    Raises:
        UnsupportedError: a type that mlx-lm lacks or cannot use here, or different ones for keys and values.
    """
    launch = setup.launch
    name = normalise_kv_type(launch.kv_type_k) or ""
    if name != normalise_kv_type(launch.kv_type_v) or name not in {*BITS_OF, *_FULL_WIDTH}:
        raise UnsupportedError(
            f"MLX has no KV cache of {launch.kv_type_k} and {launch.kv_type_v}",
            "use f16, q8_0 or q4_0 for both",
        )
    if name in BITS_OF and setup.model.layers_sliding:  # as rules R79b and R79c say
        raise UnsupportedError(
            f"mlx-lm cannot quantize the cache of windowed layers, which {setup.model.name} has", "use f16"
        )
    if name in BITS_OF and launch.concurrency > 1:
        raise UnsupportedError(
            "mlx-lm serves one request at a time with a quantized cache", "use f16, or --concurrency 1"
        )
    return BITS_OF.get(name)
