"""The fitted speed model: any number of queries in, seconds out. Evaluated with numpy alone.

A query is a setup and the state it is asked about. Training and evaluation ask the same queries as
`estimate`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from operator import mul
from pathlib import Path

import numpy as np
import numpy.typing as npt

from advisor.config import Setup
from advisor.speed.coefficients import Coefficients, Phase
from advisor.speed.features import MEASURED_PLAINLY, Circumstance, features
from advisor.speed.influence import Influence
from advisor.speed.intervals import Support, Widths
from advisor.speed.own import OwnFactors
from advisor.speed.roofline import decode_parts, prefill_parts
from advisor.speed.trees import Floats, Forest
from knowledge.errors import AdvisorError, StoreError
from knowledge.paths import home_dir

ARTEFACT = Path(__file__).with_name("artefact.npz")
OWN_MODEL = "speed_model.npz"
"""A model that the user trained, in the data folder: it is preferred to the shipped one."""
SCORES = "replay.json"
"""What the referee found of a model, beside its card."""
FORMAT = 5
"""Version of the arrays' meaning; an artefact of another version is refused."""


@dataclass(frozen=True, slots=True)
class Query:
    """One step to time: `sequences` sequences at `depth`, or `prompt` tokens behind `depth` in chunks."""

    setup: Setup
    sequences: float = 1.0
    depth: float = 0.0
    prompt: float = 0.0
    chunk: float = 512.0
    circumstance: Circumstance = MEASURED_PLAINLY
    stall_s: float = 0.0
    queue_s: float = 0.0

    @property
    def decode_phase(self) -> Phase:
        """Which steps this one resembles: those of one sequence, or of many."""
        return "many" if self.sequences > 1 else "one"


def physics_seconds(query: Query, coefficients: Coefficients, parts: Sequence[float], phase: Phase) -> float:
    """Seconds that the fitted physics gives a query, before the regression corrects them."""
    return float(sum(map(mul, parts, coefficients.of(query.setup, phase))))


def decode_query_parts(query: Query) -> list[float]:
    """Physics parts of one decoding step."""
    return decode_parts(
        query.setup,
        query.sequences,
        query.depth,
        year=query.circumstance.year,
        stall_s=query.stall_s,
        queue_s=query.queue_s,
    )


def prefill_query_parts(query: Query) -> list[float]:
    """Physics parts of one prompt, among as many that arrive with it."""
    when = query.circumstance
    return prefill_parts(
        query.setup,
        query.prompt,
        query.depth,
        query.chunk,
        sequences=query.sequences,
        year=when.year,
        plain_blas=when.plain_blas,
        served=when.protocol in {"server", "end_to_end"},
    )


def speculation_key(method: str, setup: Setup, sequences: float) -> str:
    """Which speculation this is: its method (`mtp:2` is `mtp`), the kind of model, one sequence or many."""
    kind = "moe" if setup.model.is_moe else "dense"
    return f"{method.split(':', maxsplit=1)[0]}/{kind}/{'many' if sequences > 1 else 'one'}"


