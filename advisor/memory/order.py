"""In which order a model's layers of different kinds follow each other.

It knows the catalog's counts of layers and spreads them as their makers do; it knows no tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from knowledge.schema import ModelSpec

_PATTERNS = {
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
    "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B": "MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*"
    "EMEMEMEMEM*EMEMEMEM*EMEMEMEME",
    "nvidia/NVIDIA-Nemotron-Nano-9B-v2": "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-",
}
"""`hybrid_override_pattern` of Nemotron's configurations: Mamba, feed-forward (`E`, `-`), attention (`*`)."""
_LETTERS = {"M": "mamba", "E": "feed-forward", "-": "feed-forward", "*": "full"}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its place, what mixes its tokens, and whether it fills a cache of its own."""

    index: int
    kind: str
    cached: bool
    routed: bool


def layers(model: ModelSpec) -> tuple[Layer, ...]:
    """Every layer of the stack."""
    own = model.n_layers - model.n_kv_shared_layers
    return tuple(
        Layer(index, kind, index < own, _routed(model, index)) for index, kind in enumerate(_kinds(model))
    )


def _routed(model: ModelSpec, index: int) -> bool:
    if not model.is_moe:
        return False
    if model.layers_mlp_only:
        return True
    if 2 * model.n_dense_layers == model.n_layers:  # Llama 4 Maverick: every other layer
        return index % 2 == 1
    return index >= model.n_dense_layers


def _kinds(model: ModelSpec) -> list[str]:
    """The rarer kind ends every period; between Mamba and feed-forward blocks it stands in its middle."""
    m, n = model, model.n_layers
    rare, count = ("latent", m.layers_mla) if m.layers_mla else ("full", m.layers_full)
    if m.hf_id in _PATTERNS:
        return [_LETTERS[letter] for letter in _PATTERNS[m.hf_id]]
    if m.layers_mlp_only:
        places = {int((place + 0.5) * n / count) for place in range(count)}
        others = iter(["mamba", "feed-forward"] * n)
        return [rare if index in places else next(others) for index in range(n)]
    numbers = {
        "window": m.layers_sliding,
        "delta": m.layers_linear,
        "mamba": m.layers_mamba2,
        "convolution": m.layers_conv,
    }
    common = next((name for name, number in numbers.items() if number), rare)
    if common == rare or not count:
        return [common] * n
    period = n // count
    return [
        rare if index % period == period - 1 and index // period < count else common for index in range(n)
    ]
