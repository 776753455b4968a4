"""The learning rate falls by a factor at certain moments of the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ssl_isda.base.options import Interval
from ssl_isda.base.step import Step
from ssl_isda.optim.contract import SCHEDULES, Schedule


@dataclass(frozen=True)
class Config:
    """The schedule of residual networks on CIFAR (He et al., CVPR 2016)."""

    milestones: tuple[float, ...] = (0.5, 0.75)
    """When the rate falls: up to 1 the share of the run that then lies behind, above 1 the epoch,
    counted from 1, which is the first with the smaller rate."""
    decay: Annotated[float, Interval(gt=0, le=1)] = 0.1
    """Factor on the rate at each of them."""


@SCHEDULES.register("multistep")
def multistep(config: Config) -> Schedule:
    """decay to the power of the number of milestones that lie behind.

    Raises
    ------
    ValueError
        A milestone is negative or no whole epoch; at a step: it lies behind the end of the run.
    """
    milestones = config.milestones
    if not all(0 <= milestone <= 1 or milestone == int(milestone) > 1 for milestone in milestones):
        raise ValueError(
            "milestones are shares of the run, 0 to 1, or whole epochs above 1; got "
            f"{_listed(milestones)}"
        )

    def factor(step: Step) -> float:
        if max(milestones, default=0) > max(1, step.num_epochs):
            raise ValueError(
                f"milestones {_listed(milestones)}: the run ends with epoch {step.num_epochs}; shares "
                "of it, such as --milestones 0.5 0.75, fit any length"
            )
        return config.decay ** sum(_is_behind(milestone, step) for milestone in milestones)

    return factor


def _is_behind(milestone: float, step: Step) -> bool:
    return milestone <= (step.progress if milestone <= 1 else step.epoch + 1)


def _listed(milestones: tuple[float, ...]) -> str:
    return " ".join(f"{milestone:g}" for milestone in milestones)
