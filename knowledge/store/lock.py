"""The writers' lock: at most one process prepares a new store at a time.

The lock is the operating system's (it dies with its holder); the file's text names the holder for people.
It does not guard readers: they never wait, since a new store replaces the old file whole.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from knowledge.errors import StoreError

LOCK_NAME = "store.lock"

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        # One byte far behind the text, so that the holder's name stays readable.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(path: Path) -> str:
    pid, _, command = path.read_text(encoding="utf-8", errors="replace").strip().partition(" ")
    return f"process {pid} ({command})" if pid else "another process"


@contextmanager
def writer_lock(folder: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of a data folder, waiting at most `wait_seconds` for whoever has it.

    Raises:
        StoreError: naming the process that holds it.
        OSError: when the lock file cannot be made.
    """
    path = folder / LOCK_NAME
    deadline = time.monotonic() + wait_seconds
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while True:
            try:
                _try_lock(descriptor)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise StoreError(
                        f"the store in {folder} is being written by {_holder(path)}",
                        "wait for it to end, then run the command again",
                    ) from error
            time.sleep(0.05)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.truncate(descriptor, 0)
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200] if sys.argv else ""
        os.write(descriptor, f"{os.getpid()} {command}".encode(errors="replace"))
        yield
    finally:
        # Closing releases the lock. The file stays: removing it would let two writers lock two files.
        os.close(descriptor)
