"""TabbyAPI's arguments as settings of a launch: what `advisor.engines.exllamav3` prints, read back.

It owns what its flags mean. Names are left as they are written, config.yml is not read, and whether the
launch fits is judged elsewhere.
"""

from __future__ import annotations

import re

from advisor.engines.exllamav3 import BITS_OF, FULL_WIDTH
from advisor.engines.parsing.arguments import NUMBER, Arguments, Unknown
from advisor.engines.parsing.flag_table import table_of
from advisor.engines.parsing.grammars import read_argparse
from advisor.engines.parsing.programs import Launch
from advisor.engines.parsing.reading import Reading, words_of
from advisor.memory.exllama import PAGE
from knowledge.catalog import Catalog
from knowledge.errors import UsageError

_OLDER_MODES = {"q8": "8,8", "q6": "6,6", "q4": "4,4"}
"""What TabbyAPI makes of ExLlamaV2's names
(https://github.com/theroyallab/tabbyAPI/blob/004e837/backends/exllamav3/model.py)."""
_TYPE_OF = {bits: name for name, bits in BITS_OF.items()}
_NOT_COUNTED = ("--cpu-moe-split-experts", "--embedding-model-name", "--loras")
"""Flags that move memory and are not accounted for."""


def read(launch: Launch, version_text: str | None, catalog: Catalog) -> Reading:
    """The reading of `python main.py --model-name …`, or of the start script.

    Raises:
        UsageError: a flag without its value, or with one that TabbyAPI refuses.
    """
    found = read_argparse(words_of(launch), table_of("exllamav3", catalog), underscores=False)
    reading = Reading(launch, version_text, found, devices=launch.devices)
    found.unknown.extend(
        Unknown(word, "TabbyAPI takes no word without a flag") for _, word in found.positional
    )
    reading.model = found.text("--model-name")
    context = found.whole("--max-seq-len", least=-1)
    reading.context = context if context and context > 0 else None
    if found.last("--config"):  # its loader reads the file and returns before it looks at the flags
        file = found.text("--config")
        raise UsageError(
            f"TabbyAPI takes everything from {file}, and nothing from other flags",
            "write the file's values as flags, without --config",
        )
    for flag in _NOT_COUNTED:
        if found.text(flag) not in {None, "0"}:
            reading.remark("not-counted", f"{flag} is not accounted for")
    _cache(reading, found)
    _placement(reading, found)
    _speculation(reading, found)
    reading.set(
        max_num_seqs=found.whole("--max-batch-size", least=1),
        max_num_batched_tokens=found.whole("--chunk-size", least=1),
    )
    reading.loads_projector = found.switch("--vision") is True
    return reading


def _cache(reading: Reading, found: Arguments) -> None:
    size = found.whole("--cache-size", least=1)
    if size is not None and size % PAGE:
        above = (size // PAGE + 1) * PAGE
        raise UsageError(f"--cache-size {size} is no multiple of {PAGE}", f"write --cache-size {above}")
    reading.set(cache_tokens=size)
    text = (found.text("--cache-mode") or FULL_WIDTH).strip()
    if text.upper() == FULL_WIDTH:
        return
    match = re.fullmatch(r"([2-8])\s*,\s*([2-8])", _OLDER_MODES.get(text.lower(), text))
    if match is None:
        raise UsageError(
            f"--cache-mode {text!r} is unknown",
            f"use {FULL_WIDTH}, or bits of keys and values from 2,2 to 8,8",
        )
    reading.set(kv_type_k=_TYPE_OF[int(match[1])], kv_type_v=_TYPE_OF[int(match[2])])


def _placement(reading: Reading, found: Arguments) -> None:
    split = found.last("--gpu-split")
    if split is not None:
        if not all(NUMBER.match(part) and float(part) >= 0 for part in split.values):
            written = " ".join(split.values)
            raise UsageError(
                f"--gpu-split {written!r} is no list of GB", "write one number per card: --gpu-split 20 24"
            )
        parts = tuple(float(part) for part in split.values if float(part) > 0)
        reading.devices = len(parts) or reading.devices
        if len(parts) > 1:
            reading.set(tensor_split=parts)
    reading.set(n_cpu_moe=found.whole("--cpu-moe-offload-layers") or None)
    reading.splits_tensors = found.switch("--tensor-parallel") is True


def _speculation(reading: Reading, found: Arguments) -> None:
    mode = (found.text("--draft-mode") or "model").lower()
    length = found.whole("--draft-num-tokens", least=1)
    if mode == "mtp":
        reading.set(spec_decode="mtp" if length is None else f"mtp:{length}")
    elif mode == "model":
        reading.draft = found.text("--draft-model-name")
    elif mode == "ngram":
        reading.remark("draft", "n-gram drafting is not accounted for: neither its states nor its speed")
    elif mode != "disabled":
        raise UsageError(f"--draft-mode {mode!r} is unknown", "use model, mtp, ngram or disabled")
