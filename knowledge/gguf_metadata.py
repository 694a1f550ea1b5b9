"""What the metadata of a GGUF file states about its architecture, number by number, checked on the way out.

It owns how a stated number is read and refused; which numbers a shape needs is `knowledge.gguf_model`'s and
`knowledge.gguf_attention`'s business.
"""

from __future__ import annotations

from knowledge.errors import ModelFileError, UnsupportedError
from knowledge.gguf_header import GgufHeader

Shape = dict[str, int | bool | str | None]
"""Fields of `knowledge.schema.ModelSpec` by name."""
_MOST = 10**9


class Stated:
    """The metadata of one architecture, checked on the way out."""

    def __init__(self, header: GgufHeader) -> None:
        self.header = header
        arch = header.metadata.get("general.architecture")
        if not isinstance(arch, str) or not arch:
            raise ModelFileError(f"{header.name}: general.architecture is missing")
        self.arch = arch

    def missing(self, what: str) -> UnsupportedError:
        """The refusal to raise for what the file does not say."""
        return UnsupportedError(f"{self.header.name}: {what}", "name a catalogued model: advisor models")

    def maybe(self, key: str) -> int | None:
        """A whole number; of a list, its largest. None where the file does not have it."""
        value = self.header.metadata.get(f"{self.arch}.{key}")
        if isinstance(value, tuple):
            value = max(value, default=None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
            raise ModelFileError(f"{self.header.name} is damaged: {self.arch}.{key} is {value!r}")
        return value

    def count(self, key: str) -> int:
        """A number from 1 that has to be there."""
        value = self.maybe(key)
        if not value:
            raise self.missing(f"{self.arch}.{key} is missing")
        return value

    def by_layer(self, key: str, n_layers: int) -> list[int] | None:
        """One number per layer, from a list or from one for all; None where the file does not have it."""
        value = self.header.metadata.get(f"{self.arch}.{key}")
        if not isinstance(value, tuple):
            one = self.maybe(key)
            return None if one is None else [one] * n_layers
        if len(value) < n_layers or any(
            not isinstance(item, int) or not 0 <= item <= _MOST for item in value
        ):
            raise ModelFileError(f"{self.header.name} is damaged: {self.arch}.{key} has {len(value)} values")
        return [int(item) for item in value[:n_layers]]
