"""What to say of a run whose loss is no longer finite. Nothing here is computed while a run is well."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.isda.learned import Covariance
from ssl_isda.models.contract import Network, linear_map
from ssl_isda.training.objective import Objective

STRONG = 100.0
"""Nats that ISDA adds to a logit, (lambda/2) q; a probability of fp32 has at most 104."""


@torch.no_grad()
def largest_q(weight: Tensor, covariance: Covariance) -> float:
    """The largest (w_j - w_k)^T Sigma_c (w_j - w_k) over all classes c, j, k, in float64.

    Parameters
    ----------
    weight : (c, a)
    """
    weight, largest = weight.double(), []
    for c in range(covariance.num_classes):
        gram = weight @ covariance.matrix(c).double() @ weight.T
        own = gram.diagonal()
        largest.append((own.unsqueeze(1) + own - 2 * gram).max())
    return float(torch.stack(largest).max())


def told(student: Network, objective: Objective, learning_rate: float, step: Step) -> str:
    """How strong ISDA is at this step, where it is on, and what to try: the end of a line."""
    slower = f"a smaller --learning-rate than {learning_rate:g}"
    isda, covariance = objective.isda, objective.covariance
    if isda is None or covariance is None:
        return f"; try {slower}"
    strength = isda.strength(step.progress)
    if objective.ratio is not None:
        strength *= float(objective.ratio)
    q = largest_q(linear_map(student.head)[0], covariance)
    most = isda.max_exponent if isda.max_exponent is not None else math.inf
    exponent = strength / 2 * q  # q may be no number any more
    is_strong = strength > 0 and not min(most, exponent) <= STRONG
    is_capped = isda.max_exponent is not None or isda.augmentation == "explicit"
    cap = "" if is_capped else f", --max-exponent {STRONG:g}"
    weaker = f"a smaller --lambda-0 than {isda.lambda_0:g}{cap}, or " if is_strong else ""
    size = f"{q:.3g}" if math.isfinite(q) else "not finite"
    return (
        f", where lambda is {strength:.3g} and the largest q, (w_j - w_k)^T Sigma_c (w_j - w_k), is "
        f"{size}; try {weaker}{slower}"
    )
