"""A repository on the Hugging Face Hub as a set of files that are read by ranges, never downloaded.

The only module that imports huggingface_hub; whoever names a catalogued model never loads it. It respects
HF_ENDPOINT, HF_HUB_OFFLINE and the user's token as huggingface_hub does. It knows no formats.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

from knowledge.byte_source import FileSet, LocalFolder
from knowledge.errors import HubError

_TIMEOUT_S, _DEADLINE_S = 10.0, 60.0
"""Seconds without an answer, and seconds for one range at whatever pace it arrives."""
_MOST_FILES = 20_000
_HTTP = HfHubHTTPError.__mro__[1]
_CLIENT = sys.modules[_HTTP.__module__.partition(".")[0]]
"""The HTTP library underneath: httpx up to huggingface_hub 1, httpx2 from 2 on."""
_BROKEN: tuple[type[Exception], ...] = (
    HfHubHTTPError,
    _HTTP,
    _CLIENT.InvalidURL,
    _CLIENT.StreamError,
    OSError,
)


class RepoMissingError(Exception):
    """The Hub has no such repository, or hides it from this user."""


@contextmanager
def _plain_errors(repo: str) -> Iterator[None]:
    """What huggingface_hub raises as one line of ours."""
    try:
        yield
    except GatedRepoError as error:
        raise HubError(
            f"{repo} is gated", "accept its terms on its page, then log in: hf auth login (or set HF_TOKEN)"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise RepoMissingError(repo) from error
    except OfflineModeIsEnabled as error:
        raise HubError(
            f"{repo} is not in the cache, and HF_HUB_OFFLINE is set", "unset it, or name a catalogued model"
        ) from error
    except _BROKEN as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise HubError(
            f"the Hub did not give {repo}: {said}", "try again, or name a catalogued model"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # huggingface_hub trusts the shape of an answer; a proxy's log-in page has another
        raise HubError(f"the Hub's answer about {repo} makes no sense", "is HF_ENDPOINT right?") from error


class HubFile:
    """One file of a repository, read by HTTP ranges."""

    def __init__(self, repo: str, name: str, size: int) -> None:
        """Remember where it is; nothing is asked yet."""
        self.name, self.size = name, size
        self._repo = repo

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range; no more than `length` are ever taken in."""
        if length <= 0 or offset >= self.size:
            return b""
        with _plain_errors(self._repo):
            headers = build_hf_headers() | {
                "Range": f"bytes={offset}-{offset + length - 1}",
                "Accept-Encoding": "identity",
            }
            url = hf_hub_url(self._repo, self.name)
            with get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT_S) as response:
                hf_raise_for_status(response)
                return self._taken(response, offset, length)

    def _taken(self, response: Any, offset: int, length: int) -> bytes:
        """The range out of an answer, which may be the whole file or another range than was asked for."""
        start = offset
        if response.status_code != 206:
            start = 0
        elif not str(response.headers.get("Content-Range", "")).startswith(f"bytes {offset}-"):
            raise HubError(f"the Hub gave another part of {self.name} than was asked for", "try again")
        if start != offset:
            raise HubError(f"the Hub gives {self.name} only as a whole", "download it and name its path")
        deadline = time.monotonic() + _DEADLINE_S
        taken = bytearray()
        for chunk in response.iter_raw():
            taken += chunk[: length - len(taken)]
            if len(taken) >= length:
                break
            if time.monotonic() > deadline:
                raise HubError(f"{self.name} arrives too slowly from the Hub", "try again")
        return bytes(taken)


class HubRepo:
    """The files of a repository's main branch."""

    def __init__(self, repo: str) -> None:
        """Ask the Hub for the list of files.

        Raises:
            HubError: no network, offline, gated, or an answer that cannot be understood.
            RepoMissingError: there is no such repository.
        """
        self.place = repo
        with _plain_errors(repo):
            info = HfApi().model_info(repo, files_metadata=True, timeout=_TIMEOUT_S)
            self.sizes: Mapping[str, int] = {
                str(file.rfilename): int(file.size)
                for file in islice(info.siblings or (), _MOST_FILES)
                if file.size is not None
            }

    def open(self, name: str) -> HubFile:
        """One of the repository's files."""
        return HubFile(self.place, name, self.sizes[name])


def open_repo(repo: str) -> FileSet:
    """The files of a repository; offline, those of its snapshot in the cache.

    Raises:
        HubError: as `HubRepo`.
        RepoMissingError: there is no such repository.
    """
    try:
        return HubRepo(repo)
    except HubError as error:
        if not isinstance(error.__cause__, OfflineModeIsEnabled):
            raise
        try:
            return LocalFolder(Path(snapshot_download(repo, local_files_only=True)))
        except LocalEntryNotFoundError:
            raise error from error.__cause__
