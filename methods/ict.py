"""ICT: of a mixture of two images the student predicts the mixture of the teacher's predictions.

Verma et al., Interpolation Consistency Training for Semi-Supervised Learning, IJCAI 2019,
arXiv:1903.03825.

    L_reg = mean_{u, c} ( p_s(l u + (1 - l) u~) - [l p_t(u) + (1 - l) p_t(u~)] )^2       (1)
    l ~ Beta(alpha, alpha), one a step;  u~ = u in another order;  eta_2(t) = w r(t)     (2)
    after each step:  theta' <- a theta' + (1 - a) theta,   a = min(1 - 1/(s + 1), decay)

| symbol | here | meaning |
| --- | --- | --- |
| p_s | first view's ``logits`` after softmax | student's prediction of the mixture |
| p_t | ``_teachers`` | teacher's predictions of the images as they are, constants |
| theta, theta' | ``student``, ``teacher`` | parameters; the teacher takes no gradient |
| a | ``decay`` | moving-average decay after s steps |
| w, r(t) | ``consistency_weight``, ``gaussian_ramp_up`` | weight and its ramp-up |

The mean runs over images and classes. The teacher is the network that is tested.

Passes, all in train mode: the teacher sees the unlabeled images as they are, without a gradient; the
student labeled images and mixtures as ONE batch. Each feeds its own running statistics by its own
pass. Gradients start at the labeled logits and at those of the mixtures.

With ISDA the labeled term is Prop. 1. Nothing is added on unlabeled images: no bound is known of a
squared difference of probabilities, and Prop. 2 is about one image and its class, not about a mixture.

Differs from the authors' code, which mixes the teacher's logits where the paper mixes predictions, and
passes both streams one after the other.
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
    gathered,
    gaussian_ramp_up,
    part,
)
from ssl_isda.training.mixing import drawn_shares, interpolated


@dataclass(frozen=True)
class Config:
    """The authors' settings for CIFAR-10."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 100.0
    """w: weight of the consistency term after the ramp-up."""
    ramp_up_fraction: Annotated[float, Interval(ge=0, le=1)] = 0.25
    """t_ramp as a share of the whole run (100 of 400 epochs)."""
    ema_decay: Annotated[float, Interval(ge=0, lt=1)] = 0.999
    """Largest decay of the teacher's moving average, per step."""
    mixing_alpha: Annotated[float, Interval(gt=0)] = 1.0
    """alpha: parameter of the Beta distribution of the share; 0.1 for SVHN."""


@METHODS.register("ict")
@final
class ICT(Method):
    """MSE between prediction of a mixture and mixture of predictions; the state is the teacher."""

    semantic = False
    needs_images = "mixes images"

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.ema = Ema(student, config.ema_decay)
        self.teacher = self.ema.network

    def weight(self, step: Step) -> float:
        ramp = gaussian_ramp_up(step.progress, self.config.ramp_up_fraction)
        return self.config.consistency_weight * ramp

    def mix(self, student: Network, batch: Batch, step: Step) -> Batch:
        (images,) = batch.views
        predictions = self._teachers(images, step)
        others, of_others = gathered(images), gathered(predictions)
        order = torch.randperm(len(others), generator=step.generator("mixing order"))
        places = part(order).to(images.device)
        share = drawn_shares(1, self.config.mixing_alpha, step, "mixing share").expand(len(images))
        mixed = interpolated(images, others[places], share)
        target = interpolated(predictions, of_others[places], share)
        return Batch(batch.images, batch.labels, (mixed,), batch.indices, targets=(target,))

    def _teachers(self, images: Tensor, step: Step) -> Tensor:
        """p_t, (U, c)."""
        with torch.no_grad(), step.global_draws("teacher", images.device):
            logits, _ = self.teacher(images)
        probabilities: Tensor = logits.softmax(1)
        return probabilities

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Tensor:
        return softmax_mse(views[0].logits, batch.targets[0])

    def after_step(self, student: Network, step: Step) -> None:
        self.ema.follow(student, warmed_up_decay(step, self.config.ema_decay))

    def evaluated(self, student: Network) -> nn.Module:
        return self.teacher
