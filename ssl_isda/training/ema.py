"""A network whose parameters are the moving average of another's."""

from __future__ import annotations

import copy
from typing import final

import torch
from torch import Tensor, nn


@final
class Ema:
    """theta' <- a theta' + (1 - a) theta after each step, beginning at a copy.

    A method that assigns ``network`` to an attribute of its own has it in its state. Buffers stay the
    copy's own: BatchNorm's running statistics there follow what passes through it in train mode.

    Parameters
    ----------
    network : whose parameters are averaged
    decay : a
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, network: nn.Module, decay: float | None = None) -> None:
        """Move the average towards ``network``, once the optimizer has taken a step; with another
        ``decay`` this time, if one is given."""
        a = self.decay if decay is None else decay
        average: list[Tensor] = list(self.network.parameters())
        current: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(average, current, 1 - a)
