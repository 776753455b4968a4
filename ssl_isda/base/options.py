"""The range of a method's option, beside its type: ``epsilon: Annotated[float, Interval(gt=0)]``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """Bounds that a value must keep: greater than, at least, less than, at most."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
