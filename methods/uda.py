"""UDA: a strong view should get the sharpened prediction of the weak view, where that is sure.

Xie et al., Unsupervised Data Augmentation for Consistency Training, NeurIPS 2020, arXiv:1904.12848.

    L_reg = 1/U sum_u w_u H(q'_u, p(strong(u))),   eta_2 = lambda                      (1)
    w_u = [max q_u >= beta],   q_u = p(weak(u)),   q' = Normalize(q^(1/T))             (2)
    L_sup = 1/K sum_b [p_b(y_b) <= eta_t] H(y_b, p_b),   K the number of those kept    (3)
    eta_t = a_t (1 - 1/c) + 1/c,   a_t = t/T  or  exp(5 (t/T - 1))  or  1 - exp(-5 t/T)

| symbol | here | meaning |
| --- | --- | --- |
| q, p(strong(u)) | first and second view's ``logits`` after softmax | predictions of both views |
| q', T | ``target``, ``temperature`` | sharpened prediction, a constant |
| beta | ``threshold`` | least probability of a prediction that counts, before it is sharpened |
| a_t | ``signal_annealing`` | share of the run; which labeled images are still learned from |
| lambda | ``consistency_weight`` | weight, without a ramp |

The mean of (1) runs over all images, also over those that do not count. Its gradient is that of the
paper's KL(q' || p), which differs by the entropy of q', a constant. (3) is the cross-entropy of all
labeled images unless ``signal_annealing`` is asked for.

Passes, all in train mode: labeled images, weak and strong views as ONE batch, which alone updates
BatchNorm's running statistics. Gradients start at the labeled logits and at the strong ones; the weak
ones are constants, though their images take part in the batch's statistics.

With ISDA (1) becomes Prop. 2 with the target q' on the strong view's logits z, weighted as before, and
(3) Prop. 1 of the labeled images that are kept:

    L_reg = 1/U sum_u w_u sum_k q'_k [ log sum_j exp(z_j + lambda/2 v_jk) - z_k ]   (4)
    v_jk = q_m[j, k],  m = argmax q'

Prop. 2 asks for a constant target and for nothing else, so that it may be the weak view's. Eq. 19's
consistency of the weak view (``eta_1``) stays beside it, for what (2) leaves out. Weights, targets and
kept images are made of plain logits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, final

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
    View,
    gathered,
    whole,
)
from ssl_isda.training.sharpening import sharpened


@dataclass(frozen=True)
class Config:
    """The paper's settings for CIFAR-10 and SVHN. FixMatch's paper ran it with 0.95 and T = 1."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 1.0
    """lambda: weight of the term."""
    threshold: Annotated[float, Interval(ge=0, le=1)] = 0.8
    """beta: least probability of a prediction that counts."""
    temperature: Annotated[float, Interval(gt=0)] = 0.4
    """T: temperature of the target; 1 leaves it as it is."""
    signal_annealing: Literal["none", "linear", "exponential", "logarithmic"] = "none"
    """a_t: leave out labeled images that are learned already, until the end of the run."""
    translation: Annotated[float, Interval(ge=0, lt=1)] = 0.125
    """Largest translation of an image, as a share of its shorter side; in place of max_translation."""


@METHODS.register("uda")
@final
class UDA(Method):
    """Cross-entropy of strong views with sharpened predictions of weak ones; no state."""

    views = (View("weak"), View("strong"))
    joined = 2

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.translation = config.translation
        self.any_loss = config.signal_annealing == "none"
        self.confidence = FixedThreshold(config.threshold)

    def weight(self, step: Step) -> float:
        return self.config.consistency_weight

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Targets:
        weak, strong = views
        q = weak.logits.detach().softmax(1)
        target = sharpened(q, self.config.temperature)
        return Targets(strong.logits, target, self.confidence.weights(q, batch.indices))

    def labeled(
        self, student: Network, batch: Batch, prediction: Prediction, step: Step
    ) -> Targets | None:
        schedule, (n, c) = self.config.signal_annealing, prediction.logits.shape
        if schedule == "none":
            return None
        largest = annealed(schedule, step.progress) * (1 - 1 / c) + 1 / c
        probabilities = prediction.logits.detach().softmax(1)
        kept = probabilities.gather(1, batch.labels[:, None])[:, 0] <= largest
        share = gathered(kept).to(probabilities.dtype).mean().clamp(min=1 / whole([n])[0])
        return Targets(prediction.logits, batch.labels, kept / share)


def annealed(schedule: str, progress: float) -> float:
    """a_t."""
    if schedule == "linear":
        return progress
    if schedule == "exponential":
        return math.exp(5 * (progress - 1))
    return -math.expm1(-5 * progress)
