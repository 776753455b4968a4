"""SoftMatch: FixMatch whose threshold is soft: a less sure label counts less.

Chen et al., SoftMatch: Addressing the Quantity-Quality Tradeoff in Semi-Supervised Learning, ICLR 2023,
arXiv:2301.10921.

    L_reg = 1/U sum_u w_u H(q^_u, p(strong(u))),   eta_2 = w_max           (1)
    q_u = p(weak(u)),  q^_u = argmax q_u,   q' = Normalize(q pi / E[q])           (2)
    w_u = exp(-min(max q'_u - mu, 0)^2 / (2 s^2 / n^2))                           (3)
    mu <- m mu + (1 - m) mean max q,   s^2 likewise of its unbiased variance,
    E[q] likewise of mean q                                                       (4)

| symbol | here | meaning |
| --- | --- | --- |
| q, p(strong(u)) | first and second view's ``logits`` after softmax | predictions of both views |
| q^, w_u | ``target``, ``weight`` | pseudo-label and what it counts, constants |
| mu, s^2 | ``confidence.mean``, ``.variance`` | usual confidence, from 1/c and 1 on |
| pi, E[q] | ``frequencies``, ``expected`` | frequencies of the labels, uniform ones where classes are |
| | | equal; mean prediction |
| n | 2 | deviations in which the weight falls to exp(-1/2) |

The mean runs over all images. Averages take in a batch before they are used. Alignment serves the
weight alone: the label is that of q.

Passes, all in train mode: labeled images, weak and strong views as ONE batch, which alone updates
BatchNorm's running statistics. Gradients start at the labeled logits and at the strong ones; the weak
ones are constants, though their images take part in the batch's statistics.

With ISDA the labeled term is Prop. 1, and the unlabeled one Prop. 1 with the label q^ on the strong
view's logits z, weighted as before:

    L_reg = 1/U sum_u w_u [ log sum_j exp(z_j + lambda/2 v_j) - z_q^ ],   v_j = q_{q^}[j, q^]   (5)

Prop. 2 with a target of one class is this bound, and its derivation only needs a constant target, so
that it may come from the weak view. It acts where the gradient is. Eq. 19's consistency of the weak
view (``eta_1``) stays beside it: it moves the predictions that the weights leave out, since on a sure
one it hardly differs from 0. Weights and labels are made of plain logits, never of shifted ones.

Differs from public codes: TorchSSL aligns with the mean prediction of labeled images; USB takes mu and
s^2 of aligned predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor

from ssl_isda.training.alignment import LabelFrequencies, RunningMean, aligned
from ssl_isda.training.confidence import GaussianWeights
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
)


@dataclass(frozen=True)
class Config:
    """The paper's settings for all data sets."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 1.0
    """w_max: weight of the term, and of a label that is sure."""
    confidence_momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.999
    """m: momentum of the averages, per step."""
    uniform_alignment: bool = True
    """Align predictions with the class frequencies before they are weighed."""
    translation: Annotated[float, Interval(ge=0, lt=1)] = 0.125
    """Largest translation of an image, as a share of its shorter side; in place of max_translation."""


@METHODS.register("softmatch")
@final
class SoftMatch(Method):
    """FixMatch with weights between 0 and 1; the state is averages of the predictions."""

    views = (View("weak"), View("strong"))
    joined = 2

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.translation = config.translation
        momentum = config.confidence_momentum
        self.confidence = GaussianWeights(num_classes, momentum)
        self.frequencies = LabelFrequencies(num_classes)
        self.expected = RunningMean(torch.full((num_classes,), 1 / num_classes), momentum)

    def weight(self, step: Step) -> float:
        return self.config.consistency_weight

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Targets:
        weak, strong = views
        q = weak.logits.detach().softmax(1)
        self.confidence.follow(q)
        weight = self.confidence.weights(self._aligned(q, batch.labels), batch.indices)
        return Targets(strong.logits, q.argmax(1), weight)

    def _aligned(self, q: Tensor, labels: Tensor) -> Tensor:
        if not self.config.uniform_alignment:
            return q
        expected = self.expected.follow(gathered(q).mean(0))
        return aligned(q, self.frequencies.follow(labels), expected)
