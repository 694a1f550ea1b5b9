"""The tokens of a model's name: words, generations (`3.5`), sizes (`35b`, `a3b`, `8x7b`), contexts, dates.

What says only how a model was tuned, packed or published is noise and goes. Purely lexical: it knows no
model of the catalog.
"""

from __future__ import annotations

import re

from knowledge.names.quant import split_quant

_LONGEST_NAME = 200
"""Characters; what follows cannot matter, and a text of any length is answered at once."""

_TOKEN = re.compile(
    r"\d+x\d+(?:\.\d+)?b(?![a-z])"  # experts × size: 8x7b
    r"|[ae]?\d+(?:\.\d+)?[bm](?=[^a-z0-9]|$|a\d)"  # sizes: 35b, a3b, e4b, 270m
    r"|\d+k(?![a-z0-9])"  # contexts: 128k
    r"|\d+(?:\.\d+)*|[a-z]+",
    re.ASCII,
)
_SIZE = re.compile(r"^(?:\d+x)?[ae]?(\d+(?:\.\d+)?)([bm])$", re.ASCII)
# A point in `llama-3_1`, a separator in `gemma_3_4b` and `olmo_2_1124`.
_UNDERSCORE_POINT = re.compile(r"(?<=\d)_(?=\d(?!\d|\.?\d*[bm]))", re.ASCII)
_PACKAGING = re.compile(
    r"[\s_.:-]+(?:gguf|mlx|latest|exl[23]|safetensors|hf|imat|imatrix|i1|ud|\d{5}-of-\d{5}):?$", re.IGNORECASE
)
_NOISE = frozenset({
    "instruct", "instruction", "it", "chat", "base", "pt", "hf", "gguf", "mlx", "awq", "gptq", "qat",
    "inst", "nvidia", "meta", "preview", "imat", "ud", "quantized",
})  # fmt: skip
"""Words that say how a model was tuned, packed or published, not which one it is."""


def clean_name(text: str) -> tuple[str, str]:
    """`text` without owner, packaging and quantization, and the quantization as written (`""` if none).

    >>> clean_name("unsloth/Qwen3.5-35B-A3B-GGUF:UD-Q4_K_XL")
    ('Qwen3.5-35B-A3B', 'UD-Q4_K_XL')
    """
    name = text.strip().replace("\\", "/").rstrip("/").rsplit("/", 1)[-1][:_LONGEST_NAME]
    quant = ""
    while True:
        packed = _PACKAGING.sub("", name)
        rest, found = split_quant(packed)
        if not rest or rest == name:
            return (rest or name), quant
        name, quant = rest, quant or found


def name_tokens(text: str) -> tuple[str, ...]:
    """Words, numbers and sizes of a name without noise: `Llama-3.1-8B-Instruct` → (`llama`, `3.1`, `8b`)."""
    plain = _UNDERSCORE_POINT.sub(".", text.casefold())
    trimmed = (re.sub(r"^([ae]?\d+)\.0(?=[bm]?$)", r"\1", token) for token in _TOKEN.findall(plain))
    return tuple(token for token in trimmed if token not in _NOISE)


def billions(token: str) -> float | None:
    """Parameters in billions that a size token states; None for other tokens and contexts (`1m` tokens)."""
    match = _SIZE.match(token)
    if not match:
        return None
    number = float(match.group(1))
    if match.group(2) == "m":
        return number / 1000 if number >= 10 else None
    return number


def is_number(token: str) -> bool:
    """Whether the token is a bare number: a generation, a version or a date."""
    return token[0].isdigit() and token[-1].isdigit() and "x" not in token


def is_date(token: str) -> bool:
    """Whether the token is a release date (`2507`, `20250114`) rather than a version."""
    return token.isdigit() and len(token) >= 4
