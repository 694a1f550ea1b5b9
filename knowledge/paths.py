"""Where files live: bundled data (wheel or checkout) and the user's own directory.

It opens nothing; it only answers with paths.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from knowledge.errors import StoreError

PACKAGE = Path(__file__).resolve().parent
FACTS = PACKAGE / "facts"
_BUNDLED = PACKAGE / "_bundled"


def bundle_root() -> Path:
    """The folder that holds `data/` and `app.py`: inside the wheel, or the checkout's top level."""
    return _BUNDLED if _BUNDLED.is_dir() else PACKAGE.parent


def observations_dir() -> Path:
    """The shipped observations, one CSV per source."""
    return bundle_root() / "data" / "observations"


def memory_dir() -> Path:
    """Measured memory: engine logs, start-up verdicts, borderline cases."""
    return bundle_root() / "data" / "memory"


def app_path() -> Path:
    """The Streamlit page."""
    return bundle_root() / "app.py"


def home_dir() -> Path:
    """The user's data directory (not created here): `ADVISOR_HOME`, else the platform's usual place.

    Raises:
        StoreError: when neither `ADVISOR_HOME` nor a home directory is known.
    """
    explicit = os.environ.get("ADVISOR_HOME")
    if explicit:
        return Path(explicit).expanduser()
    try:
        home = Path.home()
    except RuntimeError as error:
        raise StoreError("no home directory is known", "set one: export ADVISOR_HOME=/some/folder") from error
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "advisor"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "advisor"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "advisor"


def own_facts_dir() -> Path:
    """Release notes and flags that the user has added."""
    return home_dir() / "facts"


def store_path() -> Path:
    """The DuckDB file that holds the shipped observations and the user's own."""
    return home_dir() / "store.duckdb"
