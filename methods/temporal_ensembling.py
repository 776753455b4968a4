"""Temporal ensembling: an image's prediction should agree with the average of its earlier ones.

Laine & Aila, Temporal Ensembling for Semi-Supervised Learning, ICLR 2017, arXiv:1610.02242, Alg. 2.

    L_reg = 1/(U C) sum_u || p(u) - z~(u) ||^2,        eta_2(t) = w r(t), 0 in the first epoch
    after each epoch, for every image seen in it:  Z <- alpha Z + (1 - alpha) p,
                                                   z~ = Z / (1 - alpha^n)

| symbol | here | meaning |
| --- | --- | --- |
| p | ``probabilities`` | training-mode prediction |
| Z | ``ensemble`` | running average, (N, C) |
| n | ``count`` | epochs in which the image was seen |
| z~ | ``targets`` | startup-corrected average, a constant |
| alpha | ``ensemble_momentum`` | momentum of the average |

The mean runs over images and classes. Targets are indexed by the image's place in the training set
and belong to the unlabeled stream alone. One view, new at each epoch, flips included.

What BatchNorm sees: labeled images and views as one batch, which updates the running statistics.

Differs from the paper: an epoch drops its last incomplete batch, so the startup correction counts
per image, and an image without a target yet adds nothing; weight and ramp as in the Π-model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor

from ssl_isda.training.method import (
    METHODS,
    Batch,
    Interval,
    Method,
    Network,
    Prediction,
    Step,
    View,
    gathered,
    gaussian_ramp_up,
)


@dataclass(frozen=True)
class Config:
    """The paper's settings for CIFAR-10 and SVHN; CIFAR-100 takes a weight of 100."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 30.0
    """w: weight of the consistency term after the ramp-up."""
    ramp_up_fraction: Annotated[float, Interval(ge=0, le=1)] = 0.2
    """t_ramp as a share of the whole run (80 of 400 epochs)."""
    ensemble_momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.6
    """alpha: momentum of the average over epochs."""
    input_noise: Annotated[float, Interval(ge=0)] = 0.15
    """Standard deviation of Gaussian input noise, in units of prepared pixels."""


@METHODS.register("temporal_ensembling")
@final
class TemporalEnsembling(Method):
    """MSE between a prediction and the ensemble of the same image's earlier predictions."""

    ensemble: Tensor
    predictions: Tensor
    seen: Tensor
    count: Tensor

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.views = (View(noise=config.input_noise),)
        self.register_buffer("ensemble", torch.zeros(num_images, num_classes))
        self.register_buffer("predictions", torch.zeros(num_images, num_classes))
        self.register_buffer("seen", torch.zeros(num_images, dtype=torch.bool))
        self.register_buffer("count", torch.zeros(num_images, dtype=torch.int64))

    def weight(self, step: Step) -> float:
        if step.epoch == 0:
            return 0.0
        ramp = gaussian_ramp_up(step.progress, self.config.ramp_up_fraction)
        return self.config.consistency_weight * ramp

    def targets(self, indices: Tensor) -> Tensor:
        """z~ for these images, (U, C); zero for one that no finished epoch has seen."""
        correction = 1 - self.config.ensemble_momentum ** self.count[indices].double()
        return (self.ensemble[indices] / correction.clamp(min=1e-12).unsqueeze(1)).to(
            self.ensemble.dtype
        )

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Tensor:
        probabilities = views[0].logits.softmax(1)
        known = (self.count[batch.indices] > 0).unsqueeze(1)
        indices = gathered(batch.indices)
        self.predictions[indices] = gathered(probabilities).to(self.predictions.dtype)
        self.seen.index_fill_(0, indices, True)  # no scalar to be copied to the GPU
        return (known * (probabilities - self.targets(batch.indices)).square()).mean()

    @torch.no_grad()
    def after_step(self, student: Network, step: Step) -> None:
        if not step.is_last_of_epoch:
            return
        alpha = self.config.ensemble_momentum
        updated = alpha * self.ensemble + (1 - alpha) * self.predictions
        self.ensemble.copy_(torch.where(self.seen.unsqueeze(1), updated, self.ensemble))
        self.count += self.seen
        self.seen.zero_()
