"""Stochastic gradient descent with momentum, Nesterov's or plain: the optimizer of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch

from ssl_isda.base.options import Interval
from ssl_isda.optim.contract import OPTIMIZERS, Group, OptimizerFactory
from ssl_isda.optim.without_dynamo import described, without_dynamo

SGD = without_dynamo(torch.optim.SGD)
"""``torch.optim.SGD``, which leaves ``torch._dynamo`` unloaded."""


@dataclass(frozen=True)
class Config:
    """The paper's settings."""

    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    """Momentum: the share of the last update that the next one keeps."""
    nesterov: bool = True
    """Nesterov's momentum, which looks ahead; else the plain one, as for Cityscapes."""
    weight_decay: Annotated[float, Interval(ge=0)] = 1e-4
    """Factor on the squared weights."""


@OPTIMIZERS.register("sgd")
def sgd(config: Config) -> OptimizerFactory:
    """SGD; without momentum it is plain gradient descent."""

    def build(groups: Sequence[Group], device: torch.device) -> torch.optim.Optimizer:
        return SGD(
            described(groups),
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov and config.momentum > 0,
            fused=device.type in ("cpu", "cuda"),
        )

    return build
