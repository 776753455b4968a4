"""The network that a run tests, as its evaluation passes images through it."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from ssl_isda.models.contract import Prediction
from ssl_isda.tasks.contract import Task


@final
class Evaluated(nn.Module):
    """Called with images, it gives what the task sees: of a segmentation, logits at the images' size, by
    the windows, scales and mirrored passes that its options ask for."""

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network, self.task = network, task

    @property
    def head(self) -> nn.Module:
        """The network's."""
        head = self.network.head
        assert isinstance(head, nn.Module)
        return head

    def forward(self, images: Tensor) -> Prediction:
        return self.task.predicted(self.network, images)
