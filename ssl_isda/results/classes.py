"""Which classes a cell gets wrong, what it takes them for, and the scores that stand beside its error:
means over the seeds that kept counts."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ssl_isda.base.class_scores import balanced_error, macro_f1
from ssl_isda.results.cells import Cell
from ssl_isda.results.estimates import Estimate, estimate
from ssl_isda.results.run_files import class_names, confusion_counts, number
from ssl_isda.results.runs import Run
from ssl_isda.runs.result import SCORES_BESIDE

MOST_IN_A_TABLE = 20
"""More classes make a picture, with the worst ones beside it."""
NUM_WORST = 10


@dataclass(frozen=True)
class Classes:
    """At the last epoch, on the test set."""

    names: tuple[str, ...]
    errors: list[Estimate | None]
    """Of each class, in percent; None for a class without test images."""
    shares: list[list[float]]
    """Percent of the images of a true class (row) that were taken for each class (column)."""
    n: int
    ious: list[Estimate | None] | None = None
    """Of a segmentation: intersection over union of each class, in percent."""

    @property
    def is_small(self) -> bool:
        return len(self.names) <= MOST_IN_A_TABLE

    @property
    def worst(self) -> list[tuple[str, Estimate]]:
        """The classes with the largest errors."""
        known = [(name, e) for name, e in zip(self.names, self.errors, strict=True) if e]
        return sorted(known, key=lambda pair: -pair[1].mean)[:NUM_WORST]

    @property
    def most_confused(self) -> list[tuple[str, str, float]]:
        """True class, predicted class and percent, of the most frequent mistakes."""
        pairs = [
            (name, self.names[j], share)
            for i, (name, row) in enumerate(zip(self.names, self.shares, strict=True))
            for j, share in enumerate(row)
            if i != j and share
        ]
        return sorted(pairs, key=lambda pair: -pair[2])[:NUM_WORST]


def classes_of(cell: Cell) -> Classes | None:
    """None if no finished run of the cell has a confusion matrix."""
    found = [(run, confusion_counts(dict(run.result))) for run in cell.finished]
    counted = [(run, counts) for run, counts in found if counts]
    if not counted:
        return None
    names = class_names(dict(counted[0][0].result), len(counted[0][1]))
    matrices = [_shares(counts) for _, counts in counted if len(counts) == len(names)]
    indices = range(len(names))
    return Classes(
        names,
        [estimate([100 - matrix[i][i] for matrix in matrices if matrix[i]]) for i in indices],
        [_mean_row([matrix[i] for matrix in matrices]) for i in indices],
        len(matrices),
        _ious(cell, len(names)),
    )


def _ious(cell: Cell, num_classes: int) -> list[Estimate | None] | None:
    """As the results of a segmentation have them; None of other runs."""
    found = [[*run.result.get("class_ious", {}).values()] for run in cell.finished]
    found = [values for values in found if len(values) == num_classes]
    if not found:
        return None
    return [
        estimate([iou for value in column if (iou := number(value)) is not None])
        for column in zip(*found, strict=True)
    ]


def scores_of(run: Run) -> dict[str, float]:
    """``SCORES_BESIDE`` of a finished run, in percent: what its confusion matrix gives, and for the
    top-5 error and the calibration what its result says. A run that kept neither has none."""
    counts = confusion_counts(dict(run.result)) if run.state == "finished" else None
    found = {
        "top5_error": number(run.result.get("top5_error")),
        "balanced_error": balanced_error(counts) if counts else None,
        "macro_f1": macro_f1(counts) if counts else None,
        "calibration_error": number(run.result.get("calibration_error")),
    }
    return {name: score for name, score in found.items() if score is not None}


def scores_beside(cell: Cell) -> dict[str, Estimate | None] | None:
    """Each of ``SCORES_BESIDE`` over the seeds; None if no finished run of the cell has any."""
    scores = [scores_of(run) for run in cell.finished]
    if not any(scores):
        return None
    return {name: estimate([s[name] for s in scores if name in s]) for name in SCORES_BESIDE}


def score_columns(cells: Iterable[Mapping[str, Estimate | None]]) -> dict[str, str]:
    """Those of ``SCORES_BESIDE`` that a table of these cells needs: most data have no top-5 error."""
    known = {name for scores in cells for name, found in scores.items() if found}
    return {name: words for name, words in SCORES_BESIDE.items() if name in known}


def _shares(counts: Sequence[Sequence[float]]) -> list[list[float]]:
    """Percent of each row; an empty row for a class without images."""
    return [[100 * x / sum(row) for x in row] if sum(row) else [] for row in counts]


def _mean_row(rows: Sequence[Sequence[float]]) -> list[float]:
    whole = [row for row in rows if row]
    return [statistics.fmean(values) for values in zip(*whole, strict=True)]
