"""A start log as lines: whatever encoding, colours, carriage returns and length, in bounded memory.

It knows which engine's words a text holds and nothing of what they mean.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator

from knowledge.ingest import llamacpp_patterns, vllm_patterns
from knowledge.ingest.streams import Digesting

_BLOCK = 1 << 16
_LONGEST = 1 << 18
"""Characters of a line that are looked at; a longer one is taken in pieces."""
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_DATE = re.compile(r"\b(20\d\d-[01]\d-[0-3]\d)[T ]\d\d:\d\d")
_WORTH = (
    "buffer", "llama_kv_cache", "KV self size", " MiB free", "clip_model", "general.name", "print_info: ",
    "llm_load_print_meta", "llama_context", "llama_new_context", "llama_init", "build", "offloaded",
    "out of memory", "OutOf", "Insufficient", "failed", "breakdown", "evice", "Metal", "metal",
    "loading model", "load model", "meta data", "draft model", "creating", "ext context", "listening",
    "source=", "Attention was", "LLM", "non-default args", "Namespace(", "GiB", "KV cache size", "blocks: ",
    "cache blocks", "concurrency for", "stored in KV cache", "startup complete", "init engine", "Uvicorn",
    "GPU 0: ", "Engine core", "maximum model length", "model loaded", "weights took", "ulkan",
)  # fmt: skip
"""A line without any of these says nothing of a start: nearly all of a server's log, which is passed over."""
_WORTHY = re.compile("|".join(map(re.escape, _WORTH)))


def is_log(head: bytes) -> bool:
    """Whether the start of a file is a start log of llama.cpp or vLLM."""
    text = text_of(head)
    return bool(llamacpp_patterns.SIGNS.search(text) or vllm_patterns.SIGNS.search(text))


def text_of(head: bytes) -> str:
    """The start of a file as text, without colours."""
    return _COLOURS.sub("", head.decode(encoding_of(head), "replace"))


def is_binary(head: bytes) -> bool:
    """Whether the start of a file is no text at all."""
    return b"\0" in head and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def encoding_of(head: bytes) -> str:
    """How the text of a file is encoded, by its first bytes."""
    # `llama-server … > boot.log` in Windows PowerShell writes UTF-16
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def lines_of(stream: Digesting) -> Iterator[tuple[int, str]]:
    """Number and text of every line that may concern a start, without colours and line ends."""
    encoding = encoding_of(stream.head(b"\n"))
    buffered = io.BufferedReader(stream, buffer_size=_BLOCK)
    text = io.TextIOWrapper(buffered, encoding=encoding, errors="replace", newline="\n")
    number, rest = 1, ""
    while block := text.read(_BLOCK):
        whole, end, tail = (rest + block).rpartition("\n")
        if not end and len(tail) <= _LONGEST:
            rest = tail
            continue
        lines = whole if end else tail  # a line of any length is taken in pieces
        if any(word in lines for word in _WORTH):
            yield from _worthy(lines, number)
        number += lines.count("\n") + len(end)
        rest = tail if end else ""
    yield from _worthy(rest, number)


def _worthy(lines: str, number: int) -> Iterator[tuple[int, str]]:
    for line in lines.split("\n"):
        if _WORTHY.search(line):
            # a progress bar returns to the start of its line
            for part in line.split("\r"):
                if part:
                    yield number, _COLOURS.sub("", part)
        number += 1


def date_of(text: str) -> str | None:
    """The full date that a line is stamped with, or None; most stamps have no year."""
    found = _DATE.search(text[:60])
    return found[1] if found else None
