"""ReMixMatch: MixMatch with aligned guesses, learned on strong views, and with rotations to be told.

Berthelot et al., ReMixMatch: Semi-Supervised Learning with Distribution Matching and Augmentation
Anchoring, ICLR 2020, arXiv:1911.09785.

    q_u = Sharpen(Normalize(p(weak(u)) p(y) / p~(y)), T)                                           (1)
    X', U' = MixUp of [strong(X); strong_1(U); ..; strong_K(U); weak(U)] with itself in another
             order, as in MixMatch, with labels y and guesses q                                    (2)
    L_sup = mean H(y', p(x'))                                                                      (3)
    L_reg = r(t) [lambda_u mean H(q', p(u')) + lambda_1 mean H(q, p(strong_1(u)))]
            + lambda_r mean H(angle, rotation(strong_1(u) turned by it))                           (4)

| symbol | here | meaning |
| --- | --- | --- |
| q, T | ``_guess``, ``temperature`` | aligned and sharpened prediction, a constant |
| p(y), p~(y) | ``alignment`` | frequencies of the labels; mean of the last 128 batches' predictions |
| K, alpha | ``strong_views``, ``mixing_alpha`` | strong views; parameter of the shares |
| lambda_u, lambda_1, lambda_r | ``mixed_weight``, ``strong_weight``, ``rotation_weight`` | weights |
| r(t) | ``ramp_up_fraction`` | linear ramp-up |
| rotation | ``rotation`` | a second head on the student's features: 0, 90, 180 or 270 degrees |

Means run over images. A quarter of the images is turned by each angle. ISDA knows nothing of the second
head.

Passes, all in train mode: weak views alone, without a gradient, with their own batch statistics, which
update nothing; then X', all U', strong_1(U) and its turned images as ONE batch, which alone updates
BatchNorm's running statistics. Gradients start at all logits of that batch and at the rotations'.

With ISDA (3) is the bound for mixtures (``isda_cross_entropy``), and the second part of (4), which is of
images as they are, Prop. 2 with the target q on the strong view's logits z:

    mean_u sum_k q_k [ log sum_j exp(z_j + lambda/2 v_jk) - z_k ],   v_jk = q_m[j, k],  m = argmax q   (5)

Mixtures of guesses and rotations stay on plain logits, and Eq. 19's consistency is left out: the first
view is a mixture. The covariances learn from a pass of the labeled images as they were.

Differs from the paper: RandAugment's strong views (the paper learns what it draws), and one batch for
all passes, where the paper's code interleaves parts and the last one updates the running statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.base.randomness import generator
from ssl_isda.training.alignment import DistributionAlignment
from ssl_isda.training.method import (
    METHODS,
    Batch,
    Group,
    Interval,
    Method,
    Network,
    Prediction,
    Step,
    Targets,
    Term,
    View,
    constant_pass,
    linear_ramp_up,
    part,
    whole,
)
from ssl_isda.training.mixing import mixed_with_all
from ssl_isda.training.sharpening import sharpened


@dataclass(frozen=True)
class Config:
    """The paper's settings for CIFAR-10 and SVHN from 250 labels on, but for K, which is 8 there."""

    mixed_weight: Annotated[float, Interval(ge=0)] = 1.5
    """lambda_u: weight of the mixtures' cross-entropy."""
    strong_weight: Annotated[float, Interval(ge=0)] = 0.5
    """lambda_1: weight of the first strong view's cross-entropy."""
    rotation_weight: Annotated[float, Interval(ge=0)] = 0.5
    """lambda_r: weight of the rotations; with 40 labels 2 for CIFAR-10 and 3 for SVHN."""
    ramp_up_fraction: Annotated[float, Interval(ge=0, le=1)] = 0.015625
    """Length of r as a share of the whole run (16,384 of 2^20 steps)."""
    strong_views: Annotated[int, Interval(ge=1)] = 2
    """K: strong views of each unlabeled image."""
    temperature: Annotated[float, Interval(gt=0)] = 0.5
    """T: temperature of the guess; 1 leaves it as it is."""
    mixing_alpha: Annotated[float, Interval(gt=0)] = 0.75
    """alpha: parameter of the Beta distribution of shares."""
    translation: Annotated[float, Interval(ge=0, lt=1)] = 0.125
    """Largest translation of an image, as a share of its shorter side; in place of max_translation."""


