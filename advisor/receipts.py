"""Starts of engines that the user's own logs told of: `receipts.json` beside the store, read and written.

`advisor ingest` writes it, predictions read it as data. What the figures mean for an answer is
`advisor.calibration`'s; it reads no logs and asks no store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from knowledge.errors import AdvisorError, StoreError
from knowledge.paths import home_dir
from knowledge.schema import Gpu, ModelSpec, Observation, Quant
from knowledge.swapped import write_whole

FILE_NAME = "receipts.json"
_MOST = 500
"""Starts that are kept, the latest ones: enough for any machine, and read in milliseconds."""
_FIGURE = re.compile(r"(?:^|; )(\w+)=(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=;|$)")
_FLAG = re.compile(r"(?:^| )--?([\w-]+)(?: ([\d.]+))?")


class _Names(Protocol):
    """What a row's names mean in the catalog."""

    @property
    def gpu(self) -> Gpu | None: ...
    @property
    def model(self) -> ModelSpec | None: ...
    @property
    def quant(self) -> Quant | None: ...


class Receipt(BaseModel):
    """One start: what was launched, in the catalog's names, and what the log measured; None: not told.

    `ctx` is the whole cache of a llama.cpp server, and a request's limit of vLLM. `model_mib` and `kv_mib`
    are of all devices together under llama.cpp and of one under vLLM, `compute_mib` and `overhead_mib` of
    the fullest device, `free_mib` of the one with the least.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str
    quant: str | None = None
    gpu: str
    gpu_count: int = Field(default=1, ge=1)
    vram_gib: float | None = Field(default=None, gt=0)
    engine: str
    engine_version: str | None = None
    backend: str | None = None
    outcome: Literal["ok", "oom", "error"]
    observed_on: str | None = None
    log: str = ""
    ctx: int | None = Field(default=None, ge=1)
    kv_type_k: str | None = None
    kv_type_v: str | None = None
    flash_attn: bool | None = None
    batch: int | None = Field(default=None, ge=1)
    ubatch: int | None = Field(default=None, ge=1)
    parallel: int | None = Field(default=None, ge=1)
    kv_unified: bool = False
    ngl: int | None = None
    n_cpu_moe: int | None = None
    offload: str = ""
    tensor_parallel: int | None = Field(default=None, ge=1)
    spec_decode: str = ""
    projector: bool = False
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    max_num_seqs: int | None = Field(default=None, ge=1)
    max_num_batched_tokens: int | None = Field(default=None, ge=1)
    enforce_eager: bool = False
    free_mib: float | None = Field(default=None, ge=0)
    total_mib: float | None = Field(default=None, gt=0)
    model_mib: float | None = Field(default=None, gt=0)
    kv_mib: float | None = None
    rs_mib: float | None = Field(default=None, ge=0)
    compute_mib: float | None = Field(default=None, gt=0)
    overhead_mib: float | None = Field(default=None, ge=0)
    activation_mib: float | None = Field(default=None, ge=0)
    non_torch_mib: float | None = Field(default=None, ge=0)
    graphs_mib: float | None = Field(default=None, ge=0)


class _File(BaseModel):
    """The artefact."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    receipts: list[Receipt]


@dataclass(frozen=True, eq=False, slots=True)
class Receipts:
    """Starts, oldest first; told apart by identity, so that what follows from them is worked out once."""

    starts: tuple[Receipt, ...] = ()


NO_RECEIPTS = Receipts()

_FIGURES = tuple(name for name in Receipt.model_fields if name.endswith("_mib"))


