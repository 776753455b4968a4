"""Eq. 19 of ISDA: the whole objective of a training step.

L = L_supervised(labeled) + eta_1 L_semantic(unlabeled) + eta_2(t) L_regularization(unlabeled)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.step import Step
from ssl_isda.data.batch import Batch
from ssl_isda.isda.config import IsdaConfig as IsdaConfig
from ssl_isda.isda.learned import LearnedCovariance
from ssl_isda.isda.terms import IsdaTerms, class_covariance
from ssl_isda.models.contract import Classifier
from ssl_isda.parallel.distributed import gathered
from ssl_isda.parallel.whole_batch import streams
from ssl_isda.training.batchnorm import frozen_running_statistics
from ssl_isda.training.method import UNLABELED_PASS, Regularizer

Prediction = tuple[Tensor, Tensor]
"""Logits (n, c) and features (n, a)."""


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
    same code for every method. Learned covariances add their uncertainty loss.
    """

    def __init__(
        self, regularizer: Regularizer, isda: IsdaConfig | None, num_classes: int, num_features: int
    ) -> None:
        super().__init__()
        self.regularizer = regularizer
        self.isda = isda
        self.covariance = class_covariance(isda, num_classes, num_features) if isda else None

    def trained_parameters(self) -> list[nn.Parameter]:
        """What the optimizer trains beside the student: learned covariances."""
        return list(self.covariance.parameters()) if self.covariance else []

    def forward(self, student: Classifier, batch: Batch, step: Step) -> Terms:
        """The terms for one batch; only ``student`` in train mode makes sense."""
        (logits, features), unlabeled = self._predict(student, batch, step)
        losses, weights = {}, {"supervised": 1.0}
        if self.isda and self.covariance:
            self.covariance.update(gathered(features), gathered(batch.labels))
            terms = IsdaTerms(self.isda, self.covariance, student.head, step)
            losses["supervised"] = terms.supervised(logits, features, batch.labels)
            if unlabeled is not None:
                weights["semantic"] = self.isda.eta_1
                losses["semantic"] = terms.semantic(*unlabeled)
            if isinstance(self.covariance, LearnedCovariance):
                weights["uncertainty"] = self.isda.uncertainty_weight or 0.0
                losses["uncertainty"] = self.covariance.uncertainty_loss()
        else:
            losses["supervised"] = F.cross_entropy(logits, batch.labels)
        if unlabeled is not None:
            weights["consistency"] = self.regularizer.weight(step)
            losses["consistency"] = self.regularizer(student, batch, unlabeled[0], step)
        return Terms(losses, weights)

    def _predict(
        self, student: Classifier, batch: Batch, step: Step
    ) -> tuple[Prediction, Prediction | None]:
        """Of the labeled images, and of the first views (if there are any)."""
        device, num_labeled = batch.images.device, len(batch.labels)
        joined = bool(batch.views) and self.regularizer.joins_streams
        images = torch.cat([batch.images, batch.views[0]]) if joined else batch.images
        lengths = (num_labeled, len(images) - num_labeled)
        with step.global_draws("labeled pass", device), streams(*lengths):
            logits, features = student(images)
        if joined:
            first, rest = slice(num_labeled), slice(num_labeled, None)
            return (logits[first], features[first]), (logits[rest], features[rest])
        if not batch.views:
            return (logits, features), None
        # After the labeled pass: autocast reuses the weights it has cast, and those need their graph.
        differentiated = self.isda is not None or self.regularizer.uses_logits_gradient
        with (
            frozen_running_statistics(student),
            step.global_draws(UNLABELED_PASS, device),
            torch.set_grad_enabled(differentiated and torch.is_grad_enabled()),
        ):
            unlabeled = student(batch.views[0])
        return (logits, features), unlabeled
