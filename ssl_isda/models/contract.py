"""The networks by name, and the contract of one."""

from __future__ import annotations

from torch import Tensor, nn

from ssl_isda.base.registry import Registry


class Classifier(nn.Module):
    """A network whose last map is linear: ``forward(images) -> (logits, features)``.

    ``features`` (n, a) feed ``head``, an ``nn.Linear(a, c)`` without weight norm: ISDA reads its
    weight as the w_j of the paper, so nothing may stand between it and the logits.
    """

    head: nn.Linear

    def features(self, images: Tensor) -> Tensor:
        """(n, channels, height, width) -> (n, a)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, c) and features (n, a), both in the head's precision even under autocast."""
        raise NotImplementedError


MODELS: Registry[type[Classifier]] = Registry("model")
