"""When two rows are one run: the content hash that keys the store.

It knows which fields tell runs apart. It resolves no names: an identity must outlive the catalog.
"""

from __future__ import annotations

import hashlib

from knowledge.schema import Observation

# Who cites a run, when, and with what remarks does not make it another run.
_CITATION = ("source_url", "observed_on")
_FIGURES = ("decode_tps", "decode_tps_total", "prefill_tps", "ttft_ms", "tpot_ms", "vram_used_gib")
_IDENTITY = tuple(name for name in Observation.model_fields if name not in {*_CITATION, "notes"})


def has_figure(row: Observation) -> bool:
    """Whether anything was measured: a rate, a time, or memory."""
    return any(getattr(row, name) is not None for name in _FIGURES)


def content_id(row: Observation) -> str:
    """The run's identity: 32 hexadecimal digits over configuration and figures.

    The same run cited in two places has one id; a repetition with other figures (to six digits) has another.
    A run without figures (it failed) is only its source's word, so there the source and date count too.
    """
    cells = row.__dict__
    names = _IDENTITY if has_figure(row) else (*_IDENTITY, *_CITATION)
    stated = [(name, cells[name]) for name in names if cells[name] not in (None, "")]
    key = "\n".join([f"{name}={_normal(value)}" for name, value in stated])
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def _normal(value: object) -> str:
    if isinstance(value, str):
        return " ".join(value.lower().split())
    return f"{value:.6g}" if isinstance(value, float) else str(value)
