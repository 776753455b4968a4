"""FixMatch: the label that a weak view gets with confidence is learned on a strong view.

Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020,
arXiv:2001.07685.

    L_reg = 1/U sum_u w_u H(q^_u, p(strong(u))),   eta_2 = lambda_u          (1; Eq. 4 there)
    w_u = [max q_u >= tau],   q_u = p(weak(u)),  q^_u = argmax q_u, all constants   (2)

| symbol | here | meaning |
| --- | --- | --- |
| q, p(strong(u)) | first and second view's ``logits`` after softmax | predictions of both views |
| q^, tau | ``target``, ``threshold`` | pseudo-label; least probability of one that counts |
| lambda_u | ``consistency_weight`` | weight, without a ramp |

The mean runs over all images, also over those that do not count.

Passes, all in train mode: labeled images, weak and strong views as ONE batch, which alone updates
BatchNorm's running statistics. Gradients start at the labeled logits and at the strong ones; the weak
ones are constants, though their images take part in the batch's statistics.

With ISDA the labeled term is Prop. 1, and the unlabeled one Prop. 1 with the label q^ on the strong
view's logits z, weighted as before:

    L_reg = 1/U sum_u w_u [ log sum_j exp(z_j + lambda/2 v_j) - z_q^ ],   v_j = q_{q^}[j, q^]   (3)

Prop. 2 with a target of one class is this bound, and its derivation only needs a constant target, so
that it may come from the weak view. It acts where the gradient is. Eq. 19's consistency of the weak
view (``eta_1``) stays beside it: it moves the predictions that the weights leave out, since on a sure
one it hardly differs from 0. Weights and labels are made of plain logits, never of shifted ones.

``distribution_alignment`` first brings q to the labels' class frequencies (ReMixMatch), as the paper
does for CIFAR-100 with 400 labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

from ssl_isda.training.alignment import DistributionAlignment
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
)


@dataclass(frozen=True)
class Config:
    """The paper's settings for CIFAR-10, CIFAR-100, SVHN and STL-10; ImageNet has 0.7 and 10."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 1.0
    """lambda_u: weight of the term."""
    threshold: Annotated[float, Interval(ge=0, le=1)] = 0.95
    """tau: least probability of a pseudo-label that counts."""
    distribution_alignment: bool = False
    """Align predictions with the labels' class frequencies before they are judged."""
    translation: Annotated[float, Interval(ge=0, lt=1)] = 0.125
    """Largest translation of an image, as a share of its shorter side; in place of max_translation."""


@METHODS.register("fixmatch")
@final
class FixMatch(Method):
    """Cross-entropy of strong views with the sure labels of weak ones."""

    views = (View("weak"), View("strong"))
    joined = 2
    dense = True

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.translation = config.translation
        self.confidence = FixedThreshold(config.threshold)
        aligns = config.distribution_alignment
        self.alignment = DistributionAlignment(num_classes) if aligns else None

    def weight(self, step: Step) -> float:
        return self.config.consistency_weight

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Targets:
        weak, strong = views
        q = weak.logits.detach().softmax(1)
        if self.alignment:
            q = self.alignment(q, batch.labels)
        return Targets(strong.logits, q.argmax(1), self.confidence.weights(q, batch.indices))
