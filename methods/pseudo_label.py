"""Pseudo-label: the class that is predicted for an unlabeled image is taken for its label.

Lee, Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks,
ICML 2013 workshop on challenges in representation learning.

    L_reg = 1/U sum_u [max_k p_k(u) >= tau] H(argmax_k p_k(u), p(u)),     eta_2(t) = w min(1, t / t_ramp)

| symbol | here | meaning |
| --- | --- | --- |
| p | ``logits`` after softmax | prediction for the only view |
| tau | ``threshold`` | least probability of a label that counts |
| w, t_ramp | ``consistency_weight``, ``ramp_up_fraction`` | weight and its linear ramp-up |

The mean runs over all images, also over those that do not count; the label is a constant. With ISDA
the cross-entropy becomes its Prop. 1 bound.

What BatchNorm sees: the labeled images alone update the running statistics; the views pass alone with
their own batch statistics.

Differs from the paper: the threshold (0 gives the paper's loss), and the weight and ramp, both as in
google-research/fixmatch; the paper's weight of 3 ramps up from epoch 100 to epoch 600.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

from ssl_isda.training.confidence import FixedThreshold
from ssl_isda.training.method import (
    METHODS,
    Batch,
    Interval,
    Method,
    Network,
    Prediction,
    Step,
    Targets,
    linear_ramp_up,
)


@dataclass(frozen=True)
class Config:
    """The settings of google-research/fixmatch for CIFAR-10."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 1.0
    """w: weight of the term after the ramp-up."""
    ramp_up_fraction: Annotated[float, Interval(ge=0, le=1)] = 0.4
    """t_ramp as a share of the whole run."""
    threshold: Annotated[float, Interval(ge=0, le=1)] = 0.95
    """tau: least probability of a pseudo-label that counts."""


@METHODS.register("pseudo_label")
@final
class PseudoLabel(Method):
    """Cross-entropy with the student's own confident predictions; no state."""

    joined = 0

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.confidence = FixedThreshold(config.threshold)

    def weight(self, step: Step) -> float:
        ramp = linear_ramp_up(step.progress, self.config.ramp_up_fraction)
        return self.config.consistency_weight * ramp

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Targets:
        probabilities = views[0].logits.detach().softmax(1)
        weight = self.confidence.weights(probabilities, batch.indices)
        return Targets(views[0].logits, probabilities.argmax(1), weight)
