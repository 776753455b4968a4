"""Schedules against their formulas."""

import math

import pytest

from ssl_isda.base.ramps import gaussian_ramp_up, isda_strength, linear_ramp_up
from ssl_isda.optim.schedules.cosine import cosine


def test_ramp_up_at_its_start_middle_and_end() -> None:
    assert gaussian_ramp_up(0, 80) == pytest.approx(math.exp(-5))
    assert gaussian_ramp_up(40, 80) == pytest.approx(math.exp(-5 * 0.25))
    assert gaussian_ramp_up(80, 80) == 1
    assert gaussian_ramp_up(200, 80) == 1


def test_ramp_up_grows_without_a_jump() -> None:
    values = [gaussian_ramp_up(t / 100, 0.2) for t in range(101)]
    assert values == sorted(values)
    assert gaussian_ramp_up(0.2 - 1e-9, 0.2) == pytest.approx(1)


def test_no_ramp_up_is_full_weight_from_the_start() -> None:
    assert gaussian_ramp_up(0, 0) == 1


def test_linear_ramp_up_at_its_start_middle_and_end() -> None:
    assert [linear_ramp_up(t, 80) for t in (0, 20, 40, 80, 200)] == [0, 0.25, 0.5, 1, 1]
    assert linear_ramp_up(0, 0) == 1


def test_cosine_starts_at_1_and_ends_at_0() -> None:
    assert cosine(0) == 1
    assert cosine(0.5) == pytest.approx(0.5)
    assert cosine(1 / 3) == pytest.approx(0.75)
    assert cosine(1) == 0


def test_strength_grows_linearly_from_0() -> None:
    assert [isda_strength(0.5, t) for t in (0, 0.25, 1)] == [0, 0.125, 0.5]
