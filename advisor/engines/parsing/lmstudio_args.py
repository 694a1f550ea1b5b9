"""`lms load`'s arguments as settings of a launch: what `advisor.engines.lmstudio` prints, read back.

It owns what its flags mean. Names are left as they are written, what the app's own settings add is not known,
and whether the launch fits is judged elsewhere.
"""

from __future__ import annotations

from advisor.engines.parsing.arguments import Arguments, Unknown
from advisor.engines.parsing.flag_table import table_of
from advisor.engines.parsing.grammars import read_argparse
from advisor.engines.parsing.programs import Launch
from advisor.engines.parsing.reading import Reading, words_of
from knowledge.catalog import Catalog
from knowledge.errors import UsageError

_SHARES = {"off": 0.0, "max": 1.0}


def read(launch: Launch, version_text: str | None, catalog: Catalog) -> Reading:
    """The reading of `lms load MODEL`.

    Raises:
        UsageError: a flag without its value, or with one that `lms` refuses.
    """
    found = read_argparse(
        words_of(launch), table_of("lmstudio", catalog), underscores=False, beginnings=False
    )
    reading = Reading(launch, version_text, found, devices=launch.devices)
    words = [word for _, word in found.positional]
    reading.model = words[0] if words else None
    found.unknown.extend(
        Unknown(word, "lms load takes one word without a flag, the model") for word in words[1:]
    )
    reading.context = found.whole("--context-length", least=1)
    reading.layer_share = _share(found)
    reading.fits_itself = reading.layer_share is None
    reading.set(parallel=found.whole("--parallel", least=1))
    if found.last("--estimate-only"):
        reading.remark("not-loaded", "--estimate-only loads nothing: the figures are those of a load")
    return reading


def _share(found: Arguments) -> float | None:
    """The part of the layers on the GPU; None where LM Studio decides."""
    text = (found.text("--gpu") or "").strip().lower()
    if not text:
        return None
    if text in _SHARES:
        return _SHARES[text]
    try:
        return found.number("--gpu", most=1.0)
    except UsageError as error:
        raise UsageError(
            f"--gpu {text!r} is no share of the layers", "write off, max or a number from 0 to 1"
        ) from error
