"""What was logged over a training, as mean and standard deviation over the seeds of a cell."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ssl_isda.results.cells import Cell
from ssl_isda.runs.metrics import Metric, metrics_among

MOST_POINTS = 100
"""A curve is drawn through so many of its epochs, evenly spread, first and last among them."""


@dataclass(frozen=True)
class Curve:
    """One metric of one cell over the training."""

    steps: list[float]
    means: list[float]
    stds: list[float]
    """Empty for a single run, and where none were asked for."""
    n: int
    is_finished: bool
    """False: no run of the cell is finished, and these are the unfinished ones."""


def metrics_of(cells: Iterable[Cell]) -> list[Metric]:
    """What the runs of ``cells`` logged, in the order of the report; unknown numbers are left out."""
    runs = (run for cell in cells for run in cell.runs)
    return metrics_among(name for run in runs for name in (run.epochs or [{}])[-1])


def curve(cell: Cell, metric: Metric, *, with_std: bool) -> Curve | None:
    """The curve of the finished runs, or where there are none of those that came so far; or None.

    It ends where its shortest run ends.
    """
    runs = cell.finished or [run for run in cell.runs if run.state in ("unfinished", "failed")]
    logged = [run.epochs for run in runs if any(metric.name in epoch for epoch in run.epochs)]
    if not logged:
        return None
    length = min(map(len, logged))
    picked = [index for index in _evenly(length) if _is_whole(logged, index, metric.name)]
    columns = [[epochs[index][metric.name] for epochs in logged] for index in picked]
    return Curve(
        steps=[logged[0][index]["step"] for index in picked],
        means=[statistics.fmean(values) for values in columns],
        stds=[statistics.stdev(values) for values in columns]
        if with_std and len(logged) > 1
        else [],
        n=len(logged),
        is_finished=bool(cell.finished),
    )


def _is_whole(logged: Sequence[Sequence[Mapping[str, float]]], index: int, key: str) -> bool:
    return all(key in epochs[index] and "step" in epochs[index] for epochs in logged)


def _evenly(length: int) -> list[int]:
    if length <= MOST_POINTS:
        return list(range(length))
    return [round(i * (length - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)]
