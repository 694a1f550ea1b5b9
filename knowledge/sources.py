"""Who stands behind an address: the unit that validation leaves out and weights balance.

It opens no address; it only reads it.
"""

from __future__ import annotations

from urllib.parse import urlparse


def source_of(address: str) -> str:
    """The repository of an address, or the thread of a repository where many people post; else the page."""
    parsed = urlparse(address)
    if parsed.netloc != "github.com":
        return (parsed.netloc + parsed.path) or address
    parts = parsed.path.strip("/").split("/")
    threaded = len(parts) > 3 and parts[2] in {"issues", "pull", "discussions"}
    return "/".join(parts[:4] if threaded else parts[:2])
