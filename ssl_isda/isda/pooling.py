"""How the features of a batch are pooled with those before (Eqs. 1-3), for all classes at once.

Shape key: n images, a features, c classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_isda.parallel.distributed import total as over_processes

LARGEST_NORM = {t: math.sqrt(torch.finfo(t).max) / 2**16 for t in (torch.float32, torch.float64)}
"""Of a row that enters: the squares of 2^32 such rows have a finite sum."""
GPU_PARTS = 4
"""A GPU updates the classes in about so many parts: few kernels, and no tensor of n x c x a numbers."""


def moved(mean: Tensor, shift: Tensor, share: Tensor) -> Tensor:
    """What makes m features of a class the rows r whose r^T r is all that they add to its scatter.

    r = x - mean + sqrt(share) shift, with the share n / (n + m) that was there before. The x - mean sum
    to zero, so that beside their own products nothing is left but the between-class term of Eq. 2,
    n m / (n + m) shift^T shift.
    """
    return (share.sqrt() * shift).sub_(mean)


def update_every_class(
    count: Tensor, mean: Tensor, scatter: Tensor, x: Tensor, labels: Tensor, ignore_index: int
) -> None:
    """Update the statistics of all classes in place, in fixed shapes: nothing waits for a device.

    Parameters
    ----------
    count, mean, scatter : (c,), (c, a) and (c, a, a), or (c, a) of diagonal covariances
    x : (n, a); a row that is not finite, or too large, enters nowhere
    labels : (n,), int64; a row of ``ignore_index``, or of -1, enters nowhere
    """
    enters = torch.linalg.vector_norm(x, dim=1) < LARGEST_NORM[x.dtype]
    enters &= labels != ignore_index
    x, labels = x.where(enters.unsqueeze(1), 0), labels.where(enters, -1)
    groups = torch.arange(len(count), device=x.device)
    member = (labels.unsqueeze(1) == groups).to(x.dtype)  # (n, c)
    m, n = member.sum(0).unsqueeze(1), count.to(x.dtype).unsqueeze(1)
    total = (n + m).clamp(min=1)
    of_batch = (member.T @ x) / m.clamp(min=1)  # (c, a)
    shift = (of_batch - mean) * (m > 0)
    rows = x + moved(of_batch, shift, n / total)[labels]
    if scatter.ndim == 2:
        scatter += member.T @ rows.square()
    else:
        at_once = max(1, len(count) // GPU_PARTS)
        for some, of_classes in zip(scatter.split(at_once), member.T.split(at_once), strict=True):
            own = rows.T * of_classes.unsqueeze(1)  # (classes at once, a, n)
            some.baddbmm_(own, rows.expand(len(own), -1, -1))
    mean += m / total * shift
    count += m.squeeze(1).to(torch.int64)


def update_with_others(
    count: Tensor, mean: Tensor, scatter: Tensor, x: Tensor, labels: Tensor
) -> None:
    """Update the statistics in place with the rows of all processes, of which each has its own, in any
    number, or none.

    Two messages replace the rows: first the number of rows and the sum of features of each class, which
    give the mean of the batch, then the sums of products about it; c (1 + a) numbers, and c a of diagonal
    covariances or c a a of full ones.

    Parameters
    ----------
    count, mean, scatter : (c,), (c, a) and (c, a, a), or (c, a) of diagonal covariances
    x : (n, a)
    labels : (n,), int64, classes
    """
    classes = torch.arange(len(count), device=x.device)
    member = (labels.unsqueeze(1) == classes).to(x.dtype)  # (n, c)
    sums = over_processes(torch.cat([member.sum(0).unsqueeze(1), member.T @ x], 1))
    m, n = sums[:, :1], count.to(x.dtype).unsqueeze(1)
    total = (n + m).clamp(min=1)
    of_batch = sums[:, 1:] / m.clamp(min=1)
    shift = (of_batch - mean) * (m > 0)
    rows = x + moved(of_batch, shift, n / total)[labels]
    if scatter.ndim == 2:
        own = member.T @ rows.square()
    else:
        own = torch.stack(
            [some.T @ some for some in (rows[labels == c] for c in range(len(count)))]
        )
    scatter += over_processes(own)
    mean += m / total * shift
    count += m.squeeze(1).to(torch.int64)
