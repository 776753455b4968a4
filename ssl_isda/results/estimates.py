"""Mean, standard deviation, Welch's t-test and paired differences of a few numbers."""

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
class PairedDifference:
    """The mean of ``n`` differences and the half width of its 95 % confidence interval; None for one."""

    mean: float
    half_width: float | None
    n: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """The ends of the interval."""
        if self.half_width is None:
            return None
        return self.mean - self.half_width, self.mean + self.half_width

    def __str__(self) -> str:
        ends = "" if self.interval is None else " [{:+.2f}, {:+.2f}]".format(*self.interval)
        return f"{self.mean:+.2f}{ends} (n = {self.n})"


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


def paired_difference(differences: Sequence[float]) -> PairedDifference | None:
    """Of values that were taken in pairs, first minus second; of no pairs there is none.

        mean(d) ± t_{0.975, n - 1} s_d / sqrt(n)

    with Student's t and the standard deviation s_d of the differences, divided by n - 1.
    """
    n = len(differences)
    if n < 2:
        return PairedDifference(differences[0], None, 1) if n else None
    from scipy.special import stdtrit  # quantile of Student's t

    error = statistics.stdev(differences) / math.sqrt(n)
    return PairedDifference(statistics.fmean(differences), float(stdtrit(n - 1, 0.975)) * error, n)
