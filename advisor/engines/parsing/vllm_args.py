"""vLLM's arguments as settings of a launch: what `advisor.engines.vllm` prints, read back.

It owns what its flags mean in which version. Names are left as they are written, and whether the launch fits
is judged elsewhere.
"""

from __future__ import annotations

import json
import re
from typing import Any

from advisor.engines.parsing.arguments import Arguments, Unknown, check_versions
from advisor.engines.parsing.flag_table import table_of
from advisor.engines.parsing.grammars import read_argparse
from advisor.engines.parsing.programs import Launch
from advisor.engines.parsing.reading import Reading, words_of
from advisor.engines.versions import known_version, parse
from advisor.engines.vllm import DRAFT_TOKENS
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.kv_types import normalise_kv_type

QUANTIZATIONS = {
    "fp8": "FP8", "fbgemm_fp8": "FP8", "modelopt": "FP8", "awq": "AWQ-INT4", "awq_marlin": "AWQ-INT4",
    "gptq": "GPTQ-INT4", "gptq_marlin": "GPTQ-INT4", "modelopt_fp4": "NVFP4", "nvfp4": "NVFP4",
    "mxfp4": "MXFP4", "bitsandbytes": "bnb-nf4", "auto-round": "AutoRound-INT4",
    "auto_round": "AutoRound-INT4", "w8a8_int8": "W8A8-INT8", "experts_int8": "W8A16",
}  # fmt: skip
"""`--quantization` as a format, where the model's name states none. `compressed-tensors` does not tell."""
_MULTIPLIERS = {unit: 1000**n for n, unit in enumerate("kmgt", 1)} | {
    unit: 1024**n for n, unit in enumerate("KMGT", 1)
}
_TOKENS = re.compile(r"^(\d+(?:\.\d+)?)([kKmMgGtT]?)$")
_TEXT_ONLY_SINCE = "0.17.0"
"""From here on a launch can leave the vision encoder out, so that one without the flag has it (rule R74)."""
_MTP = re.compile(r"(?:^|_)mtp$")


def read(launch: Launch, version_text: str | None, catalog: Catalog) -> Reading:
    """The reading of a `vllm serve` command, or of the API server's module.

    Raises:
        UsageError: a flag without its value, or with one of the wrong type.
    """
    version = known_version("vllm", version_text, catalog)
    table = table_of("vllm", catalog)
    found = read_argparse(words_of(launch), table)
    check_versions(found, table, version, catalog)
    reading = Reading(launch, version_text, found, devices=launch.devices)
    named = found.text("--model")
    words = [word for _, word in found.positional]
    reading.model = named or (words[0] if words else None)
    found.unknown.extend(
        Unknown(word, "vLLM takes one word without a flag, the model") for word in words[0 if named else 1 :]
    )
    quantization = (found.text("--quantization") or "").lower()
    if quantization and quantization not in {"none", "auto"}:
        reading.quant = QUANTIZATIONS.get(quantization)
        reading.quant_is_default = True
    _context(reading, found)
    _limits(reading, found)
    _cache(reading, found)
    _placement(reading, found)
    _speculation(reading, found)
    text_only = found.switch("--language-model-only") or found.switch("--mm-encoder-only")
    reading.loads_projector = not text_only and version.is_in(parse("vllm", _TEXT_ONLY_SINCE, catalog), None)
    if found.last("--config"):
        reading.remark("not-read", f"--config {found.text('--config')} is not read: what it sets is left out")
    return reading


def tokens(found: Arguments, name: str, least: int = 1) -> int | None:
    """The option's value as tokens, with vLLM's suffixes: `32k` is 32,000 and `32K` is 32,768.

    Raises:
        UsageError: it is none.
    """
    option = found.last(name)
    if option is None:
        return None
    text = option.values[0].strip()
    match = _TOKENS.match(text)
    number = float(match[1]) * _MULTIPLIERS.get(match[2], 1) if match else 0.0
    if not match or number != int(number) or number < least:
        hint = "write the variable's value" if "$" in text else f"write for example {option.spelled} 32768"
        raise UsageError(f"{option.spelled} {text!r} is not a whole number from {least}", hint)
    return int(number)


def _context(reading: Reading, found: Arguments) -> None:
    text = (found.text("--max-model-len") or "").lower()
    if text in {"auto", "-1"}:
        reading.longest_that_fits = True
    else:
        reading.context = tokens(found, "--max-model-len")


def _limits(reading: Reading, found: Arguments) -> None:
    share = found.number("--gpu-memory-utilization", most=1.0)
    if share == 0:
        raise UsageError("--gpu-memory-utilization 0 leaves nothing", "write for example 0.92")
    reading.set(
        gpu_memory_utilization=share,
        max_num_seqs=tokens(found, "--max-num-seqs"),
        max_num_batched_tokens=tokens(found, "--max-num-batched-tokens"),
        cpu_offload_gib=found.number("--cpu-offload-gb"),
        prefix_caching=found.switch("--enable-prefix-caching"),
    )
    level = found.text("--optimization-level") or ""
    compilation = found.text("--compilation-config") or ""
    eager = found.switch("--enforce-eager") or level == "0" or compilation == "0"
    if eager:
        reading.set(enforce_eager=True)
    for flag in (
        "--kv-cache-memory-bytes",
        "--num-gpu-blocks-override",
        "--swap-space",
        "--kv-offloading-size",
    ):
        if found.last(flag):
            reading.remark("not-counted", f"{flag} is not accounted for")


def _cache(reading: Reading, found: Arguments) -> None:
    text = found.text("--kv-cache-dtype")
    if text is None or text.lower() in {"auto", "float16", "half", "fp16", "f16", "bfloat16", "bf16"}:
        return
    name = normalise_kv_type(text)
    if name is None:
        raise UsageError(f"--kv-cache-dtype {text!r} is unknown", "use auto, fp8 or another of vLLM's types")
    reading.set(kv_type_k=name, kv_type_v=name)


def _placement(reading: Reading, found: Arguments) -> None:
    tensor = found.whole("--tensor-parallel-size", least=1)
    stages = found.whole("--pipeline-parallel-size", least=1)
    replicas = found.whole("--data-parallel-size", least=1)
    reading.settings["tensor_parallel"] = tensor or 1
    reading.devices = (tensor or 1) * (stages or 1)
    if (replicas or 1) > 1:
        reading.remark("data-parallel", f"the figures are of one of {replicas} replicas")


def _speculation(reading: Reading, found: Arguments) -> None:
    text = found.text("--speculative-config")
    config = _json(text, "--speculative-config") if text else {}
    method = str(config.get("method") or found.text("--spec-method") or "").lower()
    drafts = config.get("num_speculative_tokens") or found.whole("--spec-tokens") or DRAFT_TOKENS
    if _MTP.search(method):
        reading.settings["spec_decode"] = "mtp" if drafts == DRAFT_TOKENS else f"mtp:{drafts}"
        return
    draft = config.get("model") or found.text("--spec-model")
    if draft is not None:
        reading.draft = str(draft)
    elif method and not method.startswith(("ngram", "suffix")):
        reading.remark("draft", f"speculation by {method} is not accounted for")


def _json(text: str, flag: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{flag} is no JSON: {error.msg} in {text[:40]!r}", "quote it with '…'") from error
    if not isinstance(value, dict):
        raise UsageError(f"{flag} {text[:40]!r} is no JSON object", "write {…}")
    return value
