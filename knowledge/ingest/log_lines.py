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

_LONGEST = 1 << 16
"""Characters of a line that are looked at; a longer one is taken in pieces."""
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_DATE = re.compile(r"\b(20\d\d-[01]\d-[0-3]\d)[T ]\d\d:\d\d")
_WORTH = re.compile(
    r"buffer|MiB|GiB|GB|general\.name|print_info|llm_load_print_meta|llama_context|llama_new_context|llama_init"
    r"|build|offloaded|out of memory|OutOf|vLLM|engine|args|device|Device|Metal|metal|tokens|blocks|model"
    r"|listening|slots|startup|GPU|source=|Attention|breakdown|Insufficient|Initializing"
)
"""A line without any of these says nothing of a start: most of a server's log."""


def is_log(head: bytes) -> bool:
    """Whether the start of a file is a start log of llama.cpp or vLLM."""
    text = _COLOURS.sub("", head.decode(_encoding(head), "replace"))
    return bool(llamacpp_patterns.SIGNS.search(text) or vllm_patterns.SIGNS.search(text))


def is_binary(head: bytes) -> bool:
    """Whether the start of a file is no text at all."""
    return b"\0" in head and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def _encoding(head: bytes) -> str:
    # `llama-server … > boot.log` in Windows PowerShell writes UTF-16
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def lines_of(stream: Digesting) -> Iterator[tuple[int, str]]:
    """Number and text of every line that may concern a start, without colours and line ends."""
    encoding = _encoding(stream.head(b"\n"))
    buffered = io.BufferedReader(stream, buffer_size=1 << 16)
    text = io.TextIOWrapper(buffered, encoding=encoding, errors="replace", newline="\n")
    number, whole = 1, True
    while line := text.readline(_LONGEST):
        if _WORTH.search(line):
            # a progress bar returns to the start of its line
            for part in line.rstrip("\n").split("\r"):
                if part:
                    yield number, _COLOURS.sub("", part)
        whole = line.endswith("\n")
        number += whole


def date_of(text: str) -> str | None:
    """The full date that a line is stamped with, or None; most stamps have no year."""
    found = _DATE.search(text[:60])
    return found[1] if found else None
