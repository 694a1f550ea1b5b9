"""What the user's own rows say of the user's own machines, on top of what all rows say: log factors of time.

Keyed by what is timed, device and engine, and by the model besides where it was run. It never speaks of a
device that the user has not measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from advisor.config import Setup


def own_keys(setup: Setup, *, decode: bool) -> tuple[str, str]:
    """The keys of a setup: of its device and engine, and of the model on them."""
    launch = setup.launch
    machine = f"{'step' if decode else 'prompt'}|{setup.gpu.name}|{launch.vram_gib:g}|{launch.engine}"
    return machine, f"{machine}|{setup.model.hf_id}"


@dataclass(frozen=True, slots=True)
class OwnFactors:
    """Logarithms to add to the seconds of a setup; none for what the user has not measured."""

    logs: Mapping[str, float] = field(default_factory=dict)

    def of(self, setup: Setup, *, decode: bool) -> float:
        """What to add to the logarithm of the seconds of `setup`."""
        if not self.logs:
            return 0.0
        return sum(self.logs.get(key, 0.0) for key in own_keys(setup, decode=decode))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> OwnFactors:
        """Read `own_keys` and `own_values`."""
        keys = [str(key) for key in arrays["own_keys"]]
        return cls(dict(zip(keys, arrays["own_values"].astype(float).tolist(), strict=True)))

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """The inverse of `from_arrays`."""
        keys = sorted(self.logs)
        return {
            "own_keys": np.asarray(keys, dtype=np.str_),
            "own_values": np.asarray([self.logs[key] for key in keys], dtype=np.float64),
        }
