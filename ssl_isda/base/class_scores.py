"""Scores that count every class alike, from how often class i (row) was predicted as class j (column).

The error of the paper is the share of all test images that are wrong. Where classes have different
numbers of test images, a network that never predicts a rare class can have a small error; it has a large
balanced error and a small macro F1. A class without test images has no score of its own and enters no
mean.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

Counts = Sequence[Sequence[float]]


def class_errors(confusion: Counts) -> list[float | None]:
    """The share of each class's images that are predicted as another class, in percent."""
    return [
        100 * (sum(row) - row[k]) / sum(row) if sum(row) else None
        for k, row in enumerate(confusion)
    ]


def balanced_error(confusion: Counts) -> float | None:
    """The mean of the class errors, in percent: 100 minus the mean recall, the balanced accuracy."""
    return _mean(class_errors(confusion))


def macro_f1(confusion: Counts) -> float | None:
    """The mean over the classes of F1 = 2 TP / (2 TP + FP + FN), in percent.

    TP: images of the class that are predicted as it; FN: its other images; FP: images of other classes
    that are predicted as it.
    """
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    return _mean(
        [
            200 * row[k] / (sum(row) + predicted[k]) if sum(row) else None
            for k, row in enumerate(confusion)
        ]
    )


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return statistics.fmean(known) if known else None
