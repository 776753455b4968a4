"""The contract of a task: which rows are classified, and how well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ssl_isda.base.registry import Registry
from ssl_isda.models.contract import Prediction
from ssl_isda.parallel import distributed


class Rows(NamedTuple):
    """Whatever is classified, one a row: images, or the pixels that have a class.

    logits : (m, c)
    features : (m, a)
    targets : (m,), int64 classes; what ``Task.rows`` was given none for has None
    added : (m,), the mean over classes of what ISDA has added to the logits; None where it has not
    """

    logits: Tensor
    features: Tensor
    targets: Tensor | None
    added: Tensor | None = None

    @property
    def labels(self) -> Tensor:
        """The targets, of rows that have them."""
        assert self.targets is not None
        return self.targets


Augmented = Callable[[Rows], Rows]
"""What ISDA makes of rows for a supervised loss; a row of the class -100 stays as it is."""


@dataclass(frozen=True)
class Metric:
    """A number that says how good a network is."""

    name: str
    unit: str
    lower_is_better: bool


class Task(Protocol):
    """What a network's prediction is about."""

    headline: Metric
    """The score that a run is judged by; its name is one of ``scores``."""

    def rows(self, prediction: Prediction, targets: Tensor | None) -> Rows:
        """The rows of a prediction; ``targets`` of unlabeled images are None."""
        ...

    is_dense: bool
    """Whether each pixel has a class."""
    auxiliary_weight: float
    """Of the loss of a network's auxiliary head."""

    def judged(
        self, prediction: Prediction, targets: Tensor, augmented: Augmented | None = None
    ) -> Rows:
        """The rows that losses and scores see, at the size of the targets; ``augmented`` is applied at
        the size of the features."""
        ...

    def predicted(self, network: nn.Module, images: Tensor) -> Prediction:
        """What an evaluation sees of a network in evaluation mode."""
        ...

    def scores(self, confusion: Tensor) -> dict[str, float]:
        """By name, from (c, c) counts: true classes in rows, predicted ones in columns."""
        ...

    def final_scores(
        self, confusion: Tensor, calibration: Calibration, class_names: Sequence[str]
    ) -> dict[str, Any]:
        """By name, what a finished run tells beside the scores of each epoch."""
        ...


MANY_CLASSES, NUM_GUESSES = 100, 5
"""From so many classes on, images are also counted whose class is not among so many guesses."""


class Tally:
    """Counts rows by their true and their predicted class, over the batches of a set.

    Parameters
    ----------
    of_images : whether rows are images, whose ``NUM_GUESSES`` best guesses are looked at
    """

    def __init__(self, num_classes: int, device: torch.device, *, of_images: bool = False) -> None:
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
        self.looks_at_guesses = of_images and num_classes >= MANY_CLASSES
        self.missed = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, rows: Rows) -> None:
        """Take in the rows of one batch, all of which have a class."""
        num_classes = len(self.counts)
        pairs = rows.labels * num_classes + rows.logits.argmax(1)
        counted = torch.bincount(pairs, minlength=num_classes**2)
        self.counts += counted.view(num_classes, num_classes)
        if self.looks_at_guesses:
            guesses = rows.logits.topk(NUM_GUESSES, 1).indices
            self.missed += (guesses != rows.labels.unsqueeze(1)).all(1).sum()

    def confusion(self) -> Tensor:
        """(c, c) int64 over all processes: how often class i (row) was predicted as j (column)."""
        return distributed.total(self.counts)

    def of_guesses(self, confusion: Tensor) -> dict[str, float]:
        """``top5_error``: the share of rows whose class is not among the five of the largest logits, in
        percent, over all processes; empty where there are few classes."""
        if not self.looks_at_guesses:
            return {}
        missed = int(distributed.total(self.missed))
        return {f"top{NUM_GUESSES}_error": 100.0 * missed / max(1, int(confusion.sum()))}


class Calibration:
    """How far the probabilities of the predicted classes can be believed, over the batches of a set.

    The expected calibration error of Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural
    Networks, ICML 2017, Eq. 3, with M = 15 bins as there:

        ECE = sum_m |B_m| / n * |acc(B_m) - conf(B_m)|

    B_m holds the rows whose confidence, the largest softmax probability, lies in ((m - 1) / M, m / M];
    acc is the share of them that is predicted right, conf the mean of their confidences.
    """

    num_bins = 15

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(3, self.num_bins, dtype=torch.float64, device=device)
        """Of each bin: rows, right ones, confidences."""

    def add(self, rows: Rows) -> None:
        """Take in the rows of one batch, all of which have a class."""
        confidence, predicted = rows.logits.double().softmax(1).max(1)
        bins = (confidence * self.num_bins).ceil().long().sub(1).clamp(0, self.num_bins - 1)
        right = (predicted == rows.labels).double()
        values = torch.stack([torch.ones_like(confidence), right, confidence])
        self.sums.index_add_(1, bins, values)

    def error(self) -> float:
        """ECE over all processes, in percent; 0 without a row."""
        number, right, confidence = distributed.total(self.sums)
        return 100 * float((right - confidence).abs().sum() / number.sum().clamp(min=1))


def class_ious(confusion: Sequence[Sequence[int]]) -> list[float | None]:
    """Intersection over union of each class, in percent; None where it has neither true nor predicted
    rows.

    Parameters
    ----------
    confusion : counts, true classes in rows, predicted ones in columns
    """
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    unions = [
        sum(row) + of_class - row[k]
        for k, (row, of_class) in enumerate(zip(confusion, predicted, strict=True))
    ]
    return [
        100.0 * row[k] / union if union else None
        for k, (row, union) in enumerate(zip(confusion, unions, strict=True))
    ]


TASKS: Registry[Callable[[Any], Task]] = Registry("task")
"""By name, what makes a ``Task`` of a ``Config``."""
