"""ISDA computed sample by sample, as its equations are first read: the reference for speed and value.

Shape key: n images, a features, c classes. Everything is formed at full size: (n, c, a) differences
and an (n, a, a) copy of the covariances for Prop. 1, (n, c c, a) differences for Prop. 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.covariance import Form


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
        member = F.one_hot(labels, len(self.count)).to(features.dtype).unsqueeze(2)  # (n, c, 1)
        m, n = member.sum(0), self.count.unsqueeze(1)  # (c, 1)
        by_class = member * features.unsqueeze(1)  # (n, c, a)
        mean = by_class.sum(0) / m.clamp(min=1)
        centered = by_class - member * mean
        share = m / (n + m).clamp(min=1)  # (c, 1)
        shift = self.mean - mean  # (c, a)
        if self.diagonal:
            sigma = centered.square().sum(0) / m.clamp(min=1)
            between = shift.square()
            part = share
        else:
            by_row = centered.transpose(0, 1)  # (c, n, a)
            sigma = by_row.mT @ by_row / m.clamp(min=1).unsqueeze(2)
            between = shift.unsqueeze(2) @ shift.unsqueeze(1)
            part = share.unsqueeze(2)
        self.sigma = (1 - part) * self.sigma + part * sigma + part * (1 - part) * between
        self.mean = (1 - share) * self.mean + share * mean
        self.count = self.count + m.squeeze(1)


def cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor, sigma: Tensor, strength: float
) -> Tensor:
    """Prop. 1: the diagonal of a (c, c) product for each image; with a diagonal Sigma, a weighted sum
    of the squares of each image's (c, a) differences."""
    n, (c, a) = len(labels), weight.shape
    own = weight[labels].unsqueeze(1).expand(n, c, a)
    difference = weight.expand(n, c, a) - own
    if sigma.ndim == 2:
        variance = (difference.square() * sigma[labels].unsqueeze(1)).sum(2)
    else:
        product = difference @ sigma[labels] @ difference.mT  # (n, c, c)
        variance = product.diagonal(dim1=1, dim2=2)
    return F.cross_entropy(logits + strength / 2 * variance, labels)


def consistency(logits: Tensor, weight: Tensor, sigma: Tensor, strength: float) -> Tensor:
    """Prop. 2: v_jk^T Sigma v_jk for each image and each pair of classes."""
    c, a = weight.shape
    probabilities = logits.detach().softmax(1)
    pairs = (weight.unsqueeze(1) - weight).view(1, c * c, a).expand(len(logits), c * c, a)
    product = pairs @ sigma[probabilities.argmax(1)]  # (n, c c, a)
    variance = (product * pairs).sum(2).view(-1, c, c)
    bound = torch.logsumexp(logits.unsqueeze(2) + strength / 2 * variance, 1) - logits
    return (probabilities * bound).sum(1).mean()
