"""ISDA computed sample by sample, as its authors' code computes it: the reference for speed and value.

Shape key: n images, a features, c classes. Each operation of that code (ISDA.py of
blackfeather-wang/ISDA-for-Deep-Networks) is here, each on tensors of the size that it has there: the
mean, share and count of a class repeated for each of its entries, (n, c, a) differences formed twice and
an (n, a, a) copy of the covariances for Prop. 1, whose (n, c, c) product is reduced to its diagonal by a
product with the identity. Prop. 2, which they never published, has (n, c c, a) differences.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.isda.covariance import Form


class PerSampleCovariance:
    """Eqs. 1-3 through one (n, c, a) tensor that holds each feature in its class's column."""

    def __init__(
        self, num_classes: int, num_features: int, device: torch.device, form: Form = "full"
    ) -> None:
        self.diagonal = form == "diagonal"
        square = () if self.diagonal else (num_features,)
        self.count = torch.zeros(num_classes, device=device)
        self.mean = torch.zeros(num_classes, num_features, device=device)
        self.sigma = torch.zeros(num_classes, num_features, *square, device=device)

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        n, a = features.shape
        c = len(self.count)
        one_hot = F.one_hot(labels, c).to(features.dtype)
        member = one_hot.unsqueeze(2).expand(n, c, a)
        by_class = features.unsqueeze(1).expand(n, c, a) * member
        m = member.sum(0)  # (c, a)
        m[m == 0] = 1
        mean = by_class.sum(0) / m
        centered = by_class - mean.expand(n, c, a) * member
        share = self._share(one_hot, (c, a))
        shift = self.mean - mean
        if self.diagonal:
            sigma = centered.square().sum(0) / m
            part, between = share, shift.square()
        else:
            products = torch.bmm(centered.permute(1, 2, 0), centered.permute(1, 0, 2))
            sigma = products / m.unsqueeze(2).expand(c, a, a)
            part = self._share(one_hot, (c, a, a))
            between = torch.bmm(shift.unsqueeze(2), shift.unsqueeze(1))
        between = part * (1 - part) * between
        self.sigma = self.sigma * (1 - part) + sigma * part + between
        self.mean = self.mean * (1 - share) + mean * share
        self.count = self.count + one_hot.sum(0)

    def _share(self, one_hot: Tensor, shape: tuple[int, ...]) -> Tensor:
        """What the batch has of all images of a class so far, once for each entry of ``shape``."""
        ones = (1,) * (len(shape) - 1)
        now = one_hot.sum(0).view(-1, *ones).expand(shape)
        share = now / (now + self.count.view(-1, *ones).expand(shape))
        share[share.isnan()] = 0
        return share


def cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor, sigma: Tensor, strength: float
) -> Tensor:
    """Prop. 1: the diagonal of a (c, c) product for each image; with a diagonal Sigma, a weighted sum
    of the squares of each image's (c, a) differences."""
    n, (c, a) = len(labels), weight.shape
    every = weight.expand(n, c, a)
    own = every.gather(1, labels.view(n, 1, 1).expand(n, c, a))
    if sigma.ndim == 2:
        variance = strength * ((every - own).square() * sigma[labels].unsqueeze(1)).sum(2)
    else:
        product = torch.bmm(torch.bmm(every - own, sigma[labels]), (every - own).permute(0, 2, 1))
        identity = torch.eye(c, device=weight.device).expand(n, c, c)
        variance = (strength * product * identity).sum(2)
    return F.cross_entropy(logits + 0.5 * variance, labels)


def consistency(logits: Tensor, weight: Tensor, sigma: Tensor, strength: float) -> Tensor:
    """Prop. 2: v_jk^T Sigma v_jk for each image and each pair of classes."""
    c, a = weight.shape
    probabilities = logits.detach().softmax(1)
    pairs = (weight.unsqueeze(1) - weight).view(1, c * c, a).expand(len(logits), c * c, a)
    product = pairs @ sigma[probabilities.argmax(1)]  # (n, c c, a)
    variance = (product * pairs).sum(2).view(-1, c, c)
    bound = torch.logsumexp(logits.unsqueeze(2) + strength / 2 * variance, 1) - logits
    return (probabilities * bound).sum(1).mean()