@METHODS.register("remixmatch")
@final
class ReMixMatch(Method):
    """Cross-entropies of mixtures, strong views and rotations; the state is alignment and second head."""

    labeled_views = (View("strong"),)
    semantic = False
    needs_images = "mixes and turns images"
    any_loss = False

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.translation = config.translation
        self.views = (View("weak"), *[View("strong")] * config.strong_views)
        self.joined = len(self.views) + 2
        self.alignment = DistributionAlignment(num_classes)
        self.rotation = _head(student.head.weight.shape[1])

    def groups(self) -> list[Group]:
        return [Group(list(self.rotation.parameters()))]

    def mix(self, student: Network, batch: Batch, step: Step) -> Batch:
        """The batch with all strong views, labeled ones first, mixed with each other, and with the first
        strong view of each unlabeled image as it is and turned."""
        weak, first, *_ = batch.views
        q = self._guess(student, weak, batch.labels, step)
        labels = F.one_hot(batch.labels, self.num_classes).to(q.dtype)
        unlabeled = [*batch.views[1:], weak]
        streams, targets = [batch.labeled_views[0], *unlabeled], [labels, *[q] * len(unlabeled)]
        images, mixed = mixed_with_all(streams, targets, self.config.mixing_alpha, step)
        return replace(
            batch,
            images=images[0],
            labels=mixed[0],
            views=(*images[1:], first, turned(first, angles(len(first)))),
            labeled_views=(),
            targets=(*mixed[1:], q),
        )

    def _guess(self, student: Network, weak: Tensor, labels: Tensor, step: Step) -> Tensor:
        """q, (U, c)."""
        probabilities = constant_pass(student, weak, step, "guess").logits.softmax(1)
        return sharpened(self.alignment(probabilities, labels), self.config.temperature)

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> list[Term]:
        """The terms of mixed views, of the first strong view, and of the angle by which it was turned."""
        *mixed, first, rotated = views
        *targets, q = batch.targets
        ramp = linear_ramp_up(step.progress, self.config.ramp_up_fraction)
        pairs = zip(mixed, targets, strict=True)
        of_mixed = torch.stack([F.cross_entropy(view.logits, p) for view, p in pairs]).mean()
        weight = q.new_full((len(q),), ramp * self.config.strong_weight)
        wanted = angles(len(q)).to(q.device)
        of_rotated = F.cross_entropy(self.rotation(rotated.features), wanted)
        return [
            ramp * self.config.mixed_weight * of_mixed,
            Targets(first.logits, q, weight),
            self.config.rotation_weight * of_rotated,
        ]


def _head(num_features: int) -> nn.Linear:
    """Four classes, small weights that are the same for every run."""
    head: nn.Linear = nn.utils.skip_init(nn.Linear, num_features, 4)
    draws = torch.randn(head.weight.shape, generator=generator(0, 0, "rotation head"))
    head.weight.data.copy_(draws / num_features**0.5)
    head.bias.data.zero_()
    return head


def angles(n: int) -> Tensor:
    """(n,) int64 on the CPU: by how many quarter turns each image of this process is turned."""
    return part(torch.arange(whole([n])[0]) % 4)


def turned(images: Tensor, quarters: Tensor) -> Tensor:
    """(n, C, H, H), each turned counterclockwise.

    Raises
    ------
    UsageError
        The images are not square.
    """
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise UsageError("--method remixmatch turns images by 90 degrees: they must be square")
    result = images.clone()
    for k in (1, 2, 3):
        rows = (quarters == k).nonzero()[:, 0].to(images.device)
        result[rows] = torch.rot90(images[rows], k, (2, 3))
    return result
