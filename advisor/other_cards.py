"""One configuration on other cards of the catalog: the same model, format, context and users.

It chooses no card and predicts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from advisor.config import Request, Setup
from advisor.engines import PROPOSED
from advisor.memory.paged import PAGED
from advisor.options import engines_for
from advisor.receipts import Receipts
from advisor.setups import setup_for, with_room_for
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError, UsageError
from knowledge.schema import Gpu

if TYPE_CHECKING:
    from knowledge.real_model import RealModel


def other_cards(
    base: Setup,
    request: Request,
    catalog: Catalog,
    files: RealModel | None,
    receipts: Receipts,
    names: Iterable[str] | None = None,
) -> Iterator[Setup]:
    """`base` on each single device (of `names`, if given) that runs its engine, with room for its users.

    `request` is what `base` was asked with; what it says of the asked device is left out. Devices whose
    memory is not known are passed over.
    """
    engine = base.launch.engine
    for gpu in catalog.gpus.values() if names is None else [catalog.gpus[name] for name in names]:
        if gpu.kind == "cpu" or gpu.memory_gib is None or not _runs(engine, gpu, request):
            continue
        alone = request.model_copy(
            update={"gpu": gpu.name, "gpu_count": 1, "vram": None, "tensor_parallel": None, "backend": None}
        )
        try:
            setup = setup_for(alone, engine, base.model, base.quant, gpu, catalog, files, receipts)
        except UsageError:  # another card of the list will do
            continue
        yield with_room_for(setup, alone.concurrency, alone)


def _runs(engine: str, gpu: Gpu, request: Request) -> bool:
    alike = "vllm" if engine in PAGED else engine  # SGLang's cards are taken to be vLLM's
    asked = None if alike in PROPOSED else engine
    alone = request.model_copy(update={"engine": asked, "engine_version": None, "gpu": gpu.name})
    try:
        return alike in engines_for(gpu, alone)
    except UnsupportedError:  # it does not run on such a device
        return False
