"""A network whose parameters are the moving average of another's."""

from __future__ import annotations

import copy
from typing import final

import torch
from torch import Tensor, nn

from ssl_isda.base.step import Step


def warmed_up_decay(step: Step, decay: float) -> float:
    """min(1 - 1 / (s + 1), ``decay``) after s steps, of which ``step`` is the last: at first the average
    is the plain mean of the start and all steps."""
    return min(1 - 1 / (step.index + 2), decay)


@final
class Ema:
    """theta' <- a theta' + (1 - a) theta after each step, beginning at a copy.

    A method that assigns ``network`` to an attribute of its own has it in its state.

    Parameters
    ----------
    network : whose parameters are averaged
    decay : a
    copies_buffers : whether buffers become those of ``network`` at each step. If not, they stay the
        copy's own: BatchNorm's running statistics there follow what passes through it in train mode
    """

    def __init__(self, network: nn.Module, decay: float, *, copies_buffers: bool = False) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay, self.copies_buffers = decay, copies_buffers

    @torch.no_grad()
    def follow(self, network: nn.Module, decay: float | None = None) -> None:
        """Move the average towards ``network``, once the optimizer has taken a step; with another
        ``decay`` this time, if one is given."""
        a = self.decay if decay is None else decay
        average: list[Tensor] = list(self.network.parameters())
        current: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(average, current, 1 - a)
        own: list[Tensor] = list(self.network.buffers())
        if self.copies_buffers and own:  # PyTorch refuses an empty list
            torch._foreach_copy_(own, list(network.buffers()))
