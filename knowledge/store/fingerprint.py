"""What the shipped part of a store was made from, as one digest.

It covers everything that shapes the stored rows: the observations, the facts that names resolve to and the
checks lean on, and the code that does both. A store with another digest is out of date.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from knowledge.paths import FACTS, PACKAGE, observations_dir

_FACTS = ("gpus.csv", "models.csv", "quants.csv", "files.csv")
_CODE = ("ingest/*.py", "names/*.py", "schema.py", "tensors.py", "weights.py", "store/schema.sql")


def shipped_files() -> list[Path]:
    """The shipped observation files, in a stable order."""
    return sorted(observations_dir().glob("*.csv"))


@lru_cache(maxsize=1)
def data_fingerprint() -> str:
    """SHA-256 over names and contents (about 5 MB, 20 ms)."""
    code = [path for pattern in _CODE for path in sorted(PACKAGE.glob(pattern))]
    facts = [FACTS / name for name in _FACTS if (FACTS / name).exists()]
    digest = hashlib.sha256()
    for path in (*shipped_files(), *facts, *code):
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
