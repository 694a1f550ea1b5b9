"""What other calculators say of decoding speed, to be held beside ours on the same rows.

Formulas carried over as they are described; nothing of them is used in an answer.
"""

from __future__ import annotations

from advisor.config import Setup
from knowledge.tensors import parameter_counts

_DENSE_EFFICIENCY = 0.55
_FIXED_BYTES = 3.2
_ROOMY, _FULL, _LEAST = 0.6, 0.82, 0.5
"""Shares of the card from which its answers shrink; and the factor below which none is known."""
_AT_FULL = 0.75


def reading_rate(setup: Setup) -> float:
    """How often a second the devices that share each tensor can read the weights that one token needs."""
    return (
        (setup.gpu.bandwidth_gbps or 0.0)
        * 1e9
        * setup.launch.tensor_parallel
        / setup.weights.per_token(setup.model)
    )


def closed_formula(setup: Setup) -> float:
    """Tokens per second as llmfit 1.1.17 computes them (https://github.com/AlexsJones/llmfit).

    Dense: bandwidth ÷ size × 0.55. Mixture of experts: bandwidth ÷ (bytes of the experts used + 3.2 bytes for
    each other parameter), less a penalty for a card that is more than 60 % full, read off its answers for a
    3090, a 4090 and a 5090 (https://github.com/AlexsJones/llmfit/issues/449 shows the same kind of step).
    """
    model, weights, launch = setup.model, setup.weights, setup.launch
    bandwidth = (setup.gpu.bandwidth_gbps or 0.0) * 1e9 * launch.tensor_parallel
    if not model.is_moe:
        return _DENSE_EFFICIENCY * bandwidth / (weights.dense + weights.output + weights.experts)
    counts = parameter_counts(model)
    used = model.n_experts_used / model.n_experts
    fixed = counts.active(model.n_experts_used, model.n_experts) - counts.routed_experts * used
    full = weights.total_gib / (launch.vram_gib * launch.gpu_count)
    penalty = 1.0 - (1.0 - _AT_FULL) * max(full - _ROOMY, 0.0) / (_FULL - _ROOMY)
    return bandwidth / (weights.experts * used + _FIXED_BYTES * fixed) * max(penalty, _LEAST)
