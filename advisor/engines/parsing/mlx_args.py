"""mlx-lm's arguments as settings of a launch: what `advisor.engines.mlx` prints, read back.

It owns what the flags of its two programs mean. Names are left as they are written, how long requests are is
not on the command, and whether the launch fits is judged elsewhere.
"""

from __future__ import annotations

from advisor.engines.mlx import BITS_OF, FACTS
from advisor.engines.parsing.arguments import Arguments, Unknown, check_versions
from advisor.engines.parsing.flag_table import table_of
from advisor.engines.parsing.grammars import read_argparse
from advisor.engines.parsing.programs import Launch
from advisor.engines.parsing.reading import Reading, words_of
from advisor.engines.versions import parse
from knowledge.catalog import Catalog
from knowledge.errors import UsageError

GENERATE = "mlx_lm.generate"
"""The program that answers one prompt; the facts have its flags under this name."""
_PUBLISHED = "BF16"
_TYPE_OF = {bits: name for name, bits in BITS_OF.items()}
_DECODED_AT_ONCE = 32
"""`--decode-concurrency` where the command does not say."""
_QUANTIZED_FROM = 5000
"""`--quantized-kv-start` where the command does not say: tokens up to which a cache keeps its full width."""
_GROUP = 64
"""`--kv-group-size` where the command does not say: with it 8 bits take 8.5, as they are counted."""
_NOT_COUNTED = ("--adapter-path", "--prompt-cache-file", "--max-kv-size", "--image", "--pipeline")
"""Flags that move memory and are not accounted for."""


def read(launch: Launch, version_text: str | None, catalog: Catalog) -> Reading:
    """The reading of `mlx_lm.server`, or of `mlx_lm.generate`, as programs or as modules.

    Raises:
        UsageError: a flag without its value, or with one that mlx-lm refuses or that is not counted here.
    """
    generates = launch.program == GENERATE
    table = table_of(GENERATE if generates else FACTS, catalog)
    found = read_argparse(words_of(launch), table, underscores=False)
    if version_text is not None:
        check_versions(found, table, parse(FACTS, version_text, catalog), catalog)
    reading = Reading(launch, version_text, found, devices=launch.devices)
    found.unknown.extend(Unknown(word, "mlx-lm takes no word without a flag") for _, word in found.positional)
    reading.model = found.text("--model")
    if "mlx" not in (reading.model or "").lower():  # those that are converted are quantized, mostly
        reading.quant, reading.quant_is_default = _PUBLISHED, True
    reading.grows = True
    reading.draft = found.text("--draft-model")
    reading.set(max_num_batched_tokens=found.whole("--prefill-step-size", least=1))
    _cache(reading, found)
    _users(reading, found, generates=generates)
    for flag in _NOT_COUNTED:
        if found.last(flag):
            reading.remark("not-counted", f"{flag} is not accounted for")
    if not generates and found.whole("--prompt-cache-size") != 0:
        kept = found.whole("--prompt-cache-size") or 10
        reading.remark("not-counted", f"the caches of up to {kept} earlier prompts, which the server keeps")
    return reading


def _cache(reading: Reading, found: Arguments) -> None:
    bits = found.whole("--kv-bits", least=1)
    if bits is None:
        return
    if bits not in _TYPE_OF:
        raise UsageError(f"a cache of --kv-bits {bits} is not counted here", "use --kv-bits 8 or 4")
    if found.whole("--kv-group-size", least=1) not in {None, _GROUP}:
        raise UsageError("--kv-group-size other than 64 is not counted here", "leave it out")
    reading.set(kv_type_k=_TYPE_OF[bits], kv_type_v=_TYPE_OF[bits])
    start = found.whole("--quantized-kv-start")
    if start is not None and start > _QUANTIZED_FROM:
        said = f"up to {start} tokens the cache keeps its full width, which is not accounted for"
        reading.remark("not-counted", said)


def _users(reading: Reading, found: Arguments, *, generates: bool) -> None:
    stated = found.whole("--decode-concurrency", least=1)
    # `_is_batchable` of mlx_lm/server.py in 0.32.2
    alone = generates or reading.draft is not None or "kv_type_k" in reading.settings
    reading.most_at_once = 1 if alone else stated or _DECODED_AT_ONCE
    reading.concurrency = None if alone else stated
    if alone and (stated or 1) > 1:
        reading.remark("one-at-a-time", "a draft model or a quantized cache is served one request at a time")
