"""Mean Teacher: the student should agree with the moving average of itself.

Tarvainen & Valpola, Mean teachers are better role models, NeurIPS 2017, arXiv:1703.01780.

    L_reg = 1/(U C) sum_u || p_s(u) - p_t(u) ||^2,     eta_2(t) = w r(t)
    after each step:  theta' <- a theta' + (1 - a) theta,   a = min(1 - 1/(s + 1), decay)

| symbol | here | meaning |
| --- | --- | --- |
| p_s, p_t | first view's ``logits``, ``target`` after softmax | student and teacher; p_t is a constant |
| theta, theta' | ``student``, ``teacher`` | parameters; the teacher takes no gradient |
| a | ``decay`` | moving-average decay after s steps |
| w, r(t) | ``consistency_weight``, ``gaussian_ramp_up`` | weight and its ramp-up |

The mean runs over images and classes. The teacher looks at the second view, with its own flip,
translation, noise and dropout masks. It is the network that is tested.

What BatchNorm sees: the student, labeled images and first views as one batch, which updates its
running statistics. The teacher is in train mode too: its own batch statistics, and running ones fed
by its own passes; they are not averaged with the parameters.

Differs from the paper: with a cross-entropy averaged over labeled images w needs no factor M/N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor, nn

from ssl_isda.losses.consistency import softmax_mse
from ssl_isda.training.ema import Ema, warmed_up_decay
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
)


@dataclass(frozen=True)
class Config:
    """The paper's settings for CIFAR-10; SVHN ramps up with a decay of 0.99."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 100.0
    """w: weight of the consistency term after the ramp-up."""
    ramp_up_fraction: Annotated[float, Interval(ge=0, le=1)] = 0.2
    """t_ramp as a share of the whole run (80 of 400 epochs)."""
    ema_decay: Annotated[float, Interval(ge=0, lt=1)] = 0.999
    """Largest decay of the teacher's moving average, per step."""
    ramp_up_ema_decay: Annotated[float, Interval(ge=0, lt=1)] = 0.999
    """The same while the weight still ramps up."""
    input_noise: Annotated[float, Interval(ge=0)] = 0.15
    """Standard deviation of Gaussian input noise, in units of prepared pixels."""


@METHODS.register("mean_teacher")
@final
class MeanTeacher(Method):
    """MSE between student and teacher; the state is the teacher."""

    dense = True

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.views = (View(noise=config.input_noise), View(noise=config.input_noise))
        self.ema = Ema(student, config.ema_decay)
        self.teacher = self.ema.network

    def weight(self, step: Step) -> float:
        ramp = gaussian_ramp_up(step.progress, self.config.ramp_up_fraction)
        return self.config.consistency_weight * ramp

    def decay(self, step: Step) -> float:
        """a after this step: the plain mean of all steps at first, then the configured decay."""
        ramping = step.progress < self.config.ramp_up_fraction
        largest = self.config.ramp_up_ema_decay if ramping else self.config.ema_decay
        return warmed_up_decay(step, largest)

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Tensor:
        with torch.no_grad(), step.global_draws("teacher", batch.views[1].device):
            target, _ = self.teacher(batch.views[1])
        return softmax_mse(views[0].logits, target.softmax(1))

    def after_step(self, student: Network, step: Step) -> None:
        self.ema.follow(student, self.decay(step))

    def evaluated(self, student: Network) -> nn.Module:
        return self.teacher
