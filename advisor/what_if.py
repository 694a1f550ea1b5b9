"""How the answer moves with one choice: depth, context and cache type, users, format, card.

Every point is the one estimator's (`advisor.estimate`) with one thing changed; the shapes are the JSON of
`service.curves`. It searches for no limit (`advisor.bounds`) and draws nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from pydantic import Field

from advisor.asking import Asked
from advisor.config import Answer, Evidence, Interval, LaunchConfig, PredictedFigures, Setup
from advisor.engines.rules import ruled_out
from advisor.estimate import predict_setups
from advisor.listings import Listing
from advisor.options import formats_for, kv_pairs_for
from advisor.other_cards import other_cards
from advisor.quality import points_left, retained
from advisor.receipts import NO_RECEIPTS, Receipts
from advisor.setups import setup_for, with_room_for
from advisor.speed.figures import speed_figures
from advisor.speed.model import load_model
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.names.rig import device

PARTS = ("depths", "contexts", "users", "quants", "cards")
"""The curves and ladders that there are, by their fields in `Curves`."""
_DEPTHS = 24
"""Points of the curve over depth, evenly spread: speed falls smoothly."""
_CONTEXTS = 12
"""Points of the curves over context: memory is a straight line but for windows and padding."""
_ROUND = 1024
"""Contexts that are drawn are multiples of it, as people ask for them."""
_USERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_CARDS = 16
"""Other cards that are shown: those that most measured rows stand behind."""
_SHOWN_DEPTH = 32768
"""Tokens that the curve over depth shows at least, where the model takes them."""


class DepthPoint(Answer):
    """Decoding with `depth` tokens in the cache, for each sequence."""

    depth: int
    decode_tps: Interval | None


class ContextPoint(Answer):
    """What a context of `ctx` tokens per sequence takes with one type of cache."""

    kv_type_k: str
    kv_type_v: str
    ctx: int
    memory_mib: float
    available_mib: float
    oom_probability: float


class UsersPoint(Answer):
    """So many sequences at once: each one's speed, all of them together, and whether memory holds them."""

    users: int
    decode_tps: Interval | None
    decode_tps_total: Interval | None
    memory_mib: float
    oom_probability: float
    fits: bool


class Rung(Answer):
    """One format, or one card, with everything else as asked.

    `quality` in points of the common scale with the format and the cache; `quality_lost` its share that they
    take, from 0 to 1.
    """

    name: str
    asked: bool
    """Whether it is the one that was asked for."""
    decode_tps: Interval | None
    decode_tps_full_context: Interval | None
    memory_mib: float
    available_mib: float
    oom_probability: float
    fits: bool
    quality: float
    quality_lost: float
    forbidden: str = ""
    """The rule that forbids it; empty where none does."""


class Curves(Listing):
    """The answer of `service.curves`; `runs` are measured ones of this very model, card, count and format."""

    request: dict[str, Any]
    config: LaunchConfig
    max_context: int
    """Tokens that the model takes; 0 where that is not known."""
    depths: list[DepthPoint]
    contexts: list[ContextPoint]
    users: list[UsersPoint]
    quants: list[Rung]
    cards: list[Rung]
    runs: list[Evidence] = Field(default_factory=list)
    note: str = ""
    """Why no measured run is shown, where the store cannot be read."""


def curves_of(
    base: Setup,
    asked: Asked,
    catalog: Catalog,
    receipts: Receipts = NO_RECEIPTS,
    only: Collection[str] = PARTS,
) -> Curves:
    """The curves around one configuration (of `PARTS` those in `only`), without measured runs.

    Raises:
        UsageError: a part that there is none of.
    """
    if unknown := [name for name in only if name not in PARTS]:
        raise UsageError(f"there is no curve {unknown[0]!r}", f"use: {', '.join(PARTS)}")
    formats = _formats(base, asked, catalog, receipts)
    cards = _cards(base, asked, catalog, receipts)
    return Curves(
        request=asked.request.model_dump(),
        config=base.launch,
        max_context=base.model.max_context or 0,
        depths=list(_depths(base)) if "depths" in only else [],
        contexts=list(_contexts(base, asked)) if "contexts" in only else [],
        users=list(_users(base, asked)) if "users" in only else [],
        quants=_rungs(base, formats, catalog, "quant") if "quants" in only else [],
        cards=_rungs(base, cards, catalog, "gpu") if "cards" in only else [],
    )


