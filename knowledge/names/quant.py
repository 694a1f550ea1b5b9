"""Free text to one quantization format, and the format at the end of a file or repository name.

`split_quant` is purely lexical; `resolve_quant` and `match_quant` ask the catalog. It knows nothing of
models, and KV cache types are not formats (`knowledge.kv_types`).
"""

from __future__ import annotations

import re
from functools import lru_cache

from knowledge.catalog import Catalog
from knowledge.errors import AmbiguousNameError, UnknownNameError
from knowledge.names.match import nearest
from knowledge.schema import Quant

COMMAND = "advisor models --quants"

_GGUF = (
    r"(?:(?:ud|i1|smol|big|pure)[-_ ]?)?(?:iq|tq|mq|q)\d"
    r"(?:[-_ ]?(?:kss|ks|kt|kl|k|nl|bn|xxs|xs|xl|x|s|m|l|p|0|1|r4|r8)(?![a-z0-9]|\.\d))*"
    r"(?:[-_ ]medium|[-_ ](?:moe|qat|awq))?"
)
_FLOAT = r"(?:bf16|fp16|f16|float16|fp32|f32)"
_FP8 = r"(?:fp8(?:[-_ ](?:dynamic|static|block(?:128)?|e4m3|e4m3fn))?)"
_FP4 = r"(?:nvfp4|mxfp4(?:[-_ ]moe)?|fp4)"
_INT = (
    r"(?:(?:awq|gptq|autoround|auto-round|hqq|bnb|nf4|marlin|int[48]|sym_int4|w[48]a(?:16|8|4))"
    r"(?:[-_ ]?(?:awq|gptq|autoround|nf4|int[48]|[48]-?bit|w[48]a(?:16|8)|g(?:32|64|128)|marlin|mixed))*)"
)
_BITS = r"(?:(?:mlx[-_ ]?)?[2-8][-_ ]?bit(?:[-_ ](?:g(?:32|64|128)|dwq|dq|ternary))?)"
_EXL = r"(?:(?:exl[23][-_ ]?)?\d\.\d{1,2}[-_ ]?bpw|exl[23](?:[-_ ]\d(?:\.\d{1,2})?(?:[-_ ]?bpw)?)?)"
_APEX = r"(?:apex(?:[-_ ]mtp)?(?:[-_ ]i)?[-_ ](?:quality|balanced|compact|mini|nano))"
_SIZED = rf"(?:{_GGUF}(?:[-_ ]\d\.\d{{1,2}}[-_ ]?bpw)?)"

_TRAILING = re.compile(
    rf"^(?P<rest>.*?)(?P<sep>[\s_.:@/-]|^)(?P<quant>{_APEX}|{_EXL}|{_BITS}|{_INT}|{_FP8}|{_FP4}|{_FLOAT}|{_SIZED})$",
    re.IGNORECASE | re.DOTALL,
)
_LONGEST = 60
"""No format's name is longer; what stands before is not searched."""
_SHARD = re.compile(r"(?:-\d{5}-of-\d{5})?\.gguf$", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\s_\-()/+,]+")
_BPW = re.compile(r"^(?P<name>.*?)(?P<bpw>\d(?:\.\d{1,2})?)bpw$")
_BARE_GGUF = re.compile(r"^i?q\d$")
_AVERAGED = ("exl2", "exl3")
"""Families named by the average bits of their layers."""


def split_quant(text: str) -> tuple[str, str]:
    """`text` without its trailing format, and that format as written (`""` when there is none).

    >>> split_quant("Qwen3.6-27B-Q4_K_M.gguf")
    ('Qwen3.6-27B', 'Q4_K_M')
    >>> split_quant("unsloth/Qwen3.5-35B-A3B-GGUF:UD-Q4_K_XL")
    ('unsloth/Qwen3.5-35B-A3B-GGUF', 'UD-Q4_K_XL')
    """
    stem = _SHARD.sub("", text.strip())
    head, tail = stem[:-_LONGEST], stem[-_LONGEST:]
    match = _TRAILING.match(tail)
    if match is None or (head and match.start("quant") == 0):
        return stem, ""
    return (head + match["rest"]).rstrip(" _-:@/"), match["quant"]


def quant_key(text: str) -> str:
    """The form in which spellings are compared: lower case, without separators."""
    return _SEPARATORS.sub("", text.strip().lower())


@lru_cache(maxsize=4)
def _index(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """Names of the entries that each key stands for; more than one makes the key ambiguous."""
    index: dict[str, tuple[str, ...]] = {}
    for quant in catalog.quants.values():
        for spelling in (quant.name, *quant.aliases):
            key = quant_key(spelling)
            if quant.name not in index.get(key, ()):
                index[key] = (*index.get(key, ()), quant.name)
    return index


def _find(text: str, catalog: Catalog) -> tuple[Quant, ...]:
    key = quant_key(text)
    index = _index(catalog)
    if key in index:
        return tuple(catalog.quants[name] for name in index[key])
    if _BARE_GGUF.match(key):
        return tuple(quant for quant in catalog.quants.values() if quant_key(quant.name).startswith(key))
    sized = _BPW.match(key)
    if sized is None or float(sized["bpw"]) == 0:
        return ()
    if sized["name"] in index:
        bases = [catalog.quants[name] for name in index[sized["name"]]]
    else:
        families = [family for family in _AVERAGED if sized["name"] in (family, "")]
        bases = [next(q for q in catalog.quants.values() if q.family == family) for family in families]
    return tuple(_with_bpw(base, float(sized["bpw"]), text.strip()) for base in bases)


def _with_bpw(base: Quant, bpw: float, name: str) -> Quant:
    """`base` at a stated average: of the body for EXL2 and EXL3, of the whole file for GGUF."""
    body = {"bpw": bpw, "attn_bpw": bpw, "expert_bpw": bpw, "down_bpw": None, "mixer_bpw": None, "block": 1}
    whole = {} if base.family in _AVERAGED else {"embed_bpw": bpw, "output_bpw": bpw}
    if base.family in _AVERAGED:
        name = f"{base.family.upper()}-{bpw}bpw"
    own = {"name": name, "aliases": (), "ppl_ratio": None, "ppl_ratio_small": None, "loss_basis": ""}
    return base.model_copy(update=body | whole | own)


def match_quant(text: str, catalog: Catalog) -> Quant | None:
    """The format that `text` names, or None where it names none or several."""
    found = _find(text, catalog)
    return found[0] if len(found) == 1 else None


def resolve_quant(text: str, catalog: Catalog) -> Quant:
    """The format that `text` names.

    Raises:
        AmbiguousNameError: `text` fits several formats (`q4`).
        UnknownNameError: it fits none; the error names the nearest.
    """
    found = _find(text, catalog)
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousNameError("quantization", text, [quant.name for quant in found], command=COMMAND)
    raise UnknownNameError("quantization", text, nearest(text, catalog.quants, n=4), command=COMMAND)
