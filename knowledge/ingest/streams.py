"""The bytes of a file or of standard input: read once, from start to end, with their digest.

It looks ahead at the head, so that a reader can be chosen by content, and knows no format.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from knowledge.errors import UsageError

HEAD_BYTES = 1 << 16
"""Bytes that are looked at, at most, before a reader is chosen."""
WIDE_BOMS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Digesting(io.RawIOBase):
    """A byte stream that keeps the SHA-256 of what has passed."""

    def __init__(self, raw: io.RawIOBase | io.BufferedIOBase) -> None:
        self._raw = raw
        self._ahead = b""
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        """As `io.RawIOBase`: always."""
        return True

    def head(self, until: bytes = b"") -> bytes:
        """What comes next, without passing it: to the first `until`, the end, or `HEAD_BYTES`."""
        while len(self._ahead) < HEAD_BYTES and not (until and until in self._ahead):
            data = self._next(HEAD_BYTES - len(self._ahead))
            if not data:
                break
            self._ahead += data
        return self._ahead

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """As `io.RawIOBase`: what was looked at first, then what follows."""
        data, self._ahead = self._ahead[: len(buffer)], self._ahead[len(buffer) :]
        data = data or self._next(len(buffer))
        buffer[: len(data)] = data
        self.digest.update(data)
        return len(data)

    def _next(self, size: int) -> bytes:
        # read1 answers with what a pipe has, instead of waiting for a full buffer.
        raw = self._raw
        return (raw.read1(size) if isinstance(raw, io.BufferedIOBase) else raw.read(size)) or b""


def placed(path: Path | str, folder: Path | None) -> Path | str:
    """Where a file lies that is named within `folder`; without a folder as it is named.

    Raises:
        UsageError: a name that leads out of the folder.
    """
    if folder is None:
        return path
    place = (folder / path).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise UsageError(f"{path} is not in the folder of the files", "name files within it")
    return place


@contextmanager
def open_stream(
    path: Path | str, what: str = "file", folder: Path | None = None
) -> Iterator[tuple[str, Digesting]]:
    """A file, or stdin for `-`, as its name and its bytes; `what` kind of file is asked for in complaints.

    With `folder` it is a file in there, called by its name within.

    Raises:
        UsageError: missing, a folder or unreadable.
    """
    if str(path) == "-" and folder is None:
        yield "stdin", Digesting(cast("io.BufferedReader", sys.stdin.buffer))
        return
    name = str(path)
    try:
        raw = io.FileIO(str(placed(path, folder)), "rb")
    except FileNotFoundError:
        raise UsageError(f"{name}: no such file", f"name a {what}, or - for standard input") from None
    except IsADirectoryError:
        raise UsageError(f"{name} is a folder", f"name the {what}s in it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{name} cannot be read ({reason})", f"name a readable {what}") from None
    with raw:
        yield name, Digesting(raw)
