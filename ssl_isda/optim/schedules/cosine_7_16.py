"""The learning rate falls along a cosine that ends early: the schedule of FixMatch and its kin.

Sohn et al., FixMatch, NeurIPS 2020, arXiv:2001.07685, Sec. 2.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ssl_isda.optim.contract import SCHEDULES, Schedule


@dataclass(frozen=True)
class Config:
    """No options."""


@SCHEDULES.register("cosine_7_16")
def cosine_7_16(config: Config) -> Schedule:
    """cos(7 pi t / (16 T)): from 1 at the start to 0.195 at the end of a run."""
    return lambda step: math.cos(7 * math.pi * step.progress / 16)
