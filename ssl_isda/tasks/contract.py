"""The contract of a task: which rows are classified, and how well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ssl_isda.base.registry import Registry
from ssl_isda.models.contract import Prediction
from ssl_isda.parallel import distributed


class Rows(NamedTuple):
    """Whatever is classified, one a row: images, or the pixels that have a class.

    logits : (m, c)
    features : (m, a)
    targets : (m,), int64 classes; what ``Task.rows`` was given none for has None
    """

    logits: Tensor
    features: Tensor
    targets: Tensor | None

    @property
    def labels(self) -> Tensor:
        """The targets, of rows that have them."""
        assert self.targets is not None
        return self.targets


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

    def scores(self, confusion: Tensor) -> dict[str, float]:
        """By name, from (c, c) counts: true classes in rows, predicted ones in columns."""
        ...


class Tally:
    """Counts rows by their true and their predicted class, over the batches of a set."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def add(self, rows: Rows) -> None:
        """Take in the rows of one batch, all of which have a class."""
        num_classes = len(self.counts)
        pairs = rows.labels * num_classes + rows.logits.argmax(1)
        counted = torch.bincount(pairs, minlength=num_classes**2)
        self.counts += counted.view(num_classes, num_classes)

    def confusion(self) -> Tensor:
        """(c, c) int64 over all processes: how often class i (row) was predicted as j (column)."""
        return distributed.total(self.counts)


TASKS: Registry[Callable[[Any], Task]] = Registry("task")
"""By name, what makes a ``Task`` of a ``Config``."""
