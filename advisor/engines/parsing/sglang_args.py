"""SGLang's arguments as settings of a launch: what `advisor.engines.sglang` prints, read back.

It owns what its flags mean. Names are left as they are written, and whether the launch fits is judged
elsewhere.
"""

from __future__ import annotations

from advisor.engines.parsing.arguments import Arguments, Unknown, check_versions
from advisor.engines.parsing.flag_table import table_of
from advisor.engines.parsing.grammars import read_argparse
from advisor.engines.parsing.programs import Launch
from advisor.engines.parsing.reading import Reading, words_of
from advisor.engines.parsing.vllm_args import QUANTIZATIONS
from advisor.engines.versions import parse
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.kv_types import normalise_kv_type

_FULL_WIDTH = frozenset({"auto", "bf16", "bfloat16", "fp16", "float16"})


def read(launch: Launch, version_text: str | None, catalog: Catalog) -> Reading:
    """The reading of a `python -m sglang.launch_server` or `sglang serve` command.

    Raises:
        UsageError: a flag without its value, or with one of the wrong type.
    """
    table = table_of("sglang", catalog)
    found = read_argparse(words_of(launch), table)
    if version_text is not None:
        check_versions(found, table, parse("sglang", version_text, catalog), catalog)
    reading = Reading(launch, version_text, found, devices=launch.devices)
    words = [word for _, word in found.positional]
    named = found.text("--model-path")
    reading.model = named or (words[0] if words and launch.program == "sglang serve" else None)
    taken = 0 if named or reading.model is None else 1
    found.unknown.extend(Unknown(word, "SGLang takes no word without a flag") for word in words[taken:])
    quantization = (found.text("--quantization") or "").lower()
    if quantization:
        reading.quant, reading.quant_is_default = QUANTIZATIONS.get(quantization), True
    reading.context = found.whole("--context-length", least=1)
    _settings(reading, found)
    return reading


def _settings(reading: Reading, found: Arguments) -> None:
    share = found.number("--mem-fraction-static", most=1.0)
    if share == 0:
        raise UsageError("--mem-fraction-static 0 leaves nothing", "write for example 0.88")
    tensor, stages = found.whole("--tp-size", least=1), found.whole("--pp-size", least=1)
    reading.settings["tensor_parallel"] = tensor or 1
    reading.devices = (tensor or 1) * (stages or 1)
    reading.set(
        gpu_memory_utilization=share,
        max_num_seqs=found.whole("--max-running-requests", least=1),
        max_num_batched_tokens=found.whole("--chunked-prefill-size", least=-1),
        cpu_offload_gib=found.number("--cpu-offload-gb") or None,
        enforce_eager=found.switch("--disable-cuda-graph") or None,
        prefix_caching=None if found.switch("--disable-radix-cache") is None else False,
    )
    if reading.settings.get("max_num_batched_tokens", 1) < 1:  # −1: prompts are not chunked
        del reading.settings["max_num_batched_tokens"]
    dtype = found.text("--kv-cache-dtype")
    if dtype is not None and dtype.lower() not in _FULL_WIDTH:
        name = normalise_kv_type(dtype)
        if name is None:
            raise UsageError(f"--kv-cache-dtype {dtype!r} is unknown", "use auto, fp8_e4m3 or fp8_e5m2")
        reading.set(kv_type_k=name, kv_type_v=name)
    if found.text("--speculative-algorithm"):
        reading.remark("draft", "speculation is not accounted for: neither its memory nor its speed")
    if (found.whole("--dp-size", least=1) or 1) > 1:
        reading.remark("data-parallel", f"the figures are of one of {found.whole('--dp-size')} replicas")
