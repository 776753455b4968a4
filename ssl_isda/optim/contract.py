"""What trains the parameters: groups of them, optimizers, and schedules of the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from ssl_isda.base.registry import Registry
from ssl_isda.base.step import Step


@dataclass(frozen=True)
class Group:
    """Parameters that are trained alike."""

    parameters: list[nn.Parameter]
    rate_scale: float = 1.0
    """Factor on the learning rate. The loop applies it: the optimizer's state knows nothing of it."""
    weight_decay: float | None = None
    """None: the optimizer's own."""


class OptimizerFactory(Protocol):
    """Makes the optimizer of one run; the loop sets its learning rate before each step."""

    def __call__(self, groups: Sequence[Group], device: torch.device) -> torch.optim.Optimizer: ...


class Schedule(Protocol):
    """A factor on the run's learning rate: a pure function of the step, with no state to save."""

    def __call__(self, step: Step) -> float: ...


OPTIMIZERS: Registry[Callable[[Any], OptimizerFactory]] = Registry("optimizer")
"""By name, what makes an ``OptimizerFactory`` of a ``Config``."""
SCHEDULES: Registry[Callable[[Any], Schedule]] = Registry("schedule")
"""By name, what makes a ``Schedule`` of a ``Config``."""
