"""MixMatch: labeled images and guessed ones are mixed with each other; mixtures are learned.

Berthelot et al., MixMatch: A Holistic Approach to Semi-Supervised Learning, NeurIPS 2019,
arXiv:1905.02249.

    q_u = Sharpen(1/2 (p(u_1) + p(u_2)), T),   Sharpen(q, T) = Normalize(q^(1/T))             (1)
    W = shuffle([X; U_1; U_2]),   l ~ Beta(alpha, alpha),  l' = max(l, 1 - l), for each image
    X', U' = l' [X; U_1; U_2] + (1 - l') W, and so the labels y and guesses q                 (2)
    L_sup = mean_b H(y'_b, p(x'_b)),   L_reg = mean_{u, c} (q'_u - p(u'))^2                   (3)
    eta_2(t) = lambda_U min(1, t / t_ramp)

| symbol | here | meaning |
| --- | --- | --- |
| u_1, u_2 | ``batch.views`` | two weak views |
| q, T | ``_guess``, ``temperature`` | sharpened mean prediction, a constant |
| alpha | ``mixing_alpha`` | parameter of the shares l |
| X', y', U', q' | ``images``, ``labels``, ``views``, ``targets`` of the mixed batch | mixtures |
| lambda_U, t_ramp | ``consistency_weight``, ``ramp_up_fraction`` | weight and its linear ramp-up |

The mean of L_reg runs over both views' images and over classes.

Passes, all in train mode: each view alone, without a gradient, with its own batch statistics, which
update nothing; then X', U'_1 and U'_2 as ONE batch, which alone updates BatchNorm's running statistics.
Gradients start at all logits of the mixtures.

With ISDA the labeled term is the bound for mixtures (``isda_cross_entropy``): with G = sum_k y'_k^2 G_k,

    L_sup = mean_b [ log sum_j exp(z_j + lambda/2 (e_j - y')^T G (e_j - y')) - y'^T z ]        (4)

The covariances learn from a pass of the images as they were, which leaves no trace. Nothing is added on
unlabeled images: no bound is known of a squared difference of probabilities, and Prop. 2 is about one
image and its class, not about a mixture.

Differs from the paper's code: it passes the mixtures in interleaved parts, of which the first updates
the running statistics, and decays weights by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

import torch
import torch.nn.functional as F
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
    constant_pass,
    linear_ramp_up,
)
from ssl_isda.training.mixing import mixed_with_all
from ssl_isda.training.sharpening import sharpened


@dataclass(frozen=True)
class Config:
    """The paper's settings for CIFAR-10."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 75.0
    """lambda_U: weight of the term after the ramp-up; 150 for CIFAR-100, 250 for SVHN, 50 for STL-10."""
    ramp_up_fraction: Annotated[float, Interval(ge=0, le=1)] = 0.015625
    """t_ramp as a share of the whole run (16,384 of 2^20 steps)."""
    temperature: Annotated[float, Interval(gt=0)] = 0.5
    """T: temperature of the guess; 1 leaves it as it is."""
    mixing_alpha: Annotated[float, Interval(gt=0)] = 0.75
    """alpha: parameter of the Beta distribution of shares."""
    translation: Annotated[float, Interval(ge=0, lt=1)] = 0.125
    """Largest translation of an image, as a share of its shorter side; in place of max_translation."""


@METHODS.register("mixmatch")
@final
class MixMatch(Method):
    """Cross-entropy and squared difference on mixtures; no state."""

    views = (View("weak"), View("weak"))
    joined = 2
    semantic = False
    needs_images = "mixes images"
    any_loss = False

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.translation = config.translation
        self.num_classes = num_classes

    def weight(self, step: Step) -> float:
        ramp = linear_ramp_up(step.progress, self.config.ramp_up_fraction)
        return self.config.consistency_weight * ramp

    def mix(self, student: Network, batch: Batch, step: Step) -> Batch:
        q = self._guess(student, batch, step)
        labels = F.one_hot(batch.labels, self.num_classes).to(q.dtype)
        streams = (batch.images, *batch.views)
        images, targets = mixed_with_all(streams, (labels, q, q), self.config.mixing_alpha, step)
        (labeled, *views), (labels, *wanted) = images, targets
        return Batch(labeled, labels, tuple(views), batch.indices, targets=tuple(wanted))

    def _guess(self, student: Network, batch: Batch, step: Step) -> Tensor:
        """q, (U, c)."""
        predictions = [
            constant_pass(student, view, step, f"guess {k}").logits.softmax(1)
            for k, view in enumerate(batch.views)
        ]
        return sharpened(torch.stack(predictions).mean(0), self.config.temperature)

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Tensor:
        pairs = zip(views, batch.targets, strict=True)
        return torch.stack([softmax_mse(view.logits, q) for view, q in pairs]).mean()
