"""ISDA at a step of training, in the variant that the settings choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.base.precision import full_precision
from ssl_isda.base.shapes import Float, Int
from ssl_isda.base.step import Step
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.controls import (
    PermutedCovariance,
    RotatedCovariance,
    ShrunkCovariance,
    entropy_minimization,
)
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.labels import classes_in_use
from ssl_isda.isda.learned import Covariance, LearnedCovariance
from ssl_isda.isda.propositions import (
    augmented_logits,
    centered_semantic_consistency,
    isda_cross_entropy,
    second_order_consistency,
    semantic_consistency,
    soft_isda_cross_entropies,
)
from ssl_isda.isda.sampled import moved_logits, sampled_logits, sampled_semantic_consistency
from ssl_isda.isda.variances import variance_to_target
from ssl_isda.models.contract import linear_map
from ssl_isda.tasks.contract import Rows

_CLOSED_FORMS = {
    "upper_bound": semantic_consistency,
    "centered_bound": centered_semantic_consistency,
    "second_order": second_order_consistency,
    "entropy": entropy_minimization,
}
_WITH_EXPONENTS = ("upper_bound", "centered_bound")


def class_covariance(config: IsdaConfig, num_classes: int, num_features: int) -> Covariance:
    """What the terms take Sigma from."""
    if config.covariance == "learned":
        return LearnedCovariance(num_classes, num_features)
    if config.covariance == "permuted":
        return PermutedCovariance(num_classes, num_features)
    if config.covariance == "rotated":
        return RotatedCovariance(num_classes, num_features)
    if config.shrinkage:
        return ShrunkCovariance(num_classes, num_features, config.shrinkage)
    return ClassCovariance(num_classes, num_features, config.covariance)


@torch.no_grad()
@full_precision
def strength_ratio(
    weight: Float[Tensor, "c a"],
    reference: ClassCovariance,
    covariance: Covariance,
    labels: Int[Tensor, " n"],
) -> Float[Tensor, ""]:
    """The factor on lambda that gives ``covariance`` the mean of q_y[j, y] over a batch, over rows and
    classes j, that ``reference`` has; 0 where ``covariance`` is 0."""
    classes, positions = classes_in_use(labels, covariance.num_classes)
    wanted, given = (
        variance_to_target(weight, each, classes)[positions].mean()
        for each in (reference, covariance)
    )
    return torch.where(given > 0, wanted / given, 0)


@final
@dataclass(frozen=True)
class IsdaTerms:
    """ISDA at one step. Rows are the student's, with their graph."""

    config: IsdaConfig
    covariance: Covariance
    head: nn.Linear | nn.Conv2d
    step: Step
    ratio: Tensor | None = None
    """The factor of ``strength_ratio`` on lambda, if the strength is matched."""

    @property
    def strength(self) -> float | Tensor:
        """lambda at this step."""
        strength = self.config.strength(self.step.progress)
        return strength if self.ratio is None else strength * self.ratio

    @property
    def weight(self) -> Tensor:
        """W, (c, a)."""
        return linear_map(self.head)[0]

    def augmented(self, rows: Rows) -> Rows:
        """The rows that a supervised loss is to see: with the logits of Prop. 1 and the mean of what that
        added to them, or M draws of each (Eq. 5). Their plain cross-entropy is that bound, or the mean
        over the draws.

        Raises
        ------
        UsageError
            Labels are mixtures of classes, for which no logits have that cross-entropy.
        """
        num_samples = self.config.augmentation_samples
        if num_samples is None:
            if rows.labels.is_floating_point():
                raise UsageError(
                    "ISDA bounds the cross-entropy of mixed images: use --loss cross_entropy, or "
                    "--augmentation explicit with another loss"
                )
            logits = augmented_logits(
                *(rows.logits, rows.labels, self.weight, self.covariance, self.strength),
                max_exponent=self.config.max_exponent,
            )
            return rows._replace(logits=logits, added=(logits - rows.logits).mean(1))
        draws = sampled_logits(
            *(rows.features, rows.labels, *linear_map(self.head)),
            *(self.covariance, self.strength, num_samples),
            self.step.generator("augmented labeled features", rows.features.device),
        )
        return Rows(
            draws.flatten(0, 1),
            rows.features.repeat(num_samples, 1),
            _repeated(rows.labels, num_samples),
        )

    def semantic(self, logits: Tensor, features: Tensor, classes: Tensor | None = None) -> Tensor:
        """A closed form of the consistency of unlabeled images, or M draws of what Prop. 2 bounds;
        ``classes`` are those of the covariances, unless the logits choose them."""
        num_samples = self.config.augmentation_samples
        if num_samples is None:
            closed_form: Callable[..., Tensor] = _CLOSED_FORMS[self.config.consistency]
            if self.config.consistency in _WITH_EXPONENTS:
                closed_form = partial(closed_form, max_exponent=self.config.max_exponent)
            if classes is not None:
                closed_form = partial(closed_form, classes=classes)
            shared = (logits, self.weight, self.covariance, self.strength)
            if not self.config.semantic_threshold:
                return closed_form(*shared)
            return (closed_form(*shared, reduction="none") * self.is_certain(logits)).mean()
        return sampled_semantic_consistency(
            *(features, *linear_map(self.head), self.covariance, self.strength),
            num_samples=num_samples,
            generator=self.step.generator("augmented unlabeled features", features.device),
        )

    def is_certain(self, logits: Tensor) -> Tensor:
        """(n,), 1 for the unlabeled images that enter the semantic consistency, 0 for the others."""
        largest = logits.detach().softmax(1).amax(1)
        return (largest >= self.config.semantic_threshold).to(logits.dtype)

    def cross_entropies(self, logits: Tensor, target: Tensor, *, mixed: bool = False) -> Tensor:
        """Of each row with a target that a method chose, (n,): Prop. 1 for classes, Prop. 2 for
        probabilities, or the mean over M draws a~, whose logits are z + sqrt(lambda) W eps.

        Probabilities of ``mixed`` images are the shares of their classes, each of which brings its own
        Sigma (``isda_cross_entropy``); others are about one image, and Sigma is that of the largest.
        """
        num_samples = self.config.augmentation_samples
        shared = (self.weight, self.covariance, self.strength)
        most = self.config.max_exponent
        if num_samples is None and mixed and target.ndim == 2:
            return isda_cross_entropy(logits, target, *shared, reduction="none", max_exponent=most)
        if num_samples is None and target.ndim == 1:
            augmented = augmented_logits(logits, target, *shared, max_exponent=most)
            return F.cross_entropy(augmented, target, reduction="none")
        if num_samples is None:
            return soft_isda_cross_entropies(logits, target, *shared, max_exponent=most)
        generator = self.step.generator("augmented features of targets", logits.device)
        labels = target if mixed else hard(target)
        draws = moved_logits(logits, labels, *shared, num_samples, generator)  # (m, n, c)
        repeated = _repeated(target, num_samples)
        every = F.cross_entropy(draws.flatten(0, 1), repeated, reduction="none")
        return every.view(num_samples, -1).mean(0)


def hard(target: Tensor) -> Tensor:
    """Classes, (n,), of a target that is classes or probabilities."""
    return target if target.ndim == 1 else target.argmax(1)


def _repeated(target: Tensor, times: int) -> Tensor:
    return target.repeat(times, *[1] * (target.ndim - 1))
