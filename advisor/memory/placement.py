"""Where llama.cpp puts the weights: which device, or the host, by the flags that move them.

It knows classes of tensors and counts of layers; the layers of a stack are taken to be of equal size, and
kinds of layers to be spread evenly over it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from advisor.config import LaunchConfig, Setup
from knowledge.units import BYTES_PER_MIB


@dataclass(frozen=True, slots=True)
class Placement:
    """MiB of the weights by place, and the shares of the stack.

    `device` is all that lies on devices but for `output` (the head and a draft head), which sits whole on
    device `output_on`; `layer_share` is the part of the stack, with its caches, that lies on devices, and
    `shares` each device's part of that. Bytes of what is copied to a device for a prompt where its home is
    the host: `expert_bytes` of one tensor of a layer's experts, `largest_bytes` of a layer's largest.
    """

    device: float
    output: float
    output_on: int
    host: float
    layer_share: float
    shares: tuple[float, ...]
    expert_bytes: float
    largest_bytes: float


def place(setup: Setup) -> Placement:
    """Place the weights for `--n-gpu-layers`, `--n-cpu-moe` and `--tensor-split`.

    Token embeddings (and per-layer embeddings) stay on the host; a tied model keeps a second copy of its
    matrix on the device as output. `-ngl N` offloads the output first, then the last N−1 layers.
    """
    launch, model, weights = setup.launch, setup.model, setup.weights
    layers = max(model.n_layers, 1)
    lookup = weights.token_embd + weights.per_layer_embedding
    if setup.gpu.kind == "cpu":  # the device is the host: one copy of everything
        return Placement(weights.total / BYTES_PER_MIB, 0.0, 0, 0.0, 1.0, (1.0,), 0.0, 0.0)

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
    host = lookup + (weights.dense - dense) + (weights.experts - experts) + (weights.output - output)
    if weights.tied and not everything:
        host -= weights.output  # one matrix serves as both there
    expert_bytes = weights.experts / routed_layers / 3
    # a dense layer: three matrices of the feed-forward, and attention about as large as one
    largest = expert_bytes if model.is_moe else weights.dense / layers / 4
    offloaded = layers if everything else wanted or 0
    shares, output_on = _shares(launch, memory_of_devices(setup), offloaded, everything=everything)
    return Placement(
        device=(dense + experts) / BYTES_PER_MIB,
        output=(output + _draft_head_bytes(setup)) / BYTES_PER_MIB,
        output_on=output_on,
        host=host / BYTES_PER_MIB,
        layer_share=share,
        shares=shares,
        expert_bytes=expert_bytes,
        largest_bytes=largest,
    )


def memory_of_devices(setup: Setup) -> tuple[float, ...]:
    """GiB of each device; the sockets of a host are one."""
    launch = setup.launch
    if setup.gpu.kind == "cpu":
        return (launch.vram_gib,)
    return launch.vram_per_gpu_gib or (launch.vram_gib,) * max(launch.gpu_count, 1)


def _shares(
    launch: LaunchConfig, memory: tuple[float, ...], offloaded: int, *, everything: bool
) -> tuple[tuple[float, ...], int]:
    """Each device's part of the offloaded layers, and the device of the last one.

    As `llama_model::load_tensors` does: the devices' cumulative shares of `--tensor-split` (else of their
    memory) against the position among all that is offloaded, the output counted as one more layer.
    """
    if len(memory) == 1:
        return (1.0,), 0
    split = launch.tensor_split or memory
    split = (*split, *[0.0] * (len(memory) - len(split)))[: len(memory)]
    total = sum(split) or 1.0
    bounds = [part / total for part in accumulate(split)]
    slots = offloaded + everything
    last = len(memory) - 1
    homes = [min(bisect_right(bounds, index / slots), last) for index in range(slots)]
    counts = [homes[:offloaded].count(device) for device in range(len(memory))]
    return tuple(count / max(offloaded, 1) for count in counts), homes[-1] if homes else last


def _draft_head_bytes(setup: Setup) -> float:
    """Bytes of the MTP layer where they are not part of a stated file size: about one layer of the stack."""
    speculates = setup.launch.spec_decode.lower().startswith("mtp")
    if not (speculates and setup.model.has_mtp) or setup.weights.basis in {"given", "read"}:
        return 0.0
    return (setup.weights.dense + setup.weights.experts) / max(setup.model.n_layers, 1)
