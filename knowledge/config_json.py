"""The values of a model's config.json, one by one, checked on the way out.

It owns the nesting of text models in multimodal ones and the many names of one number; what the numbers make
is `knowledge.model_config`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from knowledge.errors import ModelFileError, UnsupportedError

_NESTS = ("text_config", "llm_config", "language_config", "thinker_config")
_CLASS_DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma3_text": {
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
        "max_position_embeddings": 131072,
    },
    "gemma3n_text": {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256},
    "mllama_text_model": {"num_key_value_heads": 8},
}  # fmt: skip
"""What these classes assume where the file is silent, as transformers states; published files rely on it."""
_MOST = 10**9
MOST_LAYERS = 10_000
"""No model is a tenth as deep."""


class Config:
    """The values that describe the language model; `architecture` is the class of the whole."""

    def __init__(self, values: Mapping[str, Any], name: str = "config.json") -> None:
        """Find the language model in what may be a multimodal one.

        Raises:
            ModelFileError: no architecture is named, or a nested part is no object.
        """
        self.name = name
        named = values.get("architectures")
        if not isinstance(named, list) or not named or not isinstance(named[0], str):
            raise ModelFileError(f"{name}: architectures is missing")
        self.architecture: str = named[0]
        self.whole = values
        inner = values
        for nest in _NESTS * 2:
            if nest in inner:
                inner = self._object(inner[nest], nest)
        self.multimodal = inner is not values and "vision_config" in values
        defaults = _CLASS_DEFAULTS.get(str(inner.get("model_type")), {})
        self.values: Mapping[str, Any] = {**defaults, **inner}

    def _object(self, value: object, key: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise ModelFileError(f"{self.name} is damaged: {key} is no object")
        return value

    def damaged(self, key: str, value: object) -> ModelFileError:
        """The refusal to raise for a value that cannot be."""
        return ModelFileError(f"{self.name} is damaged: {key} is {str(value)[:60]!r}")

    def missing(self, what: str) -> UnsupportedError:
        """The refusal to raise for what the file does not say."""
        return UnsupportedError(f"{self.name}: {what}", "name a catalogued model: advisor models")

    def maybe(self, *keys: str) -> int | None:
        """The whole number under the first of these names that has one; of a list, its largest."""
        for key in keys:
            value = self.values.get(key)
            if isinstance(value, list) and value:
                value = max((self._whole(key, item) for item in value), default=None)
            if value is not None:
                return self._whole(key, value)
        return None

    def _whole(self, key: str, value: object) -> int:
        if type(value) is float and value == value // 1:
            value = int(value)
        if type(value) is not int or not 0 <= value <= _MOST:
            raise self.damaged(key, value)
        return value

    def count(self, *keys: str) -> int:
        """A number from 1 that has to be there."""
        found = self.maybe(*keys)
        if not found:
            raise self.missing(f"{keys[0]} is missing")
        return found

    def items(self, key: str) -> list[Any] | None:
        """A list about layers; None where there is none."""
        value = self.values.get(key)
        if value is not None and (not isinstance(value, list) or len(value) > MOST_LAYERS):
            raise self.damaged(key, value)
        return value

    def per_layer(self, key: str, n_layers: int) -> Sequence[Any] | None:
        """One value per layer, in a list or as letters; draft layers may have more behind."""
        letters = self.values.get(key)
        value: Sequence[Any] | None = letters if isinstance(letters, str) else self.items(key)
        if value is not None and len(value) < n_layers:
            raise self.damaged(key, f"{len(value)} values for {n_layers} layers")
        return None if value is None else value[:n_layers]

    def nested(self, key: str) -> Config | None:
        """The object under a name, read with the same checks; None where there is none."""
        value = self.values.get(key)
        if value is None:
            return None
        inner = {"architectures": [self.architecture], **self._object(value, key)}
        return Config(inner, self.name)
