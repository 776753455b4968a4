"""Mean, standard deviation, Welch's t-test, paired differences and their power, of a few numbers."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST_FOR_A_TEST = 3
"""Runs on each side; with fewer, a standard deviation is hardly known."""
LEVEL = 0.05
"""Of every two-sided test."""
POWER = 0.8
"""Probability with which an effect is to be found."""
MOST_PAIRS = 1_000_000
ROUNDING = 1e-9
"""Percentage points by which differences of equal errors may differ."""


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
    """The mean of ``n`` differences and their 95 % confidence interval; None for one."""

    mean: float
    interval: tuple[float, float] | None
    n: int
    detectable: float | None = None
    """The smallest effect that so many pairs find with a probability of ``POWER``."""

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
    """Mean and standard deviation; None of no values."""
    if not values:
        return None
    std = statistics.stdev(values) if len(values) > 1 else None
    return Estimate(statistics.fmean(values), std, len(values))


def welch(first: Sequence[float], second: Sequence[float]) -> Welch | None:
    """The test of mean(first) - mean(second).

    None with fewer than three values on a side, or where all values of each side are equal.
    """
    if min(len(first), len(second)) < FEWEST_FOR_A_TEST:
        return None
    if len({*first}) == len({*second}) == 1:
        return None
    from scipy.stats import ttest_ind  # takes a second to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a side whose values are all equal
        test = ttest_ind(first, second, equal_var=False)
    return Welch(float(test.statistic), float(test.df), float(test.pvalue))


def paired_difference(differences: Sequence[float]) -> PairedDifference | None:
    """Of values that were taken in pairs, first minus second; None of no pairs.

        mean(d) ± t_{0.975, n - 1} s_d / sqrt(n)

    with Student's t and the standard deviation s_d of the differences, divided by n - 1. As
    ``scipy.stats.ttest_rel`` has it, in an order of operations that kept results were computed in.
    """
    n = len(differences)
    if n < 2:
        return PairedDifference(differences[0], None, 1) if n else None
    from scipy.special import stdtrit  # quantile of Student's t

    mean, std = statistics.fmean(differences), statistics.stdev(differences)
    reach = float(stdtrit(n - 1, 1 - LEVEL / 2)) * (std / math.sqrt(n))
    return PairedDifference(mean, (mean - reach, mean + reach), n, detectable_effect(std, n))


def detectable_effect(std: float, n: int) -> float:
    """The smallest true difference that a two-sided paired t-test of ``n`` pairs at 5 % finds with a
    probability of 80 %, if differences are normal with standard deviation ``std``.

        P(t' > t_{0.975, n - 1}) = 0.8,  t' noncentral t with noncentrality d sqrt(n) / std

    The probability that it finds the wrong sign is left out; it is below 1e-4.

    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., 1988.
    """
    from scipy.special import nctdtrinc, stdtrit

    critical = stdtrit(n - 1, 1 - LEVEL / 2)
    return float(nctdtrinc(n - 1, 1 - POWER, critical)) * std / math.sqrt(n)


def pairs_needed(std: float, effect: float) -> int | None:
    """The fewest pairs whose ``detectable_effect`` is at most ``effect``; None beyond a million."""
    low, high = 1, 2
    while detectable_effect(std, high) > effect:
        if high == MOST_PAIRS:
            return None
        low, high = high, min(2 * high, MOST_PAIRS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if detectable_effect(std, middle) <= effect else (middle, high)
    return high


def interval_of_std(std: float, degrees_of_freedom: int) -> tuple[float, float]:
    """The 95 % confidence interval of the standard deviation of normal numbers, estimated as ``std``.

    (n - 1) s^2 / sigma^2 ~ chi^2(n - 1)
    """
    from scipy.special import chdtri  # quantile of chi^2, from above

    df = degrees_of_freedom
    low, high = (std * math.sqrt(df / chdtri(df, share)) for share in (LEVEL / 2, 1 - LEVEL / 2))
    return low, high


def pooled_std(groups: Sequence[Sequence[float]]) -> float:
    """One standard deviation for all groups of two or more, each of which keeps its own mean."""
    weights = [len(group) - 1 for group in groups]
    return math.sqrt(statistics.fmean(map(statistics.variance, groups), weights))


def paired_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of Student's paired t-test that their mean is 0.

    None with fewer than three, or where all are equal.
    """
    n = len(differences)
    if n < FEWEST_FOR_A_TEST or max(differences) - min(differences) < ROUNDING:
        return None
    from scipy.special import stdtr  # distribution of Student's t

    t = statistics.fmean(differences) / (statistics.stdev(differences) / math.sqrt(n))
    return 2 * float(stdtr(n - 1, -abs(t)))


def p_in_words(p: float | None) -> str:
    """ "0.034", "< 0.001"; empty where there is no test."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p-values that hold for all tests at once; what has none counts for no test.

    The k-th smallest of m is multiplied by m - k + 1, made no smaller than those before it and no larger
    than 1. Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    adjusted: list[float | None] = [None] * len(ps)
    order = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    largest = 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        adjusted[place] = largest
    return adjusted
