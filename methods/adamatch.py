"""AdaMatch: FixMatch whose threshold follows the labeled images' confidence, whose predictions are
aligned with theirs, and whose labeled images get a strong view, too.

Berthelot et al., AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation, ICLR
2022, arXiv:2106.04732.

    L_sup = 1/2 [mean_b H(y_b, p(weak(x_b))) + mean_b H(y_b, p(strong(x_b)))], of logits z'   (1)
    z' = z + r (z_alone - z),   r ~ U(0, 1) for each logit                                     (2)
    L_reg = 1/U sum_u [max q'_u >= c_tau] H(argmax q'_u, p(strong(u)))                         (3)
    eta_2(t) = w (1 - cos(min(pi, 2 pi t/T))) / 2                                              (4)
    q' = Normalize(q p^_x / p^_u),   q = p(weak(u)),   c_tau = tau mean_b max p(weak(x_b))     (5)

| symbol | here | meaning |
| --- | --- | --- |
| z, z_alone | ``prediction.logits``, ``alone.logits`` | of labeled images in the one batch, and alone |
| q, p(strong(u)) | first and second view's ``logits`` after softmax | predictions of both views |
| p^_x, p^_u | ``labeled_mean``, ``unlabeled_mean`` | mean predictions: average of momentum 0.999 over |
| | | softmax of z' of weak views; the last 128 batches of q; 1/c before |
| tau, c_tau | ``threshold``, ``level`` | the labeled images' share and what comes of it |
| w | ``consistency_weight`` | weight after its ramp-up over half of the run |

Means run over all images, also over those that do not count.

Passes, all in train mode: labeled images, their strong views, weak and strong views as ONE batch, which
alone updates BatchNorm's running statistics; then labeled images and their strong views once more, alone,
with their own batch statistics. Gradients start at the labeled logits of both passes and at the strong
ones of unlabeled images; the weak ones, q' and c_tau are constants.

With ISDA both parts of (1) are Prop. 1 on z', and (3) is Prop. 1 with the label on the strong view's
logits; what is added to logits does not depend on the pass they are from:

    log sum_j exp(z'_j + lambda/2 v_j) - z'_y,   v_j = q_y[j, y]                                  (6)

The covariances take in the weak views' features of the one batch. Prop. 2 with a target of one class is
Prop. 1, and its target only has to be constant. Eq. 19's consistency of the weak view (``eta_1``) stays
beside it, for what (3) leaves out. Thresholds and labels are made of plain logits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor

from ssl_isda.parallel.whole_batch import streams
from ssl_isda.training.alignment import RecentMean, RunningMean, aligned
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
    part,
    separate_pass,
    whole,
)


@dataclass(frozen=True)
class Config:
    """The paper's settings."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 1.0
    """w: weight of the term after the ramp-up."""
    threshold: Annotated[float, Interval(ge=0, le=1)] = 0.9
    """tau: share of the labeled images' mean confidence that a pseudo-label needs."""
    translation: Annotated[float, Interval(ge=0, lt=1)] = 0.125
    """Largest translation of an image, as a share of its shorter side; in place of max_translation."""


@METHODS.register("adamatch")
@final
class AdaMatch(Method):
    """FixMatch relative to the labeled images; the state is two mean predictions and a threshold."""

    views = (View("weak"), View("strong"))
    labeled_views = (View("strong"),)
    joined = 2
    any_loss = False
    level: Tensor

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.translation = config.translation
        uniform = torch.full((num_classes,), 1 / num_classes)
        self.labeled_mean = RunningMean(uniform, 0.999)
        self.unlabeled_mean = RecentMean(uniform)
        self.register_buffer("level", torch.zeros(()))

    def weight(self, step: Step) -> float:
        ramp = (1 - math.cos(min(math.pi, 2 * math.pi * step.progress))) / 2
        return self.config.consistency_weight * ramp

    def labeled(
        self, student: Network, batch: Batch, prediction: Prediction, step: Step
    ) -> Targets:
        both = (batch.images, *batch.labeled_views)
        with streams(*map(len, both)):
            alone = separate_pass(student, torch.cat(both), step, "labeled images alone")
        logits = torch.lerp(prediction.logits, alone.logits, self._drawn(prediction.logits, step))
        probabilities = gathered(logits[: len(batch.images)].softmax(1))
        self.labeled_mean.follow(probabilities.mean(0))
        self.level.copy_(self.config.threshold * probabilities.amax(1).mean())
        return Targets(logits, batch.labels.repeat(len(both)), torch.ones_like(logits[:, 0]))

    def _drawn(self, logits: Tensor, step: Step) -> Tensor:
        """r, as ``logits``: of the weak views and of the strong ones."""
        generator = step.generator("logit interpolation", logits.device)
        shape = (2, *whole((len(logits) // 2, logits.shape[1])))
        drawn = torch.rand(shape, generator=generator, device=logits.device)
        return part(drawn, dim=1).flatten(0, 1).to(logits.dtype)

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Targets:
        weak, strong = views
        q = weak.logits.detach().softmax(1)
        found = self.unlabeled_mean.follow(gathered(q).mean(0))
        q = aligned(q, self.labeled_mean.value, found)
        return Targets(strong.logits, q.argmax(1), (q.amax(1) >= self.level).to(q.dtype))

    def logged(self) -> Mapping[str, float]:
        return {"threshold": self.level.item()}
