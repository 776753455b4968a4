"""How often a change keeps the class, with its 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ssl_isda.results.estimates import paired_difference


def kept_rate(kept: Sequence[bool]) -> dict[str, Any]:
    """In percent, with Wilson's interval."""
    from scipy.stats import binomtest

    n, count = len(kept), sum(kept)
    interval = binomtest(count, n).proportion_ci(0.95, method="wilson")
    ends = [100 * float(interval.low), 100 * float(interval.high)]
    return {"kept": 100 * count / n, "interval": ends, "images": n}


def difference(first: Sequence[bool], second: Sequence[bool]) -> dict[str, Any]:
    """First minus second in points, image by image, with the interval of paired differences."""
    found = paired_difference([100.0 * (a - b) for a, b in zip(first, second, strict=True)])
    assert found is not None
    return {"points": found.mean, "interval": None if not found.interval else [*found.interval]}


def in_words(rate: dict[str, Any]) -> str:
    """ "97.2 % [95.4, 98.3]"."""
    low, high = rate["interval"]
    return f"{rate['kept']:.1f} % [{low:.1f}, {high:.1f}]"
