"""What an epoch's losses do not show: looked at, never trained on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ssl_isda.isda.learned import Covariance
from ssl_isda.parallel.distributed import average_

CONFIDENT = 0.95
"""A prediction whose largest probability is at least this much is called confident."""


class PseudoLabels:
    """Counts over unlabeled images whose labels are known, but not to the training."""

    def __init__(self) -> None:
        self.num_images = self.num_known = 0
        self._right: list[Tensor] = []
        self._confident: list[Tensor] = []
        self._agreeing: list[Tensor] = []

    def add(self, student: Tensor, evaluated: Tensor | None, labels: Tensor) -> None:
        """Take in one batch.

        Parameters
        ----------
        student : (n, C), the student's logits, in evaluation mode
        evaluated : (n, C), those of the network that is tested; None where it is the student
        labels : (n,), integers; -1 where it is unknown
        """
        pseudo_labels = student.argmax(1)
        self.num_images += len(labels)
        self._right.append((pseudo_labels == labels).sum())
        self._confident.append((student.float().softmax(1).amax(1) >= CONFIDENT).sum())
        self.num_known += int((labels >= 0).sum())
        if evaluated is not None:
            self._agreeing.append((pseudo_labels == evaluated.argmax(1)).sum())

    def percentages(self) -> dict[str, float]:
        """``pseudo_label_accuracy`` where labels are known, ``confident_share``, and ``agreement`` of
        the student with the network that is tested where they are two; nothing without a row."""
        if self.num_images == 0:
            return {}
        shares = {"confident_share": _percent(self._confident, self.num_images)}
        if self.num_known:
            shares["pseudo_label_accuracy"] = _percent(self._right, self.num_known)
        if self._agreeing:
            shares["agreement"] = _percent(self._agreeing, self.num_images)
        return shares


def _percent(counts: list[Tensor], total: int) -> float:
    return 100.0 * sum(int(count) for count in counts) / total


def mean_variance(covariance: Covariance) -> float:
    """The mean of sigma^2 over classes and features: how far ISDA's augmentation reaches."""
    diagonals = [covariance.matrix(c).diagonal() for c in range(covariance.num_classes)]
    return float(torch.stack(diagonals).mean())


def gradient_norm(loss: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
    """The Euclidean norm of the derivative of ``loss`` by all ``parameters`` together; keeps the graph.

    0 where there is no path from them to the loss.
    """
    if not loss.requires_grad:
        return torch.zeros((), device=loss.device)
    found = torch.autograd.grad(loss, list(parameters), retain_graph=True, allow_unused=True)
    gradients = [gradient.detach() for gradient in found if gradient is not None]
    average_(gradients)
    norms = [g.float().norm() for g in gradients]
    return torch.stack(norms).norm() if norms else torch.zeros((), device=loss.device)
