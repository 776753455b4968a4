"""FlexMatch: FixMatch whose threshold is lower for classes that are learned more slowly.

Zhang et al., FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling, NeurIPS 2021,
arXiv:2110.08263.

    L_reg = 1/U sum_u w_u H(q^_u, p(strong(u))),   eta_2 = lambda_u        (1)
    w_u = [max q_u >= T(q^_u)],   q_u = p(weak(u)),  q^_u = argmax q_u            (2)
    sigma(c) = images of all N whose last label with max q > tau is c             (3)
    beta(c) = sigma(c) / max(max_c sigma(c), N - sum_c sigma(c))                  (4)
    T(c) = tau beta(c) / (2 - beta(c))                                            (5)

| symbol | here | meaning |
| --- | --- | --- |
| q, p(strong(u)) | first and second view's ``logits`` after softmax | predictions of both views |
| q^, tau | ``target``, ``threshold`` | pseudo-label, a constant; the largest threshold |
| sigma, T | ``confidence.counts``, ``confidence.thresholds`` | learned images and threshold of a class |
| lambda_u | ``consistency_weight`` | weight, without a ramp |

The mean runs over all images, also over those that do not count. T is that of the steps before; at
first it is 0, and every image counts.

Passes, all in train mode: labeled images, weak and strong views as ONE batch, which alone updates
BatchNorm's running statistics. Gradients start at the labeled logits and at the strong ones; the weak
ones are constants, though their images take part in the batch's statistics.

With ISDA the labeled term is Prop. 1, and the unlabeled one Prop. 1 with the label q^ on the strong
view's logits z, weighted as before:

    L_reg = 1/U sum_u w_u [ log sum_j exp(z_j + lambda/2 v_j) - z_q^ ],   v_j = q_{q^}[j, q^]   (6)

Prop. 2 with a target of one class is this bound, and its derivation only needs a constant target, so
that it may come from the weak view. It acts where the gradient is. Eq. 19's consistency of the weak
view (``eta_1``) stays beside it: it moves the predictions that the weights leave out, since on a sure
one it hardly differs from 0. Weights and labels are made of plain logits, never of shifted ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, final

from ssl_isda.training.confidence import CurriculumThresholds
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
    """tau: threshold of the class that is learned best."""
    translation: Annotated[float, Interval(ge=0, lt=1)] = 0.125
    """Largest translation of an image, as a share of its shorter side; in place of max_translation."""


@METHODS.register("flexmatch")
@final
class FlexMatch(Method):
    """FixMatch with a threshold for each class; the state is each image's last sure label."""

    views = (View("weak"), View("strong"))
    joined = 2

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.translation = config.translation
        self.confidence = CurriculumThresholds(config.threshold, num_images, num_classes)

    def weight(self, step: Step) -> float:
        return self.config.consistency_weight

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Targets:
        weak, strong = views
        q = weak.logits.detach().softmax(1)
        weight = self.confidence.weights(q, batch.indices, self.num_unlabeled)
        return Targets(strong.logits, q.argmax(1), weight)

    def logged(self) -> Mapping[str, float]:
        return {"threshold": self.confidence.thresholds(self.num_unlabeled).mean().item()}
