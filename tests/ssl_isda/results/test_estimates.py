"""Means, tests and intervals, beside scipy's and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_isda.results.estimates import (
    Estimate,
    detectable_effect,
    estimate,
    interval_of_std,
    paired_difference,
    pairs_needed,
    pooled_std,
    welch,
)


def test_mean_and_standard_deviation_by_hand() -> None:
    """(10 + 12 + 17) / 3 = 13; squares 9 + 1 + 16 = 26, / 2 = 13, root 3.606."""
    assert str(estimate([10.0, 12.0, 17.0])) == "13.00 ± 3.61 (n = 3)"
    assert estimate([3.0]) == Estimate(3.0, None, 1) and estimate([]) is None


@pytest.mark.parametrize("seed", range(3))
def test_welch_by_its_formula(seed: int) -> None:
    """t = (m_1 - m_2) / sqrt(v_1 + v_2), v = s^2 / n; degrees of freedom by Satterthwaite."""
    import scipy.stats

    draws = np.random.default_rng(seed)
    first, second = draws.normal(10, 1, 3 + seed), draws.normal(11, 3, 4)
    test = welch(first.tolist(), second.tolist())
    v = [x.var(ddof=1) / len(x) for x in (first, second)]
    t = (first.mean() - second.mean()) / sum(v) ** 0.5
    degrees = sum(v) ** 2 / (v[0] ** 2 / (len(first) - 1) + v[1] ** 2 / 3)
    assert test is not None
    assert (test.t, test.degrees_of_freedom) == pytest.approx((t, degrees), rel=1e-9)
    assert test.p == pytest.approx(2 * scipy.stats.t.sf(abs(t), degrees), rel=1e-9)


def test_there_is_no_welch_test_of_two_runs_or_of_equal_ones() -> None:
    assert welch([1.0, 2.0], [1.0, 2.0, 3.0]) is None
    assert welch([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]) is None
    assert welch([1.0, 1.0, 1.0], [2.0, 2.0, 2.5]) is not None  # and no warning


def test_a_paired_difference_by_hand_and_by_scipy() -> None:
    """-2, -1, -1: mean -4/3, s = 1/sqrt(3), t_{0.975, 2} = 4.3027, half width 4.3027 / 3 = 1.4342."""
    import scipy.stats

    found = paired_difference([-2.0, -1.0, -1.0])
    assert str(found) == "-1.33 [-2.77, +0.10] (n = 3)"
    expected = scipy.stats.ttest_rel([10, 12, 13], [12, 13, 14]).confidence_interval(0.95)
    assert found is not None and found.interval == pytest.approx((expected.low, expected.high))
    assert str(paired_difference([0.5])) == "+0.50 (n = 1)" and paired_difference([]) is None


@pytest.mark.parametrize("n", [2, 5, 20])
def test_a_detectable_effect_is_found_in_four_of_five_cases(n: int) -> None:
    """By scipy's noncentral t, and for 5 pairs by drawing them."""
    import scipy.stats

    effect = detectable_effect(2.0, n)
    critical = scipy.stats.t.ppf(0.975, n - 1)
    assert scipy.stats.nct.sf(critical, n - 1, effect / 2 * n**0.5) == pytest.approx(0.8)
    if n == 5:
        draws = np.random.default_rng(0).normal(effect, 2.0, (20_000, n))
        t = draws.mean(1) / (draws.std(1, ddof=1) / n**0.5)
        assert (t > critical).mean() == pytest.approx(0.8, abs=0.01)


def test_pairs_needed_are_the_fewest_that_detect_the_effect() -> None:
    """34 for half a standard deviation, the figure of Cohen's tables."""
    assert pairs_needed(1.0, 0.5) == 34
    assert detectable_effect(1.0, 34) <= 0.5 < detectable_effect(1.0, 33)
    assert pairs_needed(0.0, 0.5) == 2 and pairs_needed(1.0, 1e-6) is None
    nearly_a_million = pairs_needed(1.0, 0.0029)
    assert nearly_a_million is not None and 900_000 < nearly_a_million < 1_000_000
    found = paired_difference([-2.0, -1.0, -1.0])
    assert found is not None and found.detectable == detectable_effect(3**-0.5, 3)


def test_the_interval_of_a_spread_holds_it_95_times_of_100() -> None:
    assert interval_of_std(1.0, 2) == pytest.approx((0.5207, 6.2847), abs=1e-4)
    stds = np.random.default_rng(0).normal(0, 3.0, (5_000, 4)).std(1, ddof=1)
    low, high = (stds * factor for factor in interval_of_std(1.0, 3))
    assert ((low < 3) & (high > 3)).mean() == pytest.approx(0.95, abs=0.01)


def test_a_pooled_spread_weighs_by_degrees_of_freedom() -> None:
    """s^2 of 0, 2 is 2 with 1 degree; of 7, 8, 9 it is 1 with 2: (2 + 2) / 3."""
    assert pooled_std([[0.0, 2.0], [7.0, 8.0, 9.0]]) == pytest.approx((4 / 3) ** 0.5)
