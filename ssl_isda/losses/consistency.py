"""How far two predictions differ: the terms that consistency methods are made of.

Rows are images, or the pixels of (n, c, h, w) logits. Their ``reduction`` is "mean", 0 without a row,
"sum", or "none", one number a row. Derivatives of every order are those of the equations.
"""

from __future__ import annotations

from torch import Tensor

from ssl_isda.base.precision import full_precision
from ssl_isda.base.reduction import Reduction, reduced
from ssl_isda.base.shapes import Float


@full_precision
def softmax_mse(
    logits: Float[Tensor, "n c *pixels"],
    target: Float[Tensor, "n c *pixels"],
    *,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    """mean over rows AND classes of (softmax(logits) - target)^2; ``target`` are probabilities."""
    squares = (logits.softmax(1) - target).square()
    if reduction == "mean" and squares.numel():
        return squares.mean()
    return reduced(squares.mean(1), reduction)


@full_precision
def softmax_kl(
    target_logits: Float[Tensor, "n c *pixels"],
    logits: Float[Tensor, "n c *pixels"],
    *,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    """mean over rows of KL(softmax(target_logits) || softmax(logits)), gradients through both."""
    target = target_logits.log_softmax(1)
    return reduced((target.exp() * (target - logits.log_softmax(1))).sum(1), reduction)


@full_precision
def entropy(
    logits: Float[Tensor, "n c *pixels"], *, reduction: Reduction = "mean"
) -> Float[Tensor, "..."]:
    """mean over rows of H(softmax(logits)), in nats."""
    log_probabilities = logits.log_softmax(1)
    return -reduced((log_probabilities.exp() * log_probabilities).sum(1), reduction)
