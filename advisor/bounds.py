"""How far a configuration goes: longest context, most users, best split with the host, smallest card.

Every figure is found by halving over the one estimator (`advisor.estimate`), whose demand and risk grow with
context, users and layers on the device. It ranks no models and prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from advisor.asking import Asked
from advisor.config import LaunchConfig, PredictedFigures, Setup
from advisor.engines import render
from advisor.engines.rules import ruled_out
from advisor.estimate import predict_setup, predict_setups
from advisor.listings import CardLimit, ContextLimit, SplitLimit, UserLimit
from advisor.other_cards import other_cards
from advisor.rank import MIN_TPS
from advisor.receipts import NO_RECEIPTS, Receipts
from advisor.setups import with_room_for
from knowledge.catalog import Catalog
from knowledge.units import MIB_PER_GIB, format_mib, format_tokens

STEP = 256
"""Tokens of a step: llama.cpp pads its cache to it, and nobody asks for less."""
_MOST_TOKENS = 1 << 22
"""Where the search for a context ends if the model states no maximum."""
MOST_USERS = 1024
"""Where the search for users ends: the servers' own default limit on large cards."""
_KV_TYPES = {
    "llama.cpp": ("f16", "q8_0", "q5_1", "q4_0"),
    "ollama": ("f16", "q8_0", "q4_0"),
    "mlx": ("f16", "q8_0", "q4_0"),
    "vllm": ("f16", "fp8"),
    "sglang": ("f16", "fp8"),
    "exllamav3": ("f16", "q8_0", "q6", "q4_0"),
}
_HOST_SHARE = 0.9
"""Share of the RAM that a model may take; the rest is the system's."""
_OFFLOAD_UBATCH = 2048
"""As `recommend` launches experts on the host: fewer transfers while a prompt is read."""
_CARDS, _PER_SIZE = 8, 3
"""Cards that are listed, and how many of one memory size, so that the next size is seen."""


