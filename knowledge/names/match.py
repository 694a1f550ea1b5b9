"""Text helpers that every kind of name shares: one spelling per name, and the nearest known names.

It knows nothing of models, devices or formats, and decides nothing: what a near miss means is the caller's.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

_SEPARATORS = re.compile(r"[\s_\-:/\\|,;()\[\]+]+")
_MAX_COMPARED = 80
"""Longer texts are no names; comparing them in full would only cost time."""


def normalise(text: str) -> str:
    """`text` in lower case, compatibility forms unified, every run of separators one space.

    >>> normalise("Qwen_Qwen3.5-9B")
    'qwen qwen3.5 9b'
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).casefold()
    return _SEPARATORS.sub(" ", plain).strip()


def nearest(text: str, names: Iterable[str], n: int = 3) -> list[str]:
    """Up to `n` of `names` that look most like `text`, best first; none when nothing comes near.

    Names are compared by their last part (what follows the owner), as people rarely type the owner.
    """
    keys: dict[str, str] = {}
    for name in names:
        keys.setdefault(normalise(name.rsplit("/", 1)[-1]).replace(" ", ""), name)
    key = normalise(text.rsplit("/", 1)[-1][:_MAX_COMPARED]).replace(" ", "")
    return [keys[close] for close in difflib.get_close_matches(key, keys, n=n, cutoff=0.5)]
