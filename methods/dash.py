"""Dash: a pseudo-label counts while its own loss is below a threshold that falls during training.

Xu et al., Dash: Semi-Supervised Learning with Dynamic Thresholding, ICML 2021, arXiv:2109.00650.

    L_reg = 1/U sum_u [l_u <= rho_t] H(q'_u, p(strong(u))),   l_u = H(q'_u, q_u),   eta_2 = w      (1)
    rho_t = max(C gamma^-i rho^, rho_min),   i = whole periods since the warm-up                  (2)
    q_u = p(weak(u)),   q' = Normalize(q^(1/T)) while rho_t > rho_min, the class argmax q then    (3)

| symbol | here | meaning |
| --- | --- | --- |
| q, p(strong(u)) | first and second view's ``logits`` after softmax | predictions of both views |
| q', T | ``target``, ``temperature`` | what the strong view should be, a constant |
| rho^ | ``loss_sum / loss_count`` | mean cross-entropy of the labeled images in the second half of the |
| | | warm-up, as they were trained on |
| C, gamma, rho_min | 1.0001, ``threshold_decay``, ``smallest_threshold`` | how and where to it falls |
| w | ``consistency_weight`` | weight; 0 in the warm-up, which learns from labels alone |

The mean runs over all images, also over those that do not count.

Passes, all in train mode: labeled images, weak and strong views as ONE batch, which alone updates
BatchNorm's running statistics. Gradients start at the labeled logits and at the strong ones; the weak
ones are constants, though their images take part in the batch's statistics.

With ISDA the labeled term is Prop. 1, and (1) Prop. 2 with the target q' on the strong view's logits z,
weighted as before. Of a class Prop. 2 is Prop. 1 (4). It asks for a constant target and nothing else:

    L_reg = 1/U sum_u w_u sum_k q'_k [ log sum_j exp(z_j + lambda/2 v_jk) - z_k ]   (4)
    v_jk = q_m[j, k],  m = argmax q'

Eq. 19's consistency of the weak view (``eta_1``) stays beside it, for what (1) leaves out. Thresholds
and targets are made of plain logits.

Differs from public code, which takes rho^ on the test images, and counts the warm-up beside the run: it
is a share of it here. So are the periods, 10 epochs of 1,024 steps in 2^20 steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

import torch
import torch.nn.functional as F
from torch import Tensor

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
from ssl_isda.training.sharpening import sharpened


@dataclass(frozen=True)
class Config:
    """The settings of USB, the same for all data sets."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 1.0
    """w: weight of the term after the warm-up."""
    warm_up_fraction: Annotated[float, Interval(ge=0, lt=1)] = 0.002
    """Length of the warm-up as a share of the run, at least one step."""
    threshold_decay: Annotated[float, Interval(ge=1)] = 1.27
    """gamma: the threshold falls by this factor in a period."""
    period_fraction: Annotated[float, Interval(gt=0, le=1)] = 0.01
    """Length of a period as a share of the run."""
    smallest_threshold: Annotated[float, Interval(gt=0)] = 0.05
    """rho_min: the threshold, a loss in nats, falls no further."""
    temperature: Annotated[float, Interval(gt=0)] = 0.5
    """T: temperature of the target while the threshold falls."""
    translation: Annotated[float, Interval(ge=0, lt=1)] = 0.125
    """Largest translation of an image, as a share of its shorter side; in place of max_translation."""


SLACK = 1.0001
"""C."""


@METHODS.register("dash")
@final
class Dash(Method):
    """FixMatch that judges by losses; the state is the labeled loss at the end of the warm-up."""

    views = (View("weak"), View("strong"))
    joined = 2
    loss_sum: Tensor
    loss_count: Tensor

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.translation = config.translation
        self.register_buffer("loss_sum", torch.zeros(()))
        self.register_buffer("loss_count", torch.zeros((), dtype=torch.int64))

    def warm_up_steps(self, step: Step) -> int:
        return max(1, round(self.config.warm_up_fraction * step.num_steps))

    def weight(self, step: Step) -> float:
        return self.config.consistency_weight if step.index >= self.warm_up_steps(step) else 0.0

    def labeled(self, student: Network, batch: Batch, prediction: Prediction, step: Step) -> None:
        """Take in the labeled loss; the supervised term stays what it is."""
        if self.warm_up_steps(step) // 2 <= step.index < self.warm_up_steps(step):
            losses = F.cross_entropy(prediction.logits.detach(), batch.labels, reduction="none")
            self.loss_sum += gathered(losses).mean()
            self.loss_count += 1

    def threshold(self, step: Step) -> Tensor:
        """rho_t."""
        since = step.index - self.warm_up_steps(step)
        periods = int(since / (self.config.period_fraction * step.num_steps))
        first = self.loss_sum / self.loss_count.clamp(min=1)
        fallen = SLACK * self.config.threshold_decay ** -max(0, periods) * first
        return fallen.clamp(min=self.config.smallest_threshold)

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Targets:
        weak, strong = views
        logits, rho = weak.logits.detach(), self.threshold(step)
        q = logits.softmax(1)
        classes = F.one_hot(q.argmax(1), q.shape[1]).to(q.dtype)
        falls = rho > self.config.smallest_threshold
        target = torch.where(falls, sharpened(q, self.config.temperature), classes)
        losses = F.cross_entropy(logits, target, reduction="none")
        return Targets(strong.logits, target, (losses <= rho).to(q.dtype))
