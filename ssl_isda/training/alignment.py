"""Averages over steps, and the alignment of predictions with the classes' frequencies by their means.

State takes in the whole batch, of all processes. Dimensions: n images, c classes.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.parallel.distributed import gathered

TINY = 1e-6


@final
class RunningMean(nn.Module):
    """value <- momentum value + (1 - momentum) new, from ``start`` on."""

    value: Tensor

    def __init__(self, start: Tensor, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", start.clone())

    @torch.no_grad()
    def follow(self, new: Tensor) -> Tensor:
        """The value, which has taken ``new`` in."""
        return self.value.lerp_(new.to(self.value.dtype), 1 - self.momentum)


@final
class RecentMean(nn.Module):
    """The mean of the last ``length`` entries, which before the first are all ``start``."""

    entries: Tensor
    place: Tensor

    def __init__(self, start: Tensor, length: int = 128) -> None:
        super().__init__()
        self.register_buffer("entries", start.repeat(length, *[1] * start.ndim))
        self.register_buffer("place", torch.zeros(1, dtype=torch.int64))

    @torch.no_grad()
    def follow(self, new: Tensor) -> Tensor:
        """The mean, which has taken ``new`` in."""
        self.entries.index_copy_(0, self.place, new.to(self.entries.dtype)[None])
        self.place.add_(1).remainder_(len(self.entries))
        return self.entries.mean(0)


@final
class LabelFrequencies(nn.Module):
    """How often each class was among the labels of all steps; it is uniform before the first.

    The labeled stream runs through all labeled images again and again, so that this comes to their
    class frequencies, whether they are equal or not.
    """

    counts: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.int64))

    @torch.no_grad()
    def follow(self, labels: Tensor) -> Tensor:
        """(c,) float64, of all labels so far and these, (n,)."""
        everyone = gathered(labels)
        self.counts.index_add_(0, everyone, torch.ones_like(everyone))
        return self.counts.double() / self.counts.sum()


@final
class DistributionAlignment(nn.Module):
    """ReMixMatch's (its Sec. 3.1): predictions times wanted over found frequencies of the classes.

        q' = Normalize(q (p(y) + 1e-6) / (p~(y) + 1e-6))

    p(y) are the frequencies of the labels, p~(y) the mean of the last 128 batches' mean predictions,
    this one among them; uniform before the first.
    """

    def __init__(self, num_classes: int, length: int = 128) -> None:
        super().__init__()
        self.wanted = LabelFrequencies(num_classes)
        self.found = RecentMean(torch.full((num_classes,), 1 / num_classes), length)

    def forward(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        """q', (n, c), for predictions q that are held constant; ``labels``, (l,), of the step's batch."""
        wanted = self.wanted.follow(labels)
        return aligned(probabilities, wanted, self.found.follow(gathered(probabilities).mean(0)))


def aligned(probabilities: Tensor, wanted: Tensor, found: Tensor) -> Tensor:
    """Normalize(q (wanted + 1e-6) / (found + 1e-6)), of (n, c), (c,) and (c,)."""
    ratio = (wanted.to(probabilities.dtype) + TINY) / (found + TINY)
    return F.normalize(probabilities * ratio, p=1, dim=1)
