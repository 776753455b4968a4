"""The probability of the true class, which several losses are functions of."""

from __future__ import annotations

from torch import Tensor

from ssl_isda.base.shapes import Float, Int


def log_probability(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """log softmax(logits)[label] of each row."""
    return logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
