"""What a launch command says: the engine, the model's name, settings of a `LaunchConfig`, what is unclear.

It is the common result of the engines' readers; it knows no flag and resolves no name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from advisor.engines.parsing.arguments import Arguments, Unknown
from advisor.engines.parsing.programs import Launch

ALL_LAYERS = 9999
"""Stands for "of every layer" where the command does not state the number."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about the command that a person should know; `rule` is its short name."""

    rule: str
    text: str


@dataclass(slots=True)
class Reading:
    """A command as its engine's version understands it.

    `settings` are fields of `LaunchConfig`; what is not in there keeps the engine's default. `context` is
    `--ctx-size` and its like as stated, in tokens: the total of all sequences where `context_is_total`, None
    for the engine's default (`default_context`; None again: the model's own maximum).
    """

    launch: Launch
    version: str | None
    found: Arguments
    model: str | None = None
    quant: str | None = None
    """A format stated beside the name, or the one that the engine takes where the name has none."""
    quant_is_default: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    context: int | None = None
    context_is_total: bool = False
    default_context: int | None = None
    longest_that_fits: bool = False
    """The engine shortens the context to what fits (`--max-model-len auto`)."""
    fits_itself: bool = False
    """The engine moves weights to the host instead of failing (llama.cpp's `--fit`)."""
    grows: bool = False
    """The context is as long as requests make it: the caller says how long (mlx-lm)."""
    layer_share: float | None = None
    """The part of the layers that is on the GPU, where the command states no number (LM Studio)."""
    concurrency: int | None = None
    most_at_once: int | None = None
    """Sequences that are decoded at once at most, however many users there are; None: no such limit here."""
    devices: int | None = None
    splits_tensors: bool = False
    """Every layer is split over all devices, however many they are (TabbyAPI's `tensor_parallel`)."""
    loads_projector: bool = False
    """A vision projector is loaded, if the repository has one."""
    draft: str | None = None
    """A separate draft model, as it is named."""
    remarks: list[Remark] = field(default_factory=list)

    @property
    def engine(self) -> str:
        """The engine's name, as in `LaunchConfig.engine`."""
        return self.launch.engine

    @property
    def unknown(self) -> tuple[Unknown, ...]:
        """Words that this version of the engine would not accept."""
        return tuple(self.found.unknown)

    def remark(self, rule: str, text: str) -> None:
        """Add a remark."""
        self.remarks.append(Remark(rule, text))

    def set(self, **settings: Any) -> None:
        """State settings; None leaves the engine's default."""
        self.settings.update({name: value for name, value in settings.items() if value is not None})


def words_of(launch: Launch) -> list[str]:
    """The arguments as the program gets them."""
    return [word.text for word in launch.args]


def least_of(counts: Mapping[str, int | None]) -> int | None:
    """The smallest of the stated numbers; None where none is stated."""
    stated = [count for count in counts.values() if count is not None]
    return min(stated) if stated else None