def receipt_of(row: Observation, names: _Names) -> Receipt | None:
    """The receipt in an observation from a start log; None where its names mean nothing known."""
    if row.outcome == "error" or names.gpu is None or names.model is None:
        return None
    stated = {name: float(value) for name, value in _FIGURE.findall(row.notes)}
    # a budget below zero tells something; a buffer of nothing does not
    figures = {
        name: stated[name]
        for name in _FIGURES
        if stated.get(name, 0) > 0 or (name == "kv_mib" and name in stated)
    }
    flags: dict[str, str] = dict(_FLAG.findall(row.flags))
    return Receipt.model_validate(
        {
            "model": names.model.hf_id,
            "quant": names.quant.name if names.quant else None,
            "gpu": names.gpu.name,
            "gpu_count": row.gpu_count or 1,
            "vram_gib": row.vram_gib,
            "engine": row.engine,
            "engine_version": row.engine_version or None,
            "backend": row.backend or None,
            "outcome": row.outcome,
            "observed_on": row.observed_on.isoformat() if row.observed_on else None,
            "log": row.source_url.removeprefix("log:"),
            "ctx": row.ctx_limit or None,
            "kv_type_k": row.kv_type_k or None,
            "kv_type_v": row.kv_type_v or None,
            "flash_attn": row.flash_attn,
            "batch": row.batch,
            "ubatch": row.ubatch,
            "parallel": _count(flags.get("np")),
            "kv_unified": "kvu" in flags,
            "ngl": row.ngl,
            "n_cpu_moe": row.n_cpu_moe,
            "offload": row.offload,
            "tensor_parallel": row.tp,
            "spec_decode": row.spec_decode,
            "projector": "mmproj" in flags,
            "gpu_memory_utilization": _share(flags.get("gpu-memory-utilization")),
            "max_num_seqs": _count(flags.get("max-num-seqs")),
            "max_num_batched_tokens": _count(flags.get("max-num-batched-tokens")),
            "enforce_eager": "enforce-eager" in flags,
            **figures,
        }
    )


def _count(text: str | None) -> int | None:
    """A count from 1; None where the log says none, or nonsense."""
    return int(text) if text and text.isdecimal() and int(text) else None


def _share(text: str | None) -> float | None:
    """A share above 0 and up to 1; None where the log says none, or nonsense."""
    share = float(text) if text and re.fullmatch(r"\d*\.?\d+", text) else 0.0
    return share if 0 < share <= 1 else None


def own_receipts() -> Receipts:
    """The user's receipts, oldest first; read once while the file is unchanged; none where there is no file.

    Raises:
        AdvisorError: the file cannot be read; passed over, it would change answers without a word.
    """
    try:
        path = home_dir() / FILE_NAME
        status = path.stat()
    except (StoreError, FileNotFoundError, NotADirectoryError):
        return NO_RECEIPTS
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    return _read(path, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=4)
def _read(path: Path, _stamp: tuple[int, int]) -> Receipts:
    try:
        return Receipts(tuple(_File.model_validate_json(path.read_bytes()).receipts))
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise _unreadable(path, f"{where}: {first['msg']}" if where else first["msg"]) from error


def _unreadable(path: Path, reason: str) -> AdvisorError:
    return AdvisorError(
        f"the receipts of your own starts {path} cannot be read ({reason})",
        "move the file away, then read your logs again: advisor ingest boot.log",
    )


def unknown(starts: Iterable[Receipt | None], known: Receipts) -> list[Receipt]:
    """The starts that the known ones do not hold yet, each once."""
    have = set(known.starts)
    return [start for start in dict.fromkeys(starts) if start is not None and start not in have]


def joined(new: Iterable[Receipt], known: Receipts) -> Receipts:
    """The known starts with new ones behind them; of too many the latest."""
    return Receipts((*known.starts, *new)[-_MOST:])


def remember(starts: Iterable[Receipt | None], known: Receipts) -> int:
    """Add starts to the `known` ones and write them all, whole or not at all; how many were new.

    Raises:
        StoreError: the data folder cannot be written.
    """
    new = unknown(starts, known)
    if not new:
        return 0
    path = home_dir() / FILE_NAME
    content = _File(receipts=list(joined(new, known).starts))
    try:
        write_whole(path, content.model_dump_json(indent=1, exclude_none=True) + "\n")
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror})", "point ADVISOR_HOME at a folder that can"
        ) from error
    return len(new)
