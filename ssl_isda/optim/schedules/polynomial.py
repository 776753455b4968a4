"""The learning rate falls to zero as a power of what is left of the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ssl_isda.base.options import Interval
from ssl_isda.optim.contract import SCHEDULES, Schedule


@dataclass(frozen=True)
class Config:
    """The schedule of DeepLab and PSPNet."""

    power: Annotated[float, Interval(gt=0)] = 0.9
    """1 is a straight line."""


@SCHEDULES.register("polynomial")
def polynomial(config: Config) -> Schedule:
    """(1 - t/T)^power: from 1 at the start to 0 at the end of a run.

    Source: Liu, Rabinovich, Berg, ParseNet, 2015, arXiv:1506.04579; Chen et al., DeepLab, TPAMI 2018.
    """
    return lambda step: float((1.0 - step.progress) ** config.power)
