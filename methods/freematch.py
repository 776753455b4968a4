"""FreeMatch: FixMatch whose thresholds follow the network's own confidence, and which keeps the
predicted classes diverse.

Wang et al., FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning, ICLR 2023,
arXiv:2205.07246.

    L_reg = 1/U sum_u w_u H(q^_u, p_u) + w_f L_f,   eta_2 = w              (1)
    w_u = [max q_u >= tau(q^_u)],   q^_u = argmax q_u                             (2)
    tau <- m tau + (1 - m) mean max q,   p~ <- m p~ + (1 - m) mean q,
    h~ <- m h~ + (1 - m) histogram of q^,   tau(c) = tau p~(c) / max_c p~(c)      (3)
    L_f = sum_c Norm(p~ / h~)_c log Norm(p- / h-)_c,   p- = mean of p_u,
          h- = histogram of argmax p_u, both over the images that count;
          a class that is none's argmax adds nothing, and p~ / h~ is 0 where
          1 / h~ is infinite                                                      (4)

| symbol | here | meaning |
| --- | --- | --- |
| q, p | first and second view's ``logits`` after softmax | predictions of weak and strong view |
| q^ | ``target`` | pseudo-label, a constant |
| tau, p~, h~ | ``confidence.level``, ``.prediction``, ``.histogram`` | averages, from 1/c on |
| w, w_f | ``consistency_weight``, ``fairness_weight`` | weights, without a ramp |

Means run over all images, also over those that do not count. Averages take in a batch before they are
used. L_f, at most 0 and the lower the better spread p- is, has a gradient through p- alone.

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
L_f is no cross-entropy of images and stays on plain logits.

Differs from public codes: for a class that adds nothing they add the constant log(1e-12) to L_f.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, final

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.parallel.distributed import total, total_of_parts
from ssl_isda.training.alignment import TINY
from ssl_isda.training.confidence import AdaptiveThresholds
from ssl_isda.training.method import (
    METHODS,
    Batch,
    Interval,
    Method,
    Network,
    Prediction,
    Step,
    Targets,
    Term,
    View,
)


@dataclass(frozen=True)
class Config:
    """The settings of TorchSSL for CIFAR-10; USB has a fairness weight of 0.001."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 1.0
    """w: weight of the whole term."""
    fairness_weight: Annotated[float, Interval(ge=0)] = 0.01
    """w_f: weight of the spread of predicted classes within it."""
    confidence_momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.999
    """m: momentum of the averages, per step."""
    largest_threshold: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """No threshold lies above it; 0.95 for SVHN in public codes."""
    translation: Annotated[float, Interval(ge=0, lt=1)] = 0.125
    """Largest translation of an image, as a share of its shorter side; in place of max_translation."""


@METHODS.register("freematch")
@final
class FreeMatch(Method):
    """FixMatch with thresholds of its own making, and the fairness term."""

    views = (View("weak"), View("strong"))
    joined = 2

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.translation = config.translation
        self.confidence = AdaptiveThresholds(
            num_classes, config.confidence_momentum, config.largest_threshold
        )

    def weight(self, step: Step) -> float:
        return self.config.consistency_weight

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> list[Term]:
        weak, strong = views
        q = weak.logits.detach().softmax(1)
        targets = Targets(strong.logits, q.argmax(1), self.confidence.weights(q, batch.indices))
        fairness = self.fairness(strong.logits.softmax(1), targets.weight)
        return [targets, self.config.fairness_weight * fairness]

    def fairness(self, probabilities: Tensor, weights: Tensor) -> Tensor:
        """L_f of p, (n, c), where the images that count have weight 1."""
        chosen = F.one_hot(probabilities.argmax(1), probabilities.shape[1])
        histogram = total((chosen * weights[:, None]).sum(0))
        kept = total_of_parts((probabilities * weights[:, None]).sum(0))
        present = histogram > 0
        spread = torch.where(present, kept / histogram.clamp(min=1), 0)
        wanted = self.wanted()
        logarithms = torch.where(present, spread, 1).log() - spread.sum().clamp(min=TINY).log()
        return (wanted / wanted.sum() * logarithms * present).sum()

    def wanted(self) -> Tensor:
        """p~ / h~, (c,); 0 of a class that has been no image's argmax until 1 / h~ overflows."""
        histogram = self.confidence.histogram.value
        return torch.where(
            histogram.reciprocal().isinf(), 0, self.confidence.prediction.value / histogram
        )

    def logged(self) -> Mapping[str, float]:
        return {"threshold": self.confidence.thresholds().mean().item()}
