"""From what people type or a benchmark prints to one model of the catalog, never to a sibling of it.

A text loses its owner, its quantization and its packaging, and becomes tokens: words, generations (`3.5`)
and sizes (`35b`, `a3b`). A name of the catalog fits when its tokens are the text's; a fine-tune fits when it
carries all of a base's tokens and no other size; an abbreviation fits when only one name can be meant. It
knows no shapes and no quantizations: those are `knowledge.catalog` and `knowledge.names.quant`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from knowledge.catalog import Catalog
from knowledge.errors import AmbiguousNameError, UnknownNameError
from knowledge.names.match import nearest
from knowledge.names.tokens import billions, clean_name, is_date, is_number, name_tokens
from knowledge.schema import ModelSpec

KIND = "model"
COMMAND = "advisor models"
SIZE_TOLERANCE = 0.03
"""A size in a name may be the exact count (`32.8B` of the 32B) or, where the name has none, the total."""
_SIBLINGS = frozenset({
    "mini", "nano", "micro", "tiny", "small", "medium", "large", "lite", "air", "flash", "pro", "max",
    "next", "moe", "vision", "vl", "omni", "audio", "video", "multimodal", "distill", "distilled",
    "exp", "scout", "maverick", "turbo", "ocr", "linear", "super", "ultra", "coder", "math", "guard",
    "edge",
})  # fmt: skip
"""Words that name another model where the name itself has no size to tell them apart."""
_NOT_THE_MODEL = frozenset({
    "dflash", "eagle", "draft", "drafter", "speculator", "medusa", "assistant", "lora", "adapter",
    "embedding", "embed", "reranker", "colbert", "mmproj", "reap", "pruned", "tts", "asr",
})  # fmt: skip
"""Drafts, adapters, encoders and pruned copies carry the name of a model whose shape they lack."""


@dataclass(frozen=True, slots=True)
class ModelMatch:
    """A model, the name to print for it (a fine-tune keeps its own) and the quantization in the text."""

    model: ModelSpec
    label: str
    quant_text: str | None = None


class _Fit(Enum):
    """How a text settles on a model: by its very name, as a fine-tune that carries it, or cut short."""

    EXACT = 1
    CARRIED = 2
    ABBREVIATED = 3


@dataclass(frozen=True, slots=True)
class _Name:
    """One spelling of a catalog entry. `phrase` is its family and generation, which no text may leave out."""

    model: ModelSpec
    phrase: tuple[str, ...]
    words: frozenset[str]
    sizes: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Index:
    exact: dict[tuple[str, ...], tuple[ModelSpec, ...]]
    by_word: dict[str, tuple[_Name, ...]]
    """Spellings by the first word of their phrase."""


def _phrase(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Leading tokens through the generation number; all words before size or date where there is none."""
    for position, token in enumerate(tokens):
        if billions(token) is not None or is_date(token):
            return tokens[:position] or tokens[:1]
        if is_number(token):
            return tokens[: position + 1]
    return tokens


@lru_cache(maxsize=4)
def _index(catalog: Catalog) -> _Index:
    exact: dict[tuple[str, ...], dict[str, ModelSpec]] = {}
    names: dict[str, list[_Name]] = {}
    for model in catalog.models.values():
        for spelling in (model.name, *model.aliases):
            tokens = name_tokens(clean_name(spelling)[0])
            if not tokens or model.hf_id in exact.get(tokens, {}):
                continue
            exact.setdefault(tokens, {})[model.hf_id] = model
            sizes = frozenset(token for token in tokens if billions(token) is not None)
            phrase = _phrase(tokens)
            name = _Name(model, phrase, frozenset(tokens) - sizes, sizes)
            names.setdefault(phrase[0], []).append(name)
    return _Index(
        {tokens: tuple(models.values()) for tokens, models in exact.items()},
        {word: tuple(found) for word, found in names.items()},
    )


def _find_phrase(phrase: tuple[str, ...], tokens: tuple[str, ...]) -> bool:
    """Whether `phrase` stands in `tokens` with no (more of a) version behind it: `qwen3-5` is no Qwen3."""
    for start in range(len(tokens) - len(phrase) + 1):
        end = start + len(phrase)
        if tokens[start:end] == phrase:
            follower = tokens[end] if end < len(tokens) else ""
            if not follower or not is_number(follower) or is_date(follower):
                return True
    return False


def _size_is_named(token: str, name: _Name) -> bool:
    """Whether a size of the text is one of the name's, or the count behind it."""
    if token in name.sizes:
        return True
    size = billions(token)
    if size is None:
        return False
    if token[0] == "a":
        return not name.sizes and abs(size / name.model.active_params_b - 1) < 0.15
    tolerance = SIZE_TOLERANCE if name.sizes else 0.1
    return token[0] != "e" and abs(size / name.model.total_params_b - 1) <= tolerance


