"""Where llama.cpp puts the weights: device or host, by the flags that move them.

It knows classes of tensors and counts of layers; the layers of a stack are taken to be of equal size, and
kinds of layers to be spread evenly over it.
"""

from __future__ import annotations

from dataclasses import dataclass

from advisor.config import Setup
from knowledge.units import BYTES_PER_MIB


@dataclass(frozen=True, slots=True)
class Placement:
    """MiB of the weights by place, and the share of layers (with their caches) that lie on the device.

    `output` is the part of `device` that sits on the last device only; `expert_copy` the largest tensor of
    experts that has to be copied to the device during a prompt because its home is the host.
    """

    device: float
    output: float
    host: float
    layer_share: float
    expert_copy: float


def place(setup: Setup) -> Placement:
    """Place the weights for `--n-gpu-layers` and `--n-cpu-moe`.

    Token embeddings (and per-layer embeddings) stay on the host; a tied model keeps a second copy of its
    matrix on the device as output. `-ngl N` offloads the output first, then the last N−1 layers.
    """
    launch, model, weights = setup.launch, setup.model, setup.weights
    layers = max(model.n_layers, 1)
    lookup = weights.token_embd + weights.per_layer_embedding
    if setup.gpu.kind == "cpu":  # the device is the host: one copy of everything
        return Placement(weights.total / BYTES_PER_MIB, 0.0, 0.0, 1.0, 0.0)

    wanted = launch.n_gpu_layers
    everything = wanted is None or wanted < 0 or wanted > layers
    share = 1.0 if everything else wanted / layers if wanted else 0.0
    output = weights.output if everything else 0.0

    # `--n-cpu-moe N` takes the experts of the first N layers, the leading dense ones included in the count.
    leading_dense = min(model.n_dense_layers, layers) if model.is_moe else 0
    routed_layers = max(layers - leading_dense, 1)
    on_host = min(max(launch.n_cpu_moe - leading_dense, 0) / routed_layers, 1.0) if model.is_moe else 0.0
    # Partial offload leaves the first layers on the host, the same ones that `--n-cpu-moe` empties.
    experts = weights.experts * min(share, 1.0 - on_host)
    dense = weights.dense * share
    device = dense + experts + output
    host = lookup + (weights.dense - dense) + (weights.experts - experts) + (weights.output - output)
    if weights.tied and not everything:
        host -= weights.output  # one matrix serves as both there
    copied = weights.experts / routed_layers / 3 if experts < weights.experts and share > 0 else 0.0
    draft = _draft_head_bytes(setup)
    return Placement(
        device=(device + draft) / BYTES_PER_MIB,
        output=(output + draft) / BYTES_PER_MIB,
        host=host / BYTES_PER_MIB,
        layer_share=share,
        expert_copy=copied / BYTES_PER_MIB,
    )


def _draft_head_bytes(setup: Setup) -> float:
    """Bytes of the MTP layer where they are not part of a stated file size: about one layer of the stack."""
    speculates = setup.launch.spec_decode.lower().startswith("mtp")
    if not (speculates and setup.model.has_mtp) or setup.weights.basis == "given":
        return 0.0
    return (setup.weights.dense + setup.weights.experts) / max(setup.model.n_layers, 1)
