"""The contract of a supervised loss."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from ssl_isda.base.registry import Registry
from ssl_isda.base.step import Step
from ssl_isda.models.contract import Network
from ssl_isda.optim.contract import Group
from ssl_isda.tasks.contract import Rows


class SupervisedLoss(nn.Module):
    """A loss of rows that have a class: the mean over them.

    ISDA is an input to it, not a rival: the logits that it is given are then those of Prop. 1
    (``ssl_isda.isda.propositions.augmented_logits``), or of sampled features. A loss that rewards large
    logits of other classes than the true one is to subtract what Prop. 1 added to them, ``rows.added``.
    """

    def forward(self, rows: Rows, head: nn.Linear | nn.Conv2d, step: Step) -> Tensor:
        """A scalar.

        Parameters
        ----------
        rows : logits and features with their graph
        head : the student's, for a loss that reads its weight
        step : the source of schedules and of every random draw
        """
        raise NotImplementedError

    def groups(self) -> list[Group]:
        """Parameters of its own, with a learning rate of their own."""
        return []

    def prepared(self, network: Network) -> Network:
        """The network to train with it: the same, unless it needs another part there."""
        return network


class LossFactory(Protocol):
    """Builds a supervised loss from its ``Config``."""

    def __call__(self, config: Any, *, num_classes: int, num_features: int) -> SupervisedLoss: ...


LOSSES: Registry[LossFactory] = Registry("loss")
"""Every supervised loss by name; ``@LOSSES.register("cross_entropy")`` stands above its class."""