@dataclass(frozen=True)
class SpeedModel:
    """Factors, trees and interval widths of one training run.

    `counts` maps `gpu|model|quant|engine` (any part may be empty) to the rows it was fitted on; `newest_year`
    is the build date that predictions are made for.
    """

    decode_factors: Coefficients
    decode_forest: Forest
    prefill_factors: Coefficients
    prefill_forest: Forest
    widths: Widths
    counts: dict[str, int]
    speculation: dict[str, float]
    newest_year: float
    fingerprint: str
    own: OwnFactors = field(default_factory=OwnFactors)
    influence: Influence = field(default_factory=Influence)

    @cached_property
    def now(self) -> Circumstance:
        """How predictions for people are stated: newest build, a steady benchmark."""
        return Circumstance(year=self.newest_year, protocol="bench")

    def decode_seconds(self, queries: Sequence[Query]) -> Floats:
        """Seconds per decoding step, shape (queries,); without speculation.

        A step of several sequences takes at least as long as one of a single sequence.
        """
        seconds = self._seconds(queries, self.decode_factors, self.decode_forest, decode=True)
        crowds = [index for index, query in enumerate(queries) if query.sequences > 1]
        alone = [replace(queries[index], sequences=1.0, stall_s=0.0, queue_s=0.0) for index in crowds]
        least = self._seconds(alone, self.decode_factors, self.decode_forest, decode=True)
        seconds[crowds] = np.maximum(seconds[crowds], least)
        return seconds

    def prefill_seconds(self, queries: Sequence[Query]) -> Floats:
        """Seconds until the whole prompt is in the cache, shape (queries,)."""
        return self._seconds(queries, self.prefill_factors, self.prefill_forest, decode=False)

    def _seconds(
        self, queries: Sequence[Query], factors: Coefficients, forest: Forest, *, decode: bool
    ) -> Floats:
        if not queries:
            return np.empty(0)
        rows, physics, own = [], [], []
        for query in queries:
            parts = decode_query_parts(query) if decode else prefill_query_parts(query)
            phase = query.decode_phase if decode else "prompt"
            physics.append(physics_seconds(query, factors, parts, phase))
            rows.append(features(query.setup, query.circumstance))
            own.append(self.own.of(query.setup, decode=decode))
        correction = forest.predict(np.asarray(rows, dtype=np.float64)) + np.asarray(own)
        seconds: Floats = np.asarray(physics) * np.exp(correction)
        return seconds

    def speculation_factor(self, method: str, setup: Setup, sequences: float) -> float:
        """Median decode speed-up of a speculative method on such a model; 1 for none.

        Guesses of a mixture of experts touch other experts each, so that checking them costs more.
        """
        if method == "none":
            return 1.0
        kinds = speculation_key(method, setup, sequences), speculation_key("any", setup, sequences)
        return next((gain for kind in kinds if (gain := self.speculation.get(kind))), 1.0)

    def support(self, setup: Setup) -> Support:
        """How many fitted rows stand behind a setup."""
        gpu, model, quant = setup.gpu.name, setup.model.hf_id, setup.quant.name
        return Support(
            same_setup=self.counts.get(f"{gpu}|{model}|{quant}|{setup.launch.engine}", 0),
            same_gpu_model=self.counts.get(f"{gpu}|{model}||", 0),
            gpu_rows=self.counts.get(f"{gpu}|||", 0),
            model_rows=self.counts.get(f"|{model}||", 0),
        )

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything as plain arrays; equal models give equal arrays."""
        keys = sorted(self.counts)
        methods = sorted(self.speculation)
        return {
            **self.decode_factors.to_arrays("decode_factors"),
            **self.decode_forest.to_arrays("decode"),
            **self.prefill_factors.to_arrays("prefill_factors"),
            **self.prefill_forest.to_arrays("prefill"),
            **self.widths.to_arrays(),
            **self.own.to_arrays(),
            **self.influence.to_arrays(),
            "count_keys": np.asarray(keys, dtype=np.str_),
            "count_values": np.asarray([self.counts[key] for key in keys], dtype=np.int64),
            "speculation_keys": np.asarray(methods, dtype=np.str_),
            "speculation_values": np.asarray([self.speculation[key] for key in methods]),
            "newest_year": np.asarray(self.newest_year),
            "fingerprint": np.asarray(self.fingerprint, dtype=np.str_),
            "format": np.asarray(FORMAT),
        }

    @classmethod
    def load(cls, path: Path = ARTEFACT) -> SpeedModel:
        """Read an artefact; nothing in it is executed.

        Raises:
            AdvisorError: when it is missing, damaged or of another format.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise AdvisorError(
                f"the speed model {path.name} cannot be read", "rebuild it: advisor train"
            ) from error
        if int(arrays.get("format", np.asarray(-1))) != FORMAT:
            raise AdvisorError(f"the speed model {path.name} has another format", "rebuild it: advisor train")
        try:
            return cls._from_arrays(arrays)
        except (KeyError, ValueError) as error:
            raise AdvisorError(
                f"the speed model {path.name} is incomplete", "rebuild it: advisor train"
            ) from error

    @classmethod
    def _from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> SpeedModel:
        return cls(
            decode_factors=Coefficients.from_arrays(arrays, "decode_factors"),
            decode_forest=Forest.from_arrays(arrays, "decode"),
            prefill_factors=Coefficients.from_arrays(arrays, "prefill_factors"),
            prefill_forest=Forest.from_arrays(arrays, "prefill"),
            widths=Widths.from_arrays(arrays),
            counts=dict(zip(arrays["count_keys"].tolist(), arrays["count_values"].tolist(), strict=True)),
            speculation=dict(
                zip(arrays["speculation_keys"].tolist(), arrays["speculation_values"].tolist(), strict=True)
            ),
            newest_year=float(arrays["newest_year"]),
            fingerprint=str(arrays["fingerprint"]),
            own=OwnFactors.from_arrays(arrays),
            influence=Influence.from_arrays(arrays),
        )


def prompts_seconds(query: Query, prefill: Coefficients, prompts: float, together: float) -> float:
    """Seconds that a device works on `prompts` prompts like the query's, `together` of which come at once."""
    steady = replace(query.circumstance, protocol="bench")  # requests are handled while the device works
    parts = prefill_query_parts(replace(query, depth=0.0, sequences=together, circumstance=steady))
    return prompts * physics_seconds(query, prefill, parts, "prompt")


STEADY_WAVE = 0.12
"""Share of a full burst that a request of a steady load waits behind: a load begins with one,
then spreads out."""


def first_token_seconds(prompt_s: float, step_s: float, sequences: float, *, burst: bool) -> float:
    """Time to first token: prompts ahead in the queue, the own prompt, and the step that yields the token.

    Prompts that arrive together (`burst`) are worked off in turn, so that the mean one waits for half of the
    others.
    """
    ahead = (sequences - 1) / 2 * (1.0 if burst else STEADY_WAVE)
    return prompt_s * (1 + ahead) + step_s


@lru_cache(maxsize=4)
def _read(path: Path, _stamp: tuple[int, int] | None) -> SpeedModel:
    return SpeedModel.load(path)


def _stamp(path: Path) -> tuple[int, int] | None:
    """What tells a file from the one that was there before; a page that stays open sees a new training."""
    try:
        status = path.stat()
    except OSError:
        return None  # `SpeedModel.load` says so in its own words
    return status.st_mtime_ns, status.st_size


def own_model() -> Path | None:
    """The speed model that `advisor train` has put into the user's data folder; None without one."""
    try:
        path = home_dir() / OWN_MODEL
    except StoreError:
        return None  # nobody's home: only the shipped model can be meant
    return path if path.exists() else None


def load_model(path: Path | None = None) -> SpeedModel:
    """The model at `path`, else the user's own, else the shipped one; read once while it is unchanged.

    Raises:
        AdvisorError: when it cannot be read; another model is never taken in its stead.
    """
    chosen = path or own_model() or ARTEFACT
    return _read(chosen, _stamp(chosen))
