"""How far two predictions differ: the terms that consistency methods are made of."""

from __future__ import annotations

from torch import Tensor

from ssl_isda.base.precision import full_precision
from ssl_isda.base.shapes import Float


def softmax_mse(logits: Float[Tensor, "n c"], target: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """mean over images AND classes of (softmax(logits) - target)^2; ``target`` are probabilities."""
    return (logits.softmax(1) - target).square().mean()


@full_precision
def softmax_kl(
    target_logits: Float[Tensor, "n c"], logits: Float[Tensor, "n c"]
) -> Float[Tensor, ""]:
    """mean over images of KL(softmax(target_logits) || softmax(logits)), gradients through both."""
    target = target_logits.log_softmax(1)
    return (target.exp() * (target - logits.log_softmax(1))).sum(1).mean()


@full_precision
def entropy(logits: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """mean over images of H(softmax(logits)), in nats."""
    log_probabilities = logits.log_softmax(1)
    return -(log_probabilities.exp() * log_probabilities).sum(1).mean()
