"""How far a pseudo-label is trusted: the part in which many methods differ and nothing else.

What has a state takes it in of the whole batch, of all processes, and once a step: when ``weights``
is called. Dimensions: n unlabeled images of a batch, N of all, c classes.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.parallel.distributed import gathered
from ssl_isda.training.alignment import RunningMean


class Confidence(nn.Module):
    """A weight for each pseudo-label. State, if there is any, lives in buffers."""

    def weights(self, probabilities: Tensor, indices: Tensor) -> Tensor:
        """(n,), from 0 to 1, without a gradient.

        Parameters
        ----------
        probabilities : (n, c), of predictions that are held constant
        indices : (n,), the images' positions in the training set
        """
        raise NotImplementedError


@final
class FixedThreshold(Confidence):
    """1 where the largest probability is at least ``threshold``, else 0."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def weights(self, probabilities: Tensor, indices: Tensor) -> Tensor:
        return (probabilities.amax(1) >= self.threshold).to(probabilities.dtype)


@final
class CurriculumThresholds(Confidence):
    """FlexMatch's: the lower, the fewer images of the class have been learned.

        sigma(c) = images whose last sure label is c,   unused = N - sum_c sigma(c)
        beta(c) = sigma(c) / max(max_c sigma(c), unused)
        T(c) = tau beta(c) / (2 - beta(c)),   weight = [max q >= T(argmax q)]

    An image's sure label is its last one with max q > tau; that of this step counts from the next on.
    """

    labels: Tensor
    counts: Tensor

    def __init__(self, threshold: float, num_images: int, num_classes: int) -> None:
        super().__init__()
        self.threshold = threshold
        self.register_buffer("labels", torch.full((num_images,), -1))
        self.register_buffer("counts", torch.zeros(num_classes + 1, dtype=torch.int64))

    def thresholds(self, num_unlabeled: int | None = None) -> Tensor:
        """T, (c,) float64, of N = ``num_unlabeled`` images; None: of all."""
        sigma = self.counts[1:].double()
        unused = (num_unlabeled or len(self.labels)) - sigma.sum()
        beta = sigma / torch.maximum(sigma.max(), unused).clamp(min=1)
        return self.threshold * beta / (2 - beta)

    def weights(
        self, probabilities: Tensor, indices: Tensor, num_unlabeled: int | None = None
    ) -> Tensor:
        largest, predicted = probabilities.max(1)
        weights = (largest >= self.thresholds(num_unlabeled)[predicted]).to(probabilities.dtype)
        self._learn(gathered(largest), gathered(predicted), gathered(indices))
        return weights

    def _learn(self, largest: Tensor, predicted: Tensor, indices: Tensor) -> None:
        """``counts`` follows ``labels``; its first entry is of images without one."""
        before = self.labels[indices]
        now = torch.where(largest > self.threshold, predicted, before)
        self.labels[indices] = now
        one = torch.ones_like(now)
        self.counts.index_add_(0, now + 1, one).index_add_(0, before + 1, -one)


@final
class AdaptiveThresholds(Confidence):
    """FreeMatch's: averages of what the network itself is sure of.

        tau <- m tau + (1 - m) mean max q,   p~ <- m p~ + (1 - m) mean q,
        h~ <- m h~ + (1 - m) histogram of argmax q,   all from 1/c on,
        tau(c) = tau p~(c) / max_c p~(c),   weight = [max q >= tau(argmax q)]

    The averages take in a batch before its weights are computed.
    """

    def __init__(self, num_classes: int, momentum: float, largest: float = 1.0) -> None:
        """``largest``: no threshold lies above it."""
        super().__init__()
        uniform = torch.full((num_classes,), 1 / num_classes)
        self.level = RunningMean(uniform[0], momentum)
        self.prediction = RunningMean(uniform, momentum)
        self.histogram = RunningMean(uniform, momentum)
        self.largest = largest

    def thresholds(self) -> Tensor:
        """tau(c), (c,)."""
        share = self.prediction.value / self.prediction.value.max()
        return (self.level.value * share).clamp(max=self.largest)

    def weights(self, probabilities: Tensor, indices: Tensor) -> Tensor:
        everyone = gathered(probabilities)
        self.level.follow(everyone.amax(1).mean())
        self.prediction.follow(everyone.mean(0))
        self.histogram.follow(shares_of_classes(everyone.argmax(1), everyone))
        largest, predicted = probabilities.max(1)
        return (largest >= self.thresholds()[predicted]).to(probabilities.dtype)


@final
class GaussianWeights(Confidence):
    """SoftMatch's: less, the further a prediction lies below the usual confidence.

        mu, s^2 <- averages of mean and unbiased variance of max q, from 1/c and 1 on,
        weight = exp(-min(max q' - mu, 0)^2 / (2 s^2 / k^2)),   k = ``num_deviations``

    q' are the predictions that weights are wanted for: aligned ones, or q itself. The averages take in
    a batch before its weights are computed. An s^2 of 0 counts as the least positive number: whatever
    lies below mu then has weight 0, and the rest 1.
    """

    def __init__(self, num_classes: int, momentum: float, num_deviations: float = 2.0) -> None:
        super().__init__()
        self.mean = RunningMean(torch.tensor(1 / num_classes), momentum)
        self.variance = RunningMean(torch.tensor(1.0), momentum)
        self.num_deviations = num_deviations

    def follow(self, probabilities: Tensor) -> None:
        """Take in q, (n, c)."""
        largest = gathered(probabilities).amax(1)
        self.mean.follow(largest.mean())
        self.variance.follow(largest.var(correction=min(1, len(largest) - 1)))

    def weights(self, probabilities: Tensor, indices: Tensor) -> Tensor:
        below = (probabilities.amax(1) - self.mean.value).clamp(max=0)
        variance = self.variance.value
        variance = variance.clamp(min=torch.finfo(variance.dtype).tiny)
        return (-(below.square()) * self.num_deviations**2 / (2 * variance)).exp()


def shares_of_classes(classes: Tensor, like: Tensor) -> Tensor:
    """(c,): how often each class is among ``classes``; of as many classes as ``like``, (n, c), has."""
    return F.one_hot(classes, like.shape[1]).to(like.dtype).mean(0)
