"""Schedules as pure functions of how far a run has come."""

from __future__ import annotations

import math


def gaussian_ramp_up(current: float, length: float) -> float:
    """r = exp(-5 (1 - min(1, current / length))^2): from e^-5 at 0 to 1 at ``length`` and after.

    Source: Laine & Aila, Temporal Ensembling for Semi-Supervised Learning, ICLR 2017.
    """
    if current >= length:
        return 1.0
    return math.exp(-5.0 * (1.0 - current / length) ** 2)


def linear_ramp_up(current: float, length: float) -> float:
    """min(1, current / length): from 0 at 0 to 1 at ``length`` and after."""
    return current / length if current < length else 1.0


def isda_strength(lambda_0: float, progress: float) -> float:
    """lambda = lambda_0 t/T (Sec. 4.1 of ISDA): covariances are poor while training is young."""
    return lambda_0 * progress
