"""The learning rate falls by a factor at certain moments of the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ssl_isda.base.options import Interval
from ssl_isda.optim.contract import SCHEDULES, Schedule


@dataclass(frozen=True)
class Config:
    """The schedule of residual networks on CIFAR (He et al., CVPR 2016)."""

    milestones: tuple[float, ...] = (0.5, 0.75)
    """Shares of the run after which the rate falls, each from 0 to 1."""
    decay: Annotated[float, Interval(gt=0, le=1)] = 0.1
    """Factor on the rate at each of them."""


@SCHEDULES.register("multistep")
def multistep(config: Config) -> Schedule:
    """decay to the power of the number of milestones that lie behind.

    Raises
    ------
    ValueError
        A milestone lies outside the run.
    """
    if not all(0 <= milestone <= 1 for milestone in config.milestones):
        raise ValueError(f"milestones are shares of the run, 0 to 1; got {config.milestones}")
    return lambda step: config.decay ** sum(m <= step.progress for m in config.milestones)
