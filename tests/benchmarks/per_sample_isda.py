"""ISDA computed sample by sample, as its equations are first read: the reference for speed and value.

Shape key: n images, a features, c classes. Everything is formed at full size: (n, c, a) differences
and an (n, a, a) copy of the covariances for Prop. 1, (n, c c, a) differences for Prop. 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class PerSampleCovariance:
    """Eqs. 1-3 through one (n, c, a) tensor that holds each feature in its class's column."""

    def __init__(self, num_classes: int, num_features: int, device: torch.device) -> None:
        self.count = torch.zeros(num_classes, device=device)
        self.mean = torch.zeros(num_classes, num_features, device=device)
        self.sigma = torch.zeros(num_classes, num_features, num_features, device=device)

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        member = F.one_hot(labels, len(self.count)).to(features.dtype).unsqueeze(2)  # (n, c, 1)
        m, n = member.sum(0), self.count.unsqueeze(1)  # (c, 1)
        by_class = member * features.unsqueeze(1)  # (n, c, a)
        mean = by_class.sum(0) / m.clamp(min=1)
        centered = (by_class - member * mean).transpose(0, 1)  # (c, n, a)
        sigma = centered.mT @ centered / m.clamp(min=1).unsqueeze(2)
        share = (m / (n + m).clamp(min=1)).unsqueeze(2)  # (c, 1, 1)
        shift = (self.mean - mean).unsqueeze(2)  # (c, a, 1)
        between = share * (1 - share) * (shift @ shift.mT)
        self.sigma = (1 - share) * self.sigma + share * sigma + between
        self.mean = (1 - share[:, 0]) * self.mean + share[:, 0] * mean
        self.count = self.count + m.squeeze(1)


def cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor, sigma: Tensor, strength: float
) -> Tensor:
    """Prop. 1: the diagonal of a (c, c) product for each image."""
    n, (c, a) = len(labels), weight.shape
    own = weight[labels].unsqueeze(1).expand(n, c, a)
    difference = weight.expand(n, c, a) - own
    product = difference @ sigma[labels] @ difference.mT  # (n, c, c)
    return F.cross_entropy(logits + strength / 2 * product.diagonal(dim1=1, dim2=2), labels)


def consistency(logits: Tensor, weight: Tensor, sigma: Tensor, strength: float) -> Tensor:
    """Prop. 2: v_jk^T Sigma v_jk for each image and each pair of classes."""
    c, a = weight.shape
    probabilities = logits.detach().softmax(1)
    pairs = (weight.unsqueeze(1) - weight).view(1, c * c, a).expand(len(logits), c * c, a)
    product = pairs @ sigma[probabilities.argmax(1)]  # (n, c c, a)
    variance = (product * pairs).sum(2).view(-1, c, c)
    bound = torch.logsumexp(logits.unsqueeze(2) + strength / 2 * variance, 1) - logits
    return (probabilities * bound).sum(1).mean()
