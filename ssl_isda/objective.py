"""Eq. 19 of ISDA: the whole objective of a training step.

L = L_supervised(labeled) + eta_1 L_semantic(unlabeled) + eta_2(t) L_regularization(unlabeled)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.batch import Batch
from ssl_isda.batchnorm import frozen_running_statistics
from ssl_isda.covariance import ClassCovariance, Form
from ssl_isda.distributed import gathered
from ssl_isda.losses import isda_cross_entropy, semantic_consistency
from ssl_isda.models.registry import Classifier
from ssl_isda.regularizer import UNLABELED_PASS, Regularizer
from ssl_isda.schedules import isda_strength
from ssl_isda.step import Step
from ssl_isda.whole_batch import streams


@dataclass(frozen=True)
class IsdaConfig:
    """ISDA's own settings."""

    lambda_0: float = 0.5
    """Strength of the augmentation at the end of training: lambda = lambda_0 t/T."""
    eta_1: float = 1.0
    """Weight of the semantic consistency on unlabeled images."""
    covariance: Form = "full"
    """Form of the class covariances."""


@dataclass(frozen=True)
class Terms:
    """The terms of Eq. 19, unweighted, with the weights in force at this step."""

    losses: dict[str, Tensor]
    weights: dict[str, float]

    @property
    def total(self) -> Tensor:
        """L: the sum of weight times term."""
        return torch.stack([self.weights[name] * loss for name, loss in self.losses.items()]).sum()


class Objective(nn.Module):
    """Composes the three terms and owns the state of ISDA.

    Without ``isda`` the first term is plain cross-entropy and the second does not exist. With it the
    covariances take in the features of the labeled batch first and are used then (Alg. 1), by the
    same code for every method.
    """

    def __init__(
        self, regularizer: Regularizer, isda: IsdaConfig | None, num_classes: int, num_features: int
    ) -> None:
        super().__init__()
        self.regularizer = regularizer
        self.isda = isda
        self.covariance = (
            ClassCovariance(num_classes, num_features, isda.covariance) if isda else None
        )

    def forward(self, student: Classifier, batch: Batch, step: Step) -> Terms:
        """The terms for one batch; only ``student`` in train mode makes sense."""
        logits, features, unlabeled = self._predict(student, batch, step)
        losses, weights = {}, {"supervised": 1.0}
        if self.isda and self.covariance:
            strength, head = isda_strength(self.isda.lambda_0, step.progress), student.head.weight
            self.covariance.update(gathered(features), gathered(batch.labels))
            losses["supervised"] = isda_cross_entropy(
                logits, batch.labels, head, self.covariance, strength
            )
            if unlabeled is not None:
                weights["semantic"] = self.isda.eta_1
                losses["semantic"] = semantic_consistency(
                    unlabeled, head, self.covariance, strength
                )
        else:
            losses["supervised"] = F.cross_entropy(logits, batch.labels)
        if unlabeled is not None:
            weights["consistency"] = self.regularizer.weight(step)
            losses["consistency"] = self.regularizer(student, batch, unlabeled, step)
        return Terms(losses, weights)

    def _predict(
        self, student: Classifier, batch: Batch, step: Step
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits and features of the labeled images, logits of the first views (if there are any)."""
        device, num_labeled = batch.images.device, len(batch.labels)
        joined = bool(batch.views) and self.regularizer.joins_streams
        images = torch.cat([batch.images, batch.views[0]]) if joined else batch.images
        lengths = (num_labeled, len(images) - num_labeled)
        with step.global_draws("labeled pass", device), streams(*lengths):
            logits, features = student(images)
        if joined:
            return logits[:num_labeled], features[:num_labeled], logits[num_labeled:]
        if not batch.views:
            return logits, features, None
        # After the labeled pass: autocast reuses the weights it has cast, and those need their graph.
        differentiated = self.isda is not None or self.regularizer.uses_logits_gradient
        with (
            frozen_running_statistics(student),
            step.global_draws(UNLABELED_PASS, device),
            torch.set_grad_enabled(differentiated and torch.is_grad_enabled()),
        ):
            unlabeled, _ = student(batch.views[0])
        return logits, features, unlabeled
