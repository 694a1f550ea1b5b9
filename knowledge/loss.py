"""What a quantization costs in quality: the increase of perplexity over the unquantized model.

Measured medians stand in `facts/quants.csv` (`ppl_ratio` from 6B parameters, `ppl_ratio_small` below); this
module owns the curve that fills their gaps. It knows nothing of task scores, and KL divergences are left
out because those of different data sets do not compare (`facts/quant_loss.csv` keeps them).
"""

from __future__ import annotations

import math

from knowledge.schema import ModelSpec, Quant
from knowledge.tensors import parameter_counts
from knowledge.weights import NATIVE_MXFP4

SMALL_BELOW_B = 6.0
"""Billions of parameters under which quantization hurts visibly more."""
_CURVE = {False: (1.0794, 1.1447), True: (1.5666, 1.0383)}
"""ln(ratio − 1) = a − b · bits per weight: robust least squares over the measured medians of
`facts/quants.csv` (53 formats from 6B parameters, 35 below; median residual ×/÷ 1.5)."""


def derived_ratio(bpw: float, *, small: bool) -> float:
    """Perplexity ratio of an unmeasured format of `bpw` bits per weight; falls with every bit, above 1."""
    intercept, slope = _CURVE[small]
    return 1 + math.exp(intercept - slope * bpw)


def quality_loss(quant: Quant, model: ModelSpec) -> float:
    """Fraction by which perplexity rises (0.01 is one percent), never below 0.

    Measured where the format has been (`quant.loss_basis` says so), else derived from its bits per weight.
    The experts of natively 4-bit models are not touched again, so only the rest of them can lose.
    """
    small = model.total_params_b < SMALL_BELOW_B
    ratio = quant.ppl_ratio_small if small else quant.ppl_ratio
    if ratio is None:
        ratio = derived_ratio(min(quant.bpw, quant.expert_bpw), small=small)
    loss = max(0.0, ratio - 1)
    if model.architecture in NATIVE_MXFP4:
        counts = parameter_counts(model)
        loss *= 1 - counts.routed_experts / counts.total
    return loss
