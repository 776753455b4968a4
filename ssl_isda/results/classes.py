"""Which classes a cell gets wrong, and what it takes them for: mean over the seeds that kept counts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ssl_isda.results.cells import Cell
from ssl_isda.results.estimates import Estimate, estimate
from ssl_isda.results.run_files import class_names, confusion_counts

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
    )


def _shares(counts: Sequence[Sequence[float]]) -> list[list[float]]:
    """Percent of each row; an empty row for a class without images."""
    return [[100 * x / sum(row) for x in row] if sum(row) else [] for row in counts]


def _mean_row(rows: Sequence[Sequence[float]]) -> list[float]:
    whole = [row for row in rows if row]
    return [statistics.fmean(values) for values in zip(*whole, strict=True)]
