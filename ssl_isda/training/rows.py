"""What the rows of a step come to, of all processes: a mean loss, and class covariances.

Images are shared out evenly, and so are their rows where each of them has a class. Of pixels that is not
so: one process may have many more without a class than another.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_isda.base.step import Step
from ssl_isda.isda.learned import Covariance
from ssl_isda.losses.contract import SupervisedLoss
from ssl_isda.parallel import distributed
from ssl_isda.tasks.contract import Rows, Task


def mean_loss(
    loss: SupervisedLoss, rows: Rows, head: nn.Linear | nn.Conv2d, step: Step, task: Task
) -> Tensor:
    r"""The loss of these rows, such that its mean over the processes is the one of all rows.

    Of R processes, r with m_r rows and the mean L_r of their losses, this is R m_r / M L_r with
    M = sum_r m_r, since

    .. math:: \frac1M \sum_r \sum_i \ell_{ri} = \frac1R \sum_r \frac{R m_r}{M} L_r

    Without a row it is 0, and so is its gradient.
    """
    found: Tensor = loss(rows, head, step)
    if not task.is_dense:
        return found
    if distributed.num_processes() > 1:
        own = torch.tensor(len(rows.labels), device=found.device)
        everyone = distributed.total(own).clamp(min=1)
        found = found * (distributed.num_processes() * own.to(found.dtype) / everyone)
    return found if len(rows.labels) else rows.logits.sum()


def take_in(covariance: Covariance, rows: Rows, task: Task) -> None:
    """Show covariances the rows of all processes: images by their features, pixels, of which there are
    many, by sums over each class."""
    if task.is_dense:
        covariance.update(rows.features, rows.labels, with_others=True)
    else:
        covariance.update(distributed.gathered(rows.features), distributed.gathered(rows.labels))


def labels_of_all(rows: Rows, num_classes: int, task: Task) -> Tensor:
    """The labels of the rows of all processes; those of pixels in order of their classes."""
    if not task.is_dense or distributed.num_processes() == 1:
        return distributed.gathered(rows.labels)
    counts = distributed.total(torch.bincount(rows.labels, minlength=num_classes))
    return torch.arange(num_classes, device=counts.device).repeat_interleave(counts)
