"""The loss of a network's auxiliary head, with class covariances of its own."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from ssl_isda.base.step import Step
from ssl_isda.data.batch import Batch
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.learned import LearnedCovariance
from ssl_isda.isda.terms import IsdaTerms, class_covariance
from ssl_isda.losses.contract import SupervisedLoss
from ssl_isda.models.contract import Network, Prediction
from ssl_isda.tasks.contract import Task
from ssl_isda.training.rows import mean_loss, take_in


@final
class Auxiliary(nn.Module):
    """The supervised loss on shallower features, with or without ISDA, as the main head has it.

    Its covariances are estimated and at their own strength: learned ones have a loss of the main head's.
    """

    def __init__(
        self, task: Task, isda: IsdaConfig | None, num_classes: int, num_features: int
    ) -> None:
        super().__init__()
        self.task = task
        self.isda = isda if isda and isda.isda_images != "unlabeled" else None
        self.covariance = None
        if self.isda:
            self.covariance = class_covariance(self.isda, num_classes, num_features)
            assert not isinstance(self.covariance, LearnedCovariance)

    def loss(
        self, student: Network, features: Tensor, batch: Batch, loss: SupervisedLoss, step: Step
    ) -> Tensor:
        """Unweighted; ``features`` are the auxiliary ones of the pass that the labeled images, which
        stand first, were in."""
        head = student.auxiliary_head
        features = features[: len(batch.labels)].to(head.weight.dtype)
        with torch.autocast(features.device.type, enabled=False):
            prediction = Prediction(head(features), features)
        if self.covariance is None or self.isda is None:
            judged = self.task.judged(prediction, batch.labels)
            return mean_loss(loss, judged, head, step, self.task)
        take_in(self.covariance, self.task.rows(prediction, batch.labels), self.task)
        terms = IsdaTerms(self.isda, self.covariance, head, step)
        augmented = self.task.judged(prediction, batch.labels, terms.augmented)
        return mean_loss(loss, augmented, head, step, self.task)


def taken(student: nn.Module) -> Tensor | None:
    """The auxiliary features of the last pass, which the network then holds no longer."""
    features: Tensor | None = getattr(student, "auxiliary_features", None)
    if features is not None:
        student.__dict__["auxiliary_features"] = None
    return features
