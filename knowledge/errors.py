"""The exception tree, and what a person can do about each member of it.

    AdvisorError                 exit 1   something of ours went wrong
      UsageError                 exit 2   the request cannot be understood
        UnknownNameError         exit 2   a name that resolves to nothing, or to several things
        UnsupportedError         exit 2   a known thing that cannot be computed (architecture, engine, flag)
        ModelFileError           exit 2   a model's file is missing, damaged, cut short or not what it claims
      NothingFitsError           exit 3   no configuration satisfies the limits
      IngestRejectedError        exit 4   rows were rejected or quarantined; the good ones are in
      StoreError                 exit 5   the store is locked, missing or of another schema
      HubError                   exit 6   network or Hugging Face Hub

It knows nothing of terminals: the command line maps `exit_code` and prints `str(error)` on one line.
"""

from __future__ import annotations

from collections.abc import Sequence


class AdvisorError(Exception):
    """Base of every expected failure: one line that says what, and a hint to act on."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} — {self.hint}" if self.hint else self.message


class UsageError(AdvisorError):
    """The request itself is wrong: a bad number, a missing or contradictory option."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name matches nothing, or several entries equally well."""

    def __init__(self, kind: str, text: str, nearest: Sequence[str] = (), *, command: str = "") -> None:
        """Say which `kind` of thing `text` failed to name, the `nearest` ones and how to list all."""
        self.kind, self.text, self.nearest = kind, text, tuple(nearest)
        hint = f"did you mean {', '.join(self.nearest)}?" if self.nearest else ""
        if command:
            hint = f"{hint} list them with: {command}".strip()
        super().__init__(f"unknown {kind} {text!r}", hint)


class AmbiguousNameError(UnknownNameError):
    """A name that fits several entries; it is never resolved by a silent default."""

    def __init__(self, kind: str, text: str, nearest: Sequence[str], *, command: str = "") -> None:
        super().__init__(kind, text, nearest, command=command)
        self.message = f"ambiguous {kind} {text!r}"


class UnsupportedError(UsageError):
    """The thing is known, but what was asked of it cannot be computed honestly."""


class ModelFileError(UsageError):
    """A model's own file is missing, damaged, cut short, or not what it claims to be."""


class NothingFitsError(AdvisorError):
    """Every candidate configuration was rejected."""

    exit_code = 3


class IngestRejectedError(AdvisorError):
    """Some rows were rejected or quarantined; whatever was good has been added."""

    exit_code = 4


class StoreError(AdvisorError):
    """The store cannot be opened, written or understood."""

    exit_code = 5


class HubError(AdvisorError):
    """The network or the Hugging Face Hub did not give what was asked."""

    exit_code = 6
