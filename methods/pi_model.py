"""Π-model: two stochastic passes over one image should agree.

Laine & Aila, Temporal Ensembling for Semi-Supervised Learning, ICLR 2017, arXiv:1610.02242, Alg. 1.

    L_reg = 1/(U C) sum_u || p_a(u) - p_b(u) ||^2,     eta_2(t) = w r(t)

| symbol | here | meaning |
| --- | --- | --- |
| p_a, p_b | ``first``, ``second`` after softmax | predictions for two augmented views |
| w | ``consistency_weight`` | weight after the ramp-up |
| r(t) | ``gaussian_ramp_up`` | exp(-5 (1 - t / t_ramp)^2) |

The mean runs over images and classes; the gradient flows through BOTH branches. The views share the
flip, each has its own translation, input noise and dropout masks.

What BatchNorm sees: labeled images and first views as one batch, which alone updates the running
statistics; the second views use their own batch statistics.

Differs from the paper: with a cross-entropy averaged over labeled images w needs no factor M/N; the
ramp moves every step instead of every epoch, and its first epoch is not cut to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

from torch import Tensor

from ssl_isda.losses.consistency import softmax_mse
from ssl_isda.training.method import (
    METHODS,
    Batch,
    Interval,
    Method,
    Network,
    Prediction,
    Step,
    View,
    gaussian_ramp_up,
    separate_pass,
)


@dataclass(frozen=True)
class Config:
    """The paper's settings for CIFAR-10, CIFAR-100 and SVHN alike."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 100.0
    """w: weight of the consistency term after the ramp-up."""
    ramp_up_fraction: Annotated[float, Interval(ge=0, le=1)] = 0.2
    """t_ramp as a share of the whole run (80 of 400 epochs)."""
    input_noise: Annotated[float, Interval(ge=0)] = 0.15
    """Standard deviation of Gaussian input noise, in units of prepared pixels."""


@METHODS.register("pi_model")
@final
class PiModel(Method):
    """MSE between the predictions for two views; no state."""

    dense = True

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        first = View(noise=config.input_noise)
        self.views = (first, View(same_flip_as=0, noise=config.input_noise))

    def weight(self, step: Step) -> float:
        ramp = gaussian_ramp_up(step.progress, self.config.ramp_up_fraction)
        return self.config.consistency_weight * ramp

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Tensor:
        second = separate_pass(student, batch.views[1], step, masks="second view")
        return softmax_mse(views[0].logits, second.logits.softmax(1))
