"""Adam with decoupled weight decay.

Loshchilov & Hutter, Decoupled Weight Decay Regularization, ICLR 2019, arXiv:1711.05101.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch

from ssl_isda.base.options import Interval
from ssl_isda.optim.contract import OPTIMIZERS, Group, OptimizerFactory
from ssl_isda.optim.without_dynamo import described, without_dynamo

AdamW = without_dynamo(torch.optim.AdamW)
"""``torch.optim.AdamW``, which leaves ``torch._dynamo`` unloaded."""


@dataclass(frozen=True)
class Config:
    """PyTorch's settings. A learning rate of about 0.001 suits it, not one that suits SGD."""

    beta_1: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    """Decay of the mean gradient, per step."""
    beta_2: Annotated[float, Interval(ge=0, lt=1)] = 0.999
    """Decay of the mean squared gradient, per step."""
    weight_decay: Annotated[float, Interval(ge=0)] = 0.01
    """What a weight loses in a step, as a share of the learning rate."""


@OPTIMIZERS.register("adamw")
def adamw(config: Config) -> OptimizerFactory:
    """AdamW."""

    def build(groups: Sequence[Group], device: torch.device) -> torch.optim.Optimizer:
        return AdamW(
            described(groups),
            betas=(config.beta_1, config.beta_2),
            weight_decay=config.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )

    return build
