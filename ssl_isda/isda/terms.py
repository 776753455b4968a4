"""The two ISDA terms of Eq. 19, in the variant that the settings choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from ssl_isda.base.step import Step
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.learned import Covariance, LearnedCovariance
from ssl_isda.isda.propositions import (
    centered_semantic_consistency,
    isda_cross_entropy,
    sampled_isda_cross_entropy,
    sampled_semantic_consistency,
    second_order_consistency,
    semantic_consistency,
)

_CLOSED_FORMS = {
    "upper_bound": semantic_consistency,
    "centered_bound": centered_semantic_consistency,
    "second_order": second_order_consistency,
}


def class_covariance(config: IsdaConfig, num_classes: int, num_features: int) -> Covariance:
    """What the terms take Sigma from."""
    if config.covariance == "learned":
        return LearnedCovariance(num_classes, num_features)
    return ClassCovariance(num_classes, num_features, config.covariance)


@final
@dataclass(frozen=True)
class IsdaTerms:
    """ISDA at one step. Logits (n, c) and features (n, a) are the student's, with their graph."""

    config: IsdaConfig
    covariance: Covariance
    head: nn.Linear
    step: Step

    @property
    def strength(self) -> float:
        """lambda at this step."""
        return self.config.strength(self.step.progress)

    def supervised(self, logits: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Prop. 1, or the mean cross-entropy of M draws (Eq. 5)."""
        weight, bias, num_samples = (
            self.head.weight,
            self.head.bias,
            self.config.augmentation_samples,
        )
        if num_samples is None:
            return isda_cross_entropy(logits, labels, weight, self.covariance, self.strength)
        return sampled_isda_cross_entropy(
            *(features, labels, weight, bias, self.covariance, self.strength),
            num_samples=num_samples,
            generator=self.step.generator("augmented labeled features", features.device),
        )

    def semantic(self, logits: Tensor, features: Tensor) -> Tensor:
        """A closed form of the consistency of unlabeled images, or M draws of what Prop. 2 bounds."""
        weight, bias, num_samples = (
            self.head.weight,
            self.head.bias,
            self.config.augmentation_samples,
        )
        if num_samples is None:
            closed_form = _CLOSED_FORMS[self.config.consistency]
            return closed_form(logits, weight, self.covariance, self.strength)
        return sampled_semantic_consistency(
            *(features, weight, bias, self.covariance, self.strength),
            num_samples=num_samples,
            generator=self.step.generator("augmented unlabeled features", features.device),
        )
