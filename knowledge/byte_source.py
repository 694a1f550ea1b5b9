"""Bytes of a model's files by range, wherever they lie: a local file, a folder, or what the Hub offers.

It owns how a range is read and how much of a file a reader may look at. It knows no format; the Hub's own
source is `knowledge.hub_repo`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from knowledge.errors import ModelFileError
from knowledge.units import BYTES_PER_MIB

HEADER_LIMIT = 64 * BYTES_PER_MIB
"""No real header is larger: the vocabulary of 262,144 tokens that comes with gemma takes 13 MiB."""
_FIRST_CHUNK, _LARGEST_CHUNK = BYTES_PER_MIB, 8 * BYTES_PER_MIB


class ByteSource(Protocol):
    """One file that can be read by ranges."""

    @property
    def name(self) -> str:
        """The file's own name, for messages."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset`, `length` of them or as many as the file has.

        Raises:
            ModelFileError: the file cannot be read; HubError where it lies on the Hub.
        """


class FileSet(Protocol):
    """A folder of files: `sizes` in bytes by plain name."""

    @property
    def place(self) -> str:
        """The folder or repository, for messages."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of every file by its name; files in sub-folders are named with their path."""

    def open(self, name: str) -> ByteSource:
        """One of the files in `sizes`."""


class LocalFile:
    """A regular file on this machine."""

    def __init__(self, path: Path) -> None:
        """Look up the size; nothing is read yet.

        Raises:
            ModelFileError: there is no such regular file.
        """
        self._path = path
        self.name = path.name
        try:
            regular, self.size = path.is_file(), path.stat().st_size
        except (OSError, ValueError) as error:  # ValueError: a null byte in the path
            raise ModelFileError(f"{path} cannot be read: {_reason(error)}") from error
        if not regular:
            raise ModelFileError(f"{path} is no regular file")

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range."""
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                return file.read(length)
        except OSError as error:
            raise ModelFileError(f"{self._path} cannot be read: {_reason(error)}") from error


class LocalFolder:
    """The files of one folder on this machine, those in folders below it left out."""

    def __init__(self, path: Path, names: Sequence[str] | None = None) -> None:
        """List the folder, or look for these names only: a folder of downloads may be long.

        Raises:
            ModelFileError: it cannot be listed.
        """
        self._path = path
        self.place = str(path)
        try:
            self.sizes: Mapping[str, int] = {
                entry.name: entry.stat().st_size
                for entry in (sorted(path.iterdir()) if names is None else map(path.joinpath, names))
                if entry.is_file()
            }
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read: {_reason(error)}") from error

    def open(self, name: str) -> LocalFile:
        """One of the folder's own files."""
        return LocalFile(self._path / name)


class Cursor:
    """Reads a file from its start, chunk by chunk, and never more than `limit` bytes of it."""

    def __init__(self, source: ByteSource, limit: int = HEADER_LIMIT) -> None:
        """Start at the first byte."""
        self._source = source
        self.name = source.name
        self.size = source.size
        self.position = 0
        self._limit = limit
        self._buffer = b""
        self._start = 0

    def take(self, length: int) -> bytes:
        """The next `length` bytes.

        Raises:
            ModelFileError: the file ends before, or the header is larger than any real one.
        """
        at = self.position - self._start
        if at + length > len(self._buffer):
            self._fill(length)
            at = 0
        self.position += length
        return self._buffer[at : at + length]

    def skip(self, length: int) -> None:
        """Move on without reading; held to the same limits."""
        self._check(length)
        self.position += length

    def _check(self, length: int) -> None:
        end = self.position + length
        if end > self.size:
            raise ModelFileError(f"{self.name} is cut short: its header ends beyond the file's last byte")
        if end > self._limit:
            most = self._limit // BYTES_PER_MIB
            raise ModelFileError(f"{self.name}: the header is damaged, it claims more than {most} MiB")

    def _fill(self, length: int) -> None:
        self._check(length)
        # each chunk is twice the last: few requests for a long vocabulary, few bytes for a short one
        wanted = max(length, min(_LARGEST_CHUNK, max(_FIRST_CHUNK, 2 * len(self._buffer))))
        wanted = min(wanted, self.size - self.position, self._limit - self.position)
        rest = self._buffer[max(0, self.position - self._start) :]
        read = self._source.read(self.position + len(rest), wanted - len(rest))
        self._buffer = rest + read
        self._start = self.position
        if len(self._buffer) < length:
            raise ModelFileError(f"{self.name} is cut short: its header ends beyond the file's last byte")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
