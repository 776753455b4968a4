"""The learning rate falls to zero as a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ssl_isda.optim.contract import SCHEDULES, Schedule


@dataclass(frozen=True)
class Config:
    """No options."""


def cosine(progress: float) -> float:
    """(1 + cos(pi t/T)) / 2: from 1 at the start to 0 at the end of a run."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


@SCHEDULES.register("cosine")
def cosine_schedule(config: Config) -> Schedule:
    """``cosine`` of the share of the run that lies behind."""
    return lambda step: cosine(step.progress)