class Limits:
    """The limits of one configuration: `base` is what was asked for, with room for its users and no more."""

    def __init__(self, base: Setup, asked: Asked, catalog: Catalog, receipts: Receipts = NO_RECEIPTS) -> None:
        """Take the configuration to be varied."""
        self.request, self._files = asked.request, asked.files
        self._catalog, self._receipts = catalog, receipts
        self.base = self._for_users(base, self.request.concurrency)

    def contexts(self) -> list[ContextLimit]:
        """The longest context of each cache type; what the model itself takes is the most."""
        return [self._context(kv_k, kv_v) for kv_k, kv_v in self._kv_pairs()]

    def users(self) -> list[UserLimit]:
        """The most users at the asked context, for each cache type."""
        return [self._users(kv_k, kv_v) for kv_k, kv_v in self._kv_pairs()]

    def split(self) -> SplitLimit | None:
        """As much on the card as fits, the rest in host memory; None where all fits, or nothing can move."""
        if self.base.launch.engine != "llama.cpp" or self.base.gpu.kind == "cpu" or self.fits(self.base):
            return None
        layers = self.base.model.n_layers
        if self.base.model.is_moe:
            ubatch = self.request.ubatch or _OFFLOAD_UBATCH
            start = self.base.with_launch(ubatch=ubatch, batch=max(self.base.launch.batch, ubatch))
            steps = [start.with_launch(n_cpu_moe=count) for count in range(layers, 0, -1)]
        else:
            steps = [self.base.with_launch(n_gpu_layers=count) for count in range(layers)]
        # in this order each step puts more on the card
        place = largest(0, len(steps) - 1, lambda index: self.fits(steps[index]))
        best = steps[place or 0]
        figures = predict_setup(best)
        reason = "" if place is not None else self._shortage(figures, best)
        whole = predict_setup(_with_room(self.base))
        command, env = ("", {}) if reason else render(best, catalog=self._catalog)
        split, one = _full_tps(figures), _full_tps(whole)
        return SplitLimit(
            n_gpu_layers=best.launch.n_gpu_layers,
            n_cpu_moe=best.launch.n_cpu_moe or None,
            n_layers=layers,
            host_mib=figures.memory.host_mib,
            config=best.launch,
            command=command,
            env=env,
            prediction=figures,
            whole_decode_tps=whole.decode_tps_full_context,
            whole_needs_gib=whole.memory.total_mib / MIB_PER_GIB,
            speed_kept=split / one if split and one else None,
            reason=reason,
        )

    def cards(self) -> list[CardLimit]:
        """The smallest cards that hold it at the asked context and users, the fastest of a size first."""
        cards = other_cards(self.base, self.request, self._catalog, self._files, self._receipts)
        setups = [card for card in cards if card.gpu.kind == "gpu"]
        pairs = zip(setups, predict_setups(setups), strict=True)
        found = [
            (setup, figures)
            for setup, figures in pairs
            if (_full_tps(figures) or 0.0) >= self._least_tps and self._is_good(figures, setup)
        ]
        found.sort(
            key=lambda pair: (pair[0].launch.vram_gib, -(pair[0].gpu.bandwidth_gbps or 0), pair[0].gpu.name)
        )
        listed: list[CardLimit] = []
        for setup, figures in found:
            gib = setup.launch.vram_gib
            if sum(card.memory_gib == gib for card in listed) >= _PER_SIZE or ruled_out(setup, self._catalog):
                continue
            listed.append(
                CardLimit(
                    gpu=setup.gpu.name,
                    memory_gib=gib,
                    bandwidth_gbps=setup.gpu.bandwidth_gbps,
                    prediction=figures,
                )
            )
            if len(listed) == _CARDS:
                break
        return listed

    def fits(self, setup: Setup) -> bool:
        """Whether `setup` stays within the asked risk, and within the host's memory where that was given."""
        return self._is_good(predict_setup(setup), setup)

    def _is_good(self, figures: PredictedFigures, setup: Setup) -> bool:
        return not self._shortage(figures, setup)

    def _shortage(self, figures: PredictedFigures, setup: Setup) -> str:
        """Why a setup is out; empty when it is not."""
        memory, ram = figures.memory, setup.host.ram_gib
        if not figures.fits and memory.total_mib > memory.available_mib:
            return f"needs {format_mib(memory.total_mib)} of {format_mib(memory.available_mib)}"
        if ram is not None and memory.host_mib > ram * MIB_PER_GIB * _HOST_SHARE:
            return f"needs {format_mib(memory.host_mib)} of {ram:g} GiB RAM"
        if figures.oom_probability > self.request.max_oom or not figures.fits:
            risk = figures.oom_probability
            return f"{risk:.0%} risk of running out of memory, above {self.request.max_oom:.0%}"
        return ""

    @property
    def _least_tps(self) -> float:
        """Tokens per second at a full context that a user, or a card, must have: as `recommend`."""
        return MIN_TPS if self.request.min_tps is None else self.request.min_tps

    def _slowness(self, figures: PredictedFigures) -> str:
        return f"{_full_tps(figures) or 0.0:.2g} tok/s at a full context, below {self._least_tps:g}"

    def _kv_pairs(self) -> tuple[tuple[str, str], ...]:
        """The cache types to be compared: those asked for, else every one that the engine offers."""
        asked, launch = self.request, self.base.launch
        if asked.kv_type_k is not None or asked.kv_type_v is not None:
            return ((launch.kv_type_k, launch.kv_type_v),)
        if not launch.flash_attn:
            return (("f16", "f16"),)  # a quantized V cache needs flash attention (rule R20)
        return tuple((name, name) for name in _KV_TYPES.get(launch.engine, ("f16",)))

    def _context(self, kv_k: str, kv_v: str) -> ContextLimit:
        start = self.base.with_launch(kv_type_k=kv_k, kv_type_v=kv_v, depth=0)
        most = self.base.model.max_context or _MOST_TOKENS
        steps = -(-most // STEP)

        def at(step: int) -> Setup:
            tokens = min(step * STEP, most)
            return start.with_launch(ctx=tokens, prompt=min(self.request.prompt, tokens))

        step = largest(1, steps, lambda count: self.fits(at(count)))
        setup = at(step or 1)
        figures = predict_setup(setup)
        forbidden = ruled_out(setup, self._catalog)
        reason = forbidden or ("" if step else self._shortage(figures, setup))
        by_model = step == steps and bool(self.base.model.max_context)
        bound = "rule" if forbidden else "memory" if not by_model else "model"
        return ContextLimit(
            kv_type_k=kv_k,
            kv_type_v=kv_v,
            ctx=None if reason else setup.launch.ctx,
            bounded_by=bound,
            reason=reason or (f"{self.base.model.name} takes no more" if by_model else ""),
            **self._answer(setup, figures, reason),
        )

    def _users(self, kv_k: str, kv_v: str) -> UserLimit:
        start = self.base.with_launch(kv_type_k=kv_k, kv_type_v=kv_v)
        least = self._least_tps

        def serves(count: int) -> bool:
            setup = self._for_users(start, count)
            figures = predict_setup(setup)
            return (_full_tps(figures) or 0.0) >= least and self._is_good(figures, setup)

        count = largest(1, MOST_USERS, serves)
        setup = self._for_users(start, count or 1)
        figures = predict_setup(setup)
        forbidden, short = ruled_out(setup, self._catalog), self._shortage(figures, setup)
        reason = forbidden or ("" if count else short or self._slowness(figures))
        bound: Literal["memory", "speed", "rule", "search"] = "memory"
        if forbidden:
            bound = "rule"
        elif count == MOST_USERS:
            bound = "search"
        elif not short and self.fits(self._for_users(start, (count or 0) + 1)):
            bound = "speed"
        return UserLimit(
            kv_type_k=kv_k,
            kv_type_v=kv_v,
            users=None if reason else count,
            bounded_by=bound,
            reason=reason,
            **self._answer(setup, figures, reason),
        )

    def _answer(self, setup: Setup, figures: PredictedFigures, reason: str) -> dict[str, object]:
        """The fields that every solved configuration has."""
        command, env = ("", {}) if reason else render(setup, catalog=self._catalog)
        return {"config": setup.launch, "command": command, "env": env, "prediction": figures}

    def _for_users(self, setup: Setup, users: int) -> Setup:
        """The setup with slots for so many users, as `recommend` launches them."""
        return with_room_for(setup, users, self.request)


def largest(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """The largest number from `low` to `high` for which `holds`, by halving; None if it does for none.

    `holds` must be true up to some number and false beyond.
    """
    if low > high or not holds(low):
        return None
    if holds(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def _full_tps(figures: PredictedFigures) -> float | None:
    speed = figures.decode_tps_full_context
    return speed.value if speed else None


def _with_room(setup: Setup) -> Setup:
    """The same on a card that is as fast and large enough, which no own start knows."""
    roomy = setup.with_launch(vram_gib=setup.weights.total_gib * 4 + 1024, n_gpu_layers=None, n_cpu_moe=0)
    return replace(roomy, calibration=None, host=replace(setup.host, free_mib=None))


def notes_on(limits: Limits, contexts: Sequence[ContextLimit], split: SplitLimit | None) -> list[str]:
    """What a person should know beside the figures."""
    launch: LaunchConfig = limits.base.launch
    texts = []
    if any(item.bounded_by == "model" for item in contexts):
        most = format_tokens(limits.base.model.max_context)
        texts.append(f"{limits.base.model.name} takes at most {most} tokens: more memory would not help")
    if split is not None and not split.reason and limits.base.host.ram_gib is None:
        texts.append(f"the split needs {format_mib(split.host_mib)} of free host memory: check it with --ram")
    if launch.gpu_count > 1:
        texts.append("cards are counted singly: two smaller ones may do as well")
    return texts
