"""Mean, standard deviation and Welch's t-test of a few numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST_FOR_A_TEST = 3
"""Runs on each side; with fewer, a standard deviation is hardly known."""


@dataclass(frozen=True)
class Estimate:
    """The mean of ``n`` runs and their standard deviation, divided by n - 1; None for one run."""

    mean: float
    std: float | None
    n: int

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:.2f}"
        return f"{self.mean:.2f}{spread} (n = {self.n})"


@dataclass(frozen=True)
class Welch:
    """Welch's test of equal means: two-sided p, for samples whose variances may differ."""

    t: float
    degrees_of_freedom: float
    p: float


def estimate(values: Sequence[float]) -> Estimate | None:
    """Of no values there is none."""
    if not values:
        return None
    std = statistics.stdev(values) if len(values) > 1 else None
    return Estimate(statistics.fmean(values), std, len(values))


def welch(first: Sequence[float], second: Sequence[float]) -> Welch | None:
    """The test of mean(first) - mean(second); None where it says nothing.

    That is with fewer than three values on a side, or where all values of each side are equal.

        t = (m_1 - m_2) / sqrt(v_1 + v_2),   v_i = s_i^2 / n_i
        degrees of freedom = (v_1 + v_2)^2 / (v_1^2 / (n_1 - 1) + v_2^2 / (n_2 - 1))
    """
    if min(len(first), len(second)) < FEWEST_FOR_A_TEST:
        return None
    v_1 = statistics.variance(first) / len(first)
    v_2 = statistics.variance(second) / len(second)
    if v_1 + v_2 == 0:
        return None
    from scipy.special import stdtr  # cumulative distribution of Student's t

    t = (statistics.fmean(first) - statistics.fmean(second)) / math.sqrt(v_1 + v_2)
    degrees = (v_1 + v_2) ** 2 / (v_1**2 / (len(first) - 1) + v_2**2 / (len(second) - 1))
    return Welch(t, degrees, 2 * float(stdtr(degrees, -abs(t))))
