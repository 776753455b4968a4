"""What several pairs have in common: a discriminator that names class and code, and its logarithms."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.generators.networks import Body, initialise


class NamingDiscriminator(nn.Module):
    """Logits of the source (n,), of the class (n, c), and what stands for the code (n, num_code)."""

    def __init__(
        self, shape: tuple[int, ...], channels: int, num_classes: int, num_code: int = 0
    ) -> None:
        super().__init__()
        self.body = Body(shape, channels=channels, batchnorm=True)
        inputs = self.body.num_features
        self.source = nn.Linear(inputs, 1).apply(initialise)
        self.class_ = nn.Linear(inputs, num_classes).apply(initialise)
        self.code = nn.Linear(inputs, num_code).apply(initialise) if num_code else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.body(images)
        code = self.code(features) if self.code else features[:, :0]
        return self.source(features).squeeze(1), self.class_(features), code


def is_real(logits: Tensor) -> Tensor:
    """-mean log sigmoid(logit)."""
    return F.softplus(-logits).mean()


def is_generated(logits: Tensor) -> Tensor:
    """-mean log(1 - sigmoid(logit))."""
    return F.softplus(logits).mean()
