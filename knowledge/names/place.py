"""Free text that names a place where a model's files are: a path on this machine, or a repository on the Hub.

It tells the two from names of the catalog and opens nothing; who reads the files is `knowledge.hub`.
"""

from __future__ import annotations

import re
from pathlib import Path

_REPO = re.compile(r"^[\w.-]{1,96}/[\w.-]{1,96}$", re.ASCII)
_DRAWN_AS = re.compile(r"^(?:/|~|\.{1,2}/|\.{1,2}$|[A-Za-z]:[\\/])|\\")
_LONGEST_PATH = 4096


def existing_path(text: str) -> Path | None:
    """The file or folder that `text` names, where it is there and can be a model's.

    A folder is one only with files of a model in it: a name of the catalog may be a folder's, too.
    """
    try:
        path = Path(text).expanduser() if len(text) <= _LONGEST_PATH else None
        if path is None or not path.exists():
            return None
        if path.is_dir() and not is_drawn_as_path(text):
            names = [entry.name for entry in path.iterdir()]
            return path if "config.json" in names or any(n.endswith(".gguf") for n in names) else None
    except (OSError, ValueError, RuntimeError):  # no such user, a null byte, a name too long
        return None
    return path


def is_drawn_as_path(text: str) -> bool:
    """Whether `text` can only be a path: from the root, from home, from a dot, or with backslashes."""
    return _DRAWN_AS.search(text) is not None


def repo_and_quant(text: str) -> tuple[str, str] | None:
    """Repository and quantization (may be empty) of `owner/name:quant`; None for any other text."""
    repo, _, quant = text.strip().removeprefix("https://huggingface.co/").partition(":")
    return (repo, quant.strip()) if _REPO.match(repo) else None
