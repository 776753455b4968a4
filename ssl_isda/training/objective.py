"""Eq. 19 of ISDA: the whole objective of a training step.

L = L_supervised(labeled) + eta_1 L_semantic(unlabeled) + eta_2(t) L_regularization(unlabeled)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.base.step import Step
from ssl_isda.base.void import VOID
from ssl_isda.data.batch import Batch
from ssl_isda.isda.config import IsdaConfig as IsdaConfig
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.learned import LearnedCovariance
from ssl_isda.isda.terms import IsdaTerms, class_covariance, strength_ratio
from ssl_isda.losses.contract import SupervisedLoss
from ssl_isda.losses.cross_entropy import CrossEntropy
from ssl_isda.models.contract import Network, Prediction
from ssl_isda.optim.contract import Group
from ssl_isda.parallel.whole_batch import streams
from ssl_isda.tasks.classification import Classification
from ssl_isda.tasks.contract import Task
from ssl_isda.training.auxiliary import Auxiliary, taken
from ssl_isda.training.batchnorm import separate_pass
from ssl_isda.training.ema import Ema
from ssl_isda.training.method import Method, Targets, Term
from ssl_isda.training.rows import labels_of_all, mean_loss, take_in


@dataclass(frozen=True)
class Terms:
    """The terms of Eq. 19, unweighted, with the weights in force at this step."""

    losses: dict[str, Tensor]
    weights: dict[str, float]
    resting: Mapping[str, Tensor] = field(default_factory=dict)
    """Of a term that may give the student no gradient although it has a weight: whether it rests now."""

    @property
    def total(self) -> Tensor:
        """L: the sum of weight times term."""
        return torch.stack([self.weights[name] * loss for name, loss in self.losses.items()]).sum()


class Objective(nn.Module):
    """Composes the three terms and owns the state of ISDA.

    Without ``isda`` the first term is ``loss`` and the second does not exist. With it the covariances
    take in the features of the labeled rows first and are used then (Alg. 1), by the same code for
    every method. Learned covariances add their uncertainty loss.
    """

    loss: SupervisedLoss
    average: nn.Module
    """The network that ``average_for_evaluation`` makes; in checkpoints."""
    auxiliary: Auxiliary
    """Of a network with an auxiliary head, whose number of features is then given."""

    def __init__(
        self,
        method: Method,
        isda: IsdaConfig | None,
        num_classes: int,
        num_features: int,
        *,
        loss: SupervisedLoss | None = None,
        task: Task | None = None,
        auxiliary_features: int | None = None,
    ) -> None:
        super().__init__()
        self.regularizer = method  # its name in checkpoints
        self.isda = isda
        self.covariance = class_covariance(isda, num_classes, num_features) if isda else None
        self.reference = None
        if isda and isda.matched_strength:
            self.reference = ClassCovariance(num_classes, num_features)
        self.ratio: Tensor | None = None
        """Of a matched strength: the factor on lambda at the last step."""
        loss = loss or CrossEntropy()
        if loss.state_dict():
            self.loss = loss
        else:
            object.__setattr__(self, "loss", loss)  # without state it is no part of checkpoints
        self.task: Task = task or Classification()
        self._ema: Ema | None = None
        self._auxiliary_features: Tensor | None = None
        if auxiliary_features is not None:
            self.auxiliary = Auxiliary(self.task, isda, num_classes, auxiliary_features)

    def average_for_evaluation(self, student: Network, decay: float) -> None:
        """Have the average of the student over the steps tested in its place (``--evaluation-ema``).

        Parameters are averaged from the first step on, by theta' <- a theta' + (1 - a) theta with
        a = ``decay``; BatchNorm's running statistics are the student's.

        Raises
        ------
        ValueError
            The method has a network of its own tested.
        """
        if self.method.evaluated(student) is not student:
            raise ValueError("the method tests an average of its own")
        self._ema = Ema(student, decay, copies_buffers=True)
        self.average = self._ema.network

    @property
    def method(self) -> Method:
        """The semi-supervised method."""
        return self.regularizer

    def groups(self) -> list[Group]:
        """What the optimizer trains beside the student: learned covariances, and what loss and method
        have of their own."""
        learned = list(self.covariance.parameters()) if self.covariance else []
        own = [*self.loss.groups(), *self.method.groups()]
        return [*([Group(learned)] if learned else []), *own]

    def after_step(self, student: Network, step: Step) -> None:
        """Bring all state up to date, once the optimizer has taken ``step``."""
        self.method.after_step(student, step)
        if self._ema:
            self._ema.follow(student)

    def evaluated(self, student: Network) -> nn.Module:
        """The network that is tested."""
        return self.average if self._ema else self.method.evaluated(student)

    def forward(self, student: Network, batch: Batch, step: Step) -> Terms:
        """The terms for one batch. Call this with ``student`` in training mode.

        Raises
        ------
        UsageError
            ISDA is to be of unlabeled images alone, and the method has no term that it could enter; or an
            average is to choose classes, and none is tested.
        """
        unmixed, batch = batch, self.method.mix(student, batch, step)
        labeled, views = self._predict(student, batch, step)
        isda = self._take_in(student, unmixed, batch, labeled, step)
        augmented = isda if isda and isda.config.isda_images != "unlabeled" else None
        losses = {"supervised": self._supervised(student, batch, labeled, augmented, step)}
        weights, resting = {"supervised": 1.0}, {}
        if self.task.is_dense:
            resting = dict.fromkeys(("supervised", "auxiliary"), (batch.labels == VOID).all())
        if self._auxiliary_features is not None:
            seen = self._auxiliary_features
            weights["auxiliary"] = self.task.auxiliary_weight
            losses["auxiliary"] = self.auxiliary.loss(student, seen, batch, self.loss, step)
        augmented = isda if isda and isda.config.isda_images != "labeled" else None
        if augmented and views and self.method.semantic:
            rows = self.task.rows(views[0], None)
            weights["semantic"] = augmented.config.semantic_weight(step.progress)
            classes = self._classes(student, batch, step)
            losses["semantic"] = augmented.semantic(rows.logits, rows.features, classes)
            if augmented.config.semantic_threshold:
                resting["semantic"] = ~augmented.is_certain(rows.logits).any()
        if isda and isinstance(self.covariance, LearnedCovariance):
            weights["uncertainty"] = isda.config.uncertainty_weight or 0.0
            losses["uncertainty"] = self.covariance.uncertainty_loss()
            resting["uncertainty"] = torch.tensor(True)  # it moves the covariances alone
        idle: list[Tensor] = []
        if views:
            weights["consistency"] = self.method.weight(step)
            found = self.method(student, batch, views, step)
            parts = found if isinstance(found, list) else [found]
            idle = [(part.weight == 0).all() for part in parts if isinstance(part, Targets)]
            if idle:
                resting["consistency"] = torch.stack(idle).all()
            losses["consistency"] = _sum(parts, augmented)
        if (
            self.isda
            and self.isda.isda_images == "unlabeled"
            and "semantic" not in losses
            and not idle
        ):
            raise UsageError(
                "--isda-images unlabeled: the method has no term of unlabeled images that ISDA could "
                "enter, and nothing would be augmented; take labeled or both"
            )
        taken(student)
        return Terms(losses, weights, resting)

    def _classes(self, student: Network, batch: Batch, step: Step) -> Tensor | None:
        """Of the covariances of the first view's rows, where an average of the student chooses them."""
        if self.isda is None or self.isda.semantic_classes == "student":
            return None
        average = self.evaluated(student)
        if average is student:
            raise UsageError(
                "--semantic-classes average: no average of the network is tested; choose --method "
                "mean_teacher, or add --evaluation-ema"
            )
        with torch.no_grad():
            seen = separate_pass(average, batch.views[0], step, "classes of covariances")
        return self.task.rows(seen, None).logits.argmax(1)

    def _take_in(
        self, student: Network, unmixed: Batch, batch: Batch, labeled: Prediction, step: Step
    ) -> IsdaTerms | None:
        """Show the covariances the labeled features; ISDA at this step. The features of a mixed image
        belong to no class, so that images which a method has mixed pass once more as they were, and
        leave no trace."""
        if not self.isda or not self.covariance:
            return None
        isda = IsdaTerms(self.isda, self.covariance, student.head, step)
        if batch.labels.is_floating_point():
            if isinstance(self.covariance, LearnedCovariance):
                return isda  # it takes in none
            with torch.no_grad():
                labeled = separate_pass(student, unmixed.images, step, "unmixed labeled pass")
            batch = unmixed
        first = len(batch.images)
        labeled = Prediction(labeled.logits[:first], labeled.features[:first])
        rows = self.task.rows(labeled, batch.labels)
        take_in(self.covariance, rows, self.task)
        if self.reference is None:
            return isda
        take_in(self.reference, rows, self.task)
        labels = labels_of_all(rows, self.covariance.num_classes, self.task)
        self.ratio = strength_ratio(isda.weight, self.reference, self.covariance, labels)
        return replace(isda, ratio=self.ratio)

    def _supervised(
        self,
        student: Network,
        batch: Batch,
        prediction: Prediction,
        terms: IsdaTerms | None,
        step: Step,
    ) -> Tensor:
        mixed = batch.labels.is_floating_point()
        own = self.method.labeled(student, batch, prediction, step)
        if own is None and terms and mixed and isinstance(self.loss, CrossEntropy):
            rows = self.task.rows(prediction, batch.labels)
            own = Targets(rows.logits, rows.labels, rows.logits.new_ones(len(rows.logits)))
        if own is not None:
            return _cross_entropy(own, terms, mixed=mixed)
        rows = self.task.judged(prediction, batch.labels, terms.augmented if terms else None)
        return mean_loss(self.loss, rows, student.head, step, self.task)

    def _predict(
        self, student: Network, batch: Batch, step: Step
    ) -> tuple[Prediction, list[Prediction]]:
        """Of the labeled images and behind them their further views; and of the joined views, or the
        first where none is joined."""
        device, joined = batch.images.device, batch.views[: self.method.joined]
        passing = [batch.images, *batch.labeled_views, *joined]
        images = torch.cat(passing) if len(passing) > 1 else batch.images
        lengths = [*map(len, passing)]
        with step.global_draws("labeled pass", device), streams(*lengths):
            logits, features = student(images)
        self._auxiliary_features = taken(student)
        if joined:
            bounds = pairwise(
                accumulate([sum(lengths[: -len(joined)]), *map(len, joined)], initial=0)
            )
            labeled, *views = (Prediction(logits[a:b], features[a:b]) for a, b in bounds)
            return labeled, views
        if not batch.views:
            return Prediction(logits, features), []
        # After the labeled pass: autocast reuses the weights it has cast, and those need their graph.
        differentiated = self.isda is not None or self.method.needs_gradient
        with torch.set_grad_enabled(differentiated and torch.is_grad_enabled()):
            return Prediction(logits, features), [separate_pass(student, batch.views[0], step)]


def _sum(parts: Sequence[Term], terms: IsdaTerms | None) -> Tensor:
    """Of a method's term, each cross-entropy of which may become its bound."""
    losses = [_cross_entropy(p, terms) if isinstance(p, Targets) else p for p in parts]
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _cross_entropy(targets: Targets, isda: IsdaTerms | None, *, mixed: bool = False) -> Tensor:
    """Mean over rows of the weighted cross-entropies, or of ISDA's bounds of them."""
    logits, target, weight = targets.rows
    if isda:
        return (isda.cross_entropies(logits, target, mixed=mixed) * weight).mean()
    return (F.cross_entropy(logits, target, reduction="none") * weight).mean()