def _matched(name: _Name, tokens: tuple[str, ...], sizes: frozenset[str], families: frozenset[str]) -> int:
    """How many tokens of the text `name` accounts for, as the thing itself or a fine-tune's base; or 0."""
    words = frozenset(tokens) - sizes
    if not name.words <= words or not _find_phrase(name.phrase, tokens):
        return 0
    if any(not _size_is_named(size, name) for size in sizes):
        return 0
    missing = {size for size in name.sizes - sizes if size[0] != "a"}
    if missing and not any(size[0] != "a" for size in sizes):
        return 0
    extra = words - name.words
    if extra & _NOT_THE_MODEL:
        return 0
    if not name.sizes:
        others = {
            word
            for word in extra
            if len(word) == 1
            or word in _SIBLINGS
            or word in families
            or (is_number(word) and not is_date(word))
        }
        if others:
            return 0
    return len(name.words) + len(sizes)


def _candidates(tokens: tuple[str, ...], index: _Index) -> tuple[_Fit | None, tuple[ModelSpec, ...]]:
    """How `tokens` settle on one model, and that one; or None and every model they may mean."""
    if tokens in index.exact:
        found = index.exact[tokens]
        return (_Fit.EXACT if len(found) == 1 else None), found
    sizes = frozenset(token for token in tokens if billions(token) is not None)
    families = frozenset(index.by_word)
    pool = [name for word in dict.fromkeys(tokens) for name in index.by_word.get(word, ())]
    scored = [(score, name.model) for name in pool if (score := _matched(name, tokens, sizes, families))]
    if scored:
        best = max(score for score, _ in scored)
        models = _distinct(model for score, model in scored if score == best)
        return (_Fit.CARRIED if len(models) == 1 else None), models
    given = frozenset(tokens)
    wider = [
        name
        for name in pool
        if given - sizes <= name.words and all(_size_is_named(size, name) for size in sizes)
    ]
    only_size = _distinct(name.model for name in wider if name.words <= given)
    models = only_size if len(only_size) == 1 else _distinct(name.model for name in wider)
    names_generation = any(name.model in models and _find_phrase(name.phrase, tokens) for name in wider)
    return (_Fit.ABBREVIATED if len(models) == 1 and names_generation else None), models


def _distinct(models: Iterable[ModelSpec]) -> tuple[ModelSpec, ...]:
    return tuple({model.hf_id: model for model in models}.values())


def resolve_model(text: str, catalog: Catalog) -> ModelMatch:
    """The model that a person means, how to call it, and the quantization written behind it.

    Raises:
        AmbiguousNameError: several models fit (`llama 3`), or a part of the name is missing (`qwen 9b`).
        UnknownNameError: none does; the error carries the nearest names.
    """
    name, quant = clean_name(text)
    tokens = name_tokens(name)
    fit, models = _candidates(tokens, _index(catalog))
    if fit is None:
        if models:
            newest = sorted(models, key=lambda model: model.released, reverse=True)
            raise AmbiguousNameError(KIND, text[:80], [model.name for model in newest[:6]], command=COMMAND)
        close = nearest(name, (model.name for model in catalog.models.values()), n=4)
        raise UnknownNameError(KIND, text[:80], close, command=COMMAND)
    return ModelMatch(models[0], _label(name, tokens, models[0]), quant or None)


def _label(name: str, tokens: tuple[str, ...], model: ModelSpec) -> str:
    """What to print: the model's own name, or the fine-tune's where the text says more than that name."""
    own = frozenset(name_tokens(model.name))
    if all(token in own or billions(token) is not None for token in tokens):
        return model.name
    aliases = (clean_name(alias)[0] for alias in model.aliases)
    return next((alias for alias in aliases if name_tokens(alias) == tokens), name)


@lru_cache(maxsize=8192)
def match_model(text: str, catalog: Catalog, params_b: float | None = None) -> ModelSpec | None:
    """The model a benchmark row means, or None; `params_b` (in billions) settles what the name leaves open.

    Unlike `resolve_model` it accepts no name that leaves out a model's size, and no fine-tune whose stated
    parameters exceed the base's by more than a third (counts of packed weights are often too small).
    """
    tokens = name_tokens(clean_name(text)[0])
    fit, models = _candidates(tokens, _index(catalog))
    if fit is _Fit.EXACT:
        return models[0]
    if fit is _Fit.CARRIED:
        too_large = params_b is not None and params_b > models[0].total_params_b * 4 / 3
        return None if too_large else models[0]
    if params_b is not None:
        near = [model for model in models if abs(params_b / model.total_params_b - 1) <= SIZE_TOLERANCE]
        return near[0] if len(near) == 1 else None
    if fit is None:
        return None
    name_has_size, text_has_size = (
        any(billions(token) is not None for token in spelled)
        for spelled in (name_tokens(models[0].name), tokens)
    )
    return models[0] if text_has_size or not name_has_size else None