def _depths(base: Setup) -> Iterator[DepthPoint]:
    most = max(base.launch.ctx, min(_SHOWN_DEPTH, base.model.max_context or _SHOWN_DEPTH))
    grid = sorted({round(most * step / _DEPTHS) for step in range(_DEPTHS + 1)} | {base.launch.ctx})
    setups = [base.with_launch(depth=depth, ctx=max(depth, base.launch.ctx)) for depth in grid]
    # what lies in the cache changes no memory: only the speeds are worked out
    for depth, figures in zip(grid, speed_figures(setups), strict=True):
        yield DepthPoint(depth=depth, decode_tps=figures.decode_tps)


def _contexts(base: Setup, asked: Asked) -> Iterator[ContextPoint]:
    most = base.model.max_context or 4 * base.launch.ctx
    unit = _ROUND if most >= _CONTEXTS * _ROUND else 1
    steps = {max(1, round(most * step / _CONTEXTS / unit) * unit) for step in range(1, _CONTEXTS + 1)}
    grid = sorted(steps | {base.launch.ctx})
    own = (base.launch.kv_type_k, base.launch.kv_type_v)
    open_request = asked.request.model_copy(update={"kv_type_k": None, "kv_type_v": None})
    pairs = dict.fromkeys([own, *kv_pairs_for(base.launch.engine, base.gpu, open_request)])
    setups = [
        base.with_launch(ctx=ctx, depth=0, kv_type_k=key, kv_type_v=value)
        for key, value in sorted(pairs)
        for ctx in grid
    ]
    for setup, figures in zip(setups, predict_setups(setups), strict=True):
        launch, memory = setup.launch, figures.memory
        yield ContextPoint(
            kv_type_k=launch.kv_type_k,
            kv_type_v=launch.kv_type_v,
            ctx=launch.ctx,
            memory_mib=memory.total_mib,
            available_mib=memory.available_mib,
            oom_probability=figures.oom_probability,
        )


def _users(base: Setup, asked: Asked) -> Iterator[UsersPoint]:
    counts = sorted({*_USERS, base.launch.concurrency})
    setups = [
        base if count == base.launch.concurrency else with_room_for(base, count, asked.request)
        for count in counts
    ]
    for count, figures in zip(counts, predict_setups(setups), strict=True):
        yield UsersPoint(
            users=count,
            decode_tps=figures.decode_tps,
            decode_tps_total=figures.decode_tps_total,
            memory_mib=figures.memory.total_mib,
            oom_probability=figures.oom_probability,
            fits=figures.fits,
        )


def _formats(base: Setup, asked: Asked, catalog: Catalog, receipts: Receipts) -> Iterator[Setup]:
    """The model in the formats worth trying on this engine and card; the asked one among them."""
    launch = base.launch
    any_format = asked.request.model_copy(update={"quant": None, "weights_gib": None})
    gpu = device(asked.request.gpu, catalog)
    formats = formats_for(launch.engine, base.model, gpu, any_format, catalog)
    for quant in formats:
        if quant.name == base.quant.name:
            continue
        try:
            yield setup_for(any_format, launch.engine, base.model, quant, gpu, catalog, asked.files, receipts)
        except UsageError:  # a size that cannot be this format's: the other rungs will do
            continue


def _cards(base: Setup, asked: Asked, catalog: Catalog, receipts: Receipts) -> Iterator[Setup]:
    """The configuration on the cards that most rows stand behind."""
    counts = load_model().counts
    known = [(count, key.removesuffix("|||")) for key, count in counts.items() if key.endswith("|||")]
    names = [
        name
        for _, name in sorted(known, reverse=True)
        if name != base.gpu.name and name in catalog.gpus and catalog.gpus[name].kind != "cpu"
    ]
    found = other_cards(base, asked.request, catalog, asked.files, receipts, names)
    yield from (setup for setup, _ in zip(found, range(_CARDS), strict=False))


def _rungs(base: Setup, others: Iterator[Setup], catalog: Catalog, named_by: str) -> list[Rung]:
    setups = [base, *others]
    return [
        _rung(setup, figures, catalog, str(getattr(setup.launch, named_by)), asked=setup is base)
        for setup, figures in zip(setups, predict_setups(setups), strict=True)
    ]


def _rung(setup: Setup, figures: PredictedFigures, catalog: Catalog, name: str, *, asked: bool) -> Rung:
    return Rung(
        name=name,
        asked=asked,
        decode_tps=figures.decode_tps,
        decode_tps_full_context=figures.decode_tps_full_context,
        memory_mib=figures.memory.total_mib,
        available_mib=figures.memory.available_mib,
        oom_probability=figures.oom_probability,
        fits=figures.fits,
        quality=points_left(setup.model, setup.quant, setup.launch, catalog),
        quality_lost=1 - retained(setup.model, setup.quant, setup.launch),
        forbidden=ruled_out(setup, catalog),
    )
