"""The one door: what the command line, the page and `import advisor` may ask.

Each function takes plain values, answers with a pydantic object whose `model_dump()` is the JSON contract,
and prints nothing. It wires the rooms together and computes nothing of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from advisor.answer import answer
from advisor.asking import Asked, Options, check_context, own_format, settled_quant, understand
from advisor.config import (
    Caution,
    Check,
    Evidence,
    LaunchConfig,
    Prediction,
    Recommendation,
    Request,
    Setup,
)
from advisor.engines import ENGINES
from advisor.estimate import predict_setup, predict_setups
from advisor.options import check_options, engines_for
from advisor.rank import rank
from advisor.receipts import Receipts, own_receipts
from advisor.search import candidates
from advisor.setups import options_of, setup_for, with_slots
from knowledge.catalog import Catalog, default_catalog
from knowledge.errors import StoreError, UnsupportedError, UsageError
from knowledge.names.rig import device

if TYPE_CHECKING:
    from advisor.evidence import Near
    from advisor.ingestion import Files, ingest
    from advisor.learning import doctor, evaluate, serve_page, stamp, train
    from advisor.listings import Limited
    from advisor.lookup import flags, gpus, models, notes, observations, quants
    from advisor.previews import Preview
    from advisor.scores import accuracy
    from advisor.what_if import Curves

__all__ = [
    "accuracy", "check", "curves", "doctor", "evaluate", "flags", "gpus", "ingest", "limits", "models",
    "notes", "observations", "options_for", "predict", "preview", "quants", "recommend", "request_of",
    "serve_page", "stamp", "train",
]  # fmt: skip

_ANY_CARD = "RTX 4090"
"""Stands in where no card was named and none of its figures is answered with: it runs every engine."""
_ROOMS = ("advisor.lookup", "advisor.learning", "advisor.ingestion", "advisor.scores")
"""Where the functions live that answer no question of a launch; they are fetched on first use."""


def __getattr__(name: str) -> object:
    if name in __all__:
        for room in map(import_module, _ROOMS):
            if hasattr(room, name):
                return getattr(room, name)
    raise AttributeError(f"module 'advisor.service' has no attribute {name!r}")


def recommend(**options: Unpack[Options]) -> Recommendation:
    """Ranked launch configurations for the options of the contract; an empty list when nothing fits.

    Raises:
        UsageError: an option that cannot be understood; UnknownNameError and UnsupportedError among them.
    """
    catalog = default_catalog()
    asked = understand(options, catalog)
    if asked.quant is not None and asked.quant.name not in catalog.quants:
        raise UsageError(
            f"{asked.quant.name} is a size of its own, no format to search with", "try: advisor predict"
        )
    found = candidates(asked.request, catalog, asked.files, own_receipts())
    figures = predict_setups(found.setups)
    ranked, left_out = rank(zip(found.setups, figures, strict=True), asked.request, catalog)
    predictions = [answer(item.setup, item.figures, catalog, asked.label) for item in ranked]
    return Recommendation(
        request=asked.request.model_dump(),
        recommendations=with_evidence(predictions, [item.setup for item in ranked], catalog),
        rejected=[*found.rejected, *left_out],
    )


def request_of(**options: Unpack[Options]) -> Request:
    """What options mean, with their names resolved; nothing is predicted.

    Raises:
        UsageError: as `recommend`.
    """
    return understand(options, default_catalog()).request


def options_for(config: LaunchConfig) -> dict[str, str | int | float]:
    """The options that ask for exactly this configuration."""
    return {name: value for name, value in options_of(config).items() if value is not None}


def predict(**options: Unpack[Options]) -> Prediction:
    """The figures of one exact configuration; what is not asked takes the engine's own default.

    Raises:
        UsageError: as `recommend`; also when model or quantization are not named, or a rule forbids it.
    """
    catalog = default_catalog()
    asked = understand(options, catalog)
    setup = exact_setup(asked, catalog)
    prediction = answer(setup, predict_setup(setup), catalog, asked.label)
    return with_evidence([prediction], [setup], catalog)[0]


def limits(**options: Unpack[Options]) -> Limited:
    """How far one model in one format goes: context, users, split with the host, smallest card.

    Without `gpu` the smallest cards alone. `ctx` is the context of users, split and cards; the longest one
    is looked for. `min_tps` (default 5, as `recommend`) bounds users and cards.

    Raises:
        UsageError: as `predict`.
    """
    from advisor.bounds import Limits, notes_on  # noqa: PLC0415 - no other answer needs it
    from advisor.listings import Limited  # noqa: PLC0415 - as above

    catalog, receipts = default_catalog(), own_receipts()
    placed = options.get("gpu") is not None
    asked = understand(options if placed else {**options, "gpu": _ANY_CARD}, catalog)
    found = Limits(exact_setup(asked, catalog), asked, catalog, receipts)
    contexts = found.contexts() if placed else []
    split = found.split() if placed else None
    return Limited(
        request=asked.request.model_dump() | ({} if placed else {"gpu": None}),
        contexts=contexts,
        users=found.users() if placed else [],
        split=split,
        cards=found.cards(),
        notes=notes_on(found, contexts, split),
    )


def curves(only: Collection[str] | None = None, **options: Unpack[Options]) -> Curves:
    """How the answer of `predict` moves with depth, context, users, format and card, with measured runs.

    `only` names the fields that are wanted; the others stay empty.

    Raises:
        UsageError: as `predict`, and a part that there is none of.
    """
    from advisor.what_if import PARTS, curves_of  # noqa: PLC0415 - no other answer needs it

    catalog, receipts = default_catalog(), own_receipts()
    asked = understand(options, catalog)
    setup = exact_setup(asked, catalog)
    wanted = PARTS if only is None else only
    found = curves_of(setup, asked, catalog, receipts, wanted)
    if "depths" not in wanted:
        return found
    try:
        return found.model_copy(update={"runs": _sweep(setup)})
    except StoreError as error:
        return found.model_copy(update={"note": f"no measured runs are shown: {error}"})


def check(command: str, **options: Unpack[Options]) -> Check:
    """What a launch command does on a device: verdict, memory, risk, and the changes that unlock it.

    Of the options it takes those of the device (`gpu`, `vram`, `vram_used`, `headless`, `ram` …), of the
    file (`model`, `quant`, `weights_gib`), `engine_version`, and of use (`concurrency`, `depth`, `prompt`;
    `ctx` for MLX, whose commands have no flag for it).

    Raises:
        UsageError: a command or option that cannot be understood.
    """
    from advisor.verdict import check_command  # noqa: PLC0415 - the other questions do not need it

    return check_command(command, options, default_catalog(), own_receipts())


def preview(
    files: Files,
    *,
    question: Options | None = None,
    file_format: str = "auto",
    gpu: str | None = None,
    model: str | None = None,
    folder: Path | str | None = None,
) -> Preview:
    """What `ingest` would do with files, and how predictions would change; nothing is written.

    `question`: the options of `predict` for the configuration that is looked at, answered as today and as
    with the files. The others are those of `ingest`: with `folder` files are named within it.

    Raises:
        UsageError: as `predict` for the question, as `ingest` for the files.
        StoreError: as `ingest`.
    """
    from advisor.preview import previewed  # noqa: PLC0415 - no other answer needs it

    catalog = default_catalog()
    asked = understand(question, catalog) if question else None
    ask = None if asked is None else lambda receipts: exact_setup(asked, catalog, receipts)
    return previewed(files, catalog, ask, file_format=file_format, gpu=gpu, model=model, folder=folder)


def exact_setup(asked: Asked, catalog: Catalog, receipts: Receipts | None = None) -> Setup:
    """The one configuration that is asked for; with the user's own starts, unless others are given.

    Raises:
        UsageError: something is missing, contradictory, above the model's context or not for this engine.
    """
    check_context(asked)
    check_options(asked.request)
    gpu = device(asked.request.gpu, catalog)
    own = own_format(asked)
    kind = asked.files.kind_for(own.name if own else asked.request.quant) if asked.files else None
    engines = engines_for(gpu, asked.request, kind)
    quant = own or settled_quant(asked, engines[0], catalog)
    model = asked.model
    engine = next((engine for engine in engines if engine in quant.engines), None)
    if engine is None or model is None:
        readers = [name for name in quant.engines if name in ENGINES]
        hint = f"use --engine {readers[0]}" if readers else "write another --quant"
        raise UnsupportedError(f"{' and '.join(engines)} on {gpu.name} cannot run {quant.name}", hint)
    starts = own_receipts() if receipts is None else receipts
    setup = setup_for(asked.request, engine, model, quant, gpu, catalog, asked.files, starts)
    return with_slots(setup, asked.request)


def with_evidence(
    predictions: Sequence[Prediction], setups: Sequence[Setup], catalog: Catalog
) -> list[Prediction]:
    """The predictions with the measured runs nearest to each; a warning where no store can be read."""
    from advisor.influence import with_runs  # noqa: PLC0415 - loaded only when there is an answer

    try:
        runs, said = _runs_near(setups, catalog) if setups else ([], "")
    except StoreError as error:
        runs, said = [[] for _ in setups], f"no measured runs are shown: {error}"
    warning = [Caution(rule="store", text=said, evidence_url=None)] if said else []
    return [
        with_runs(prediction, setup, found, catalog).model_copy(
            update={"warnings": [*prediction.warnings, *warning]}
        )
        for prediction, setup, found in zip(predictions, setups, runs, strict=True)
    ]


def _sweep(setup: Setup) -> list[Evidence]:
    """Measured decoding of this very model, card and format, at any depth."""
    from advisor.evidence import sweep  # noqa: PLC0415 - duckdb is loaded only when there is an answer
    from knowledge.store.connection import open_store, plain_errors  # noqa: PLC0415 - as above

    with open_store() as store, plain_errors(store.path):
        return sweep(store, setup)


def _runs_near(setups: Sequence[Setup], catalog: Catalog) -> tuple[list[list[Near]], str]:
    """The runs near each setup, and what the store has to say about itself."""
    from advisor.evidence import nearest_runs  # noqa: PLC0415 - duckdb is loaded only when there is an answer
    from knowledge.store.connection import open_store, plain_errors  # noqa: PLC0415 - as above

    with open_store() as store, plain_errors(store.path):
        return nearest_runs(store, setups, catalog), store.note
