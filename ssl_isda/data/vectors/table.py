"""A table of vectors as arrays: its classes, and the rows to train and to test on. Imports no torch.

Dimensions: N rows, d numbers each.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.data import test_part
from ssl_isda.data.identity import digest_of
from ssl_isda.data.vectors import labels as labels_of
from ssl_isda.data.vectors import rows as rows_of

TEST_SHARE = 0.2
"""Of each class's labeled rows, where no test part is given."""


class Columns(NamedTuple):
    """What a file or a program gives: rows and labels, and those to test on if there are any."""

    X: Any
    y: Any
    X_test: Any = None
    y_test: Any = None
    names: tuple[str, ...] = ()
    """Of the columns of X, where they have names."""
    label_column: str = ""
    """The name of the column that y was."""


@dataclass(frozen=True)
class VectorTable:
    """Rows (N, d) and labels (N,) int64 of both parts; -1 for a training row without a label.

    drawn_test : where no test part was given, the places of its rows among all labeled rows
    columns, label_column : the names of the columns, where the rows are those of a table
    """

    class_names: tuple[str, ...]
    rows: np.ndarray
    labels: np.ndarray
    test_rows: np.ndarray
    test_labels: np.ndarray
    drawn_test: tuple[int, ...] | None
    columns: tuple[str, ...] = ()
    label_column: str = ""

    def train_counts(self) -> list[int]:
        """Labeled training rows of each class."""
        is_labeled = self.labels >= 0
        counts = np.bincount(self.labels[is_labeled], minlength=len(self.class_names))
        return [int(count) for count in counts]

    @cached_property
    def fingerprints(self) -> tuple[str, str]:
        """Of the training and of the test part."""
        train = rows_of.fingerprint(self.rows, self.labels)
        return train, rows_of.fingerprint(self.test_rows, self.test_labels)

    @property
    def digests(self) -> tuple[str, ...]:
        """What tells these rows, labels and classes from all others, in every version."""
        return digest_of(self.class_names, *self.fingerprints), self.fingerprints[0]


def table_of(
    given: Columns, test_fraction: float | None, *, in_place: bool, where: str = ""
) -> VectorTable:
    """The table that these columns make.

    Parameters
    ----------
    test_fraction : share of each class's labeled rows to test on where no part is given for that, by
        default a fifth: the same rows whatever the seed, the method and the order of the rows
    in_place : whether the rows may be moved within their own memory
    where : how a complaint begins: the file, with a colon

    Raises
    ------
    UsageError
        Rows and labels that are none or do not fit together, no label, one class, a test part beside a
        fraction, or one of other columns or classes.
    """
    try:
        found = _table_of(given, test_fraction, in_place)
        return replace(found, columns=given.names, label_column=given.label_column)
    except UsageError as error:
        raise UsageError(f"{where}{error}") from error


def _table_of(given: Columns, test_fraction: float | None, in_place: bool) -> VectorTable:
    rows = rows_of.numbers(given.X, "X")
    names, labels = labels_of.numbered(labels_of.entries(given.y, len(rows)))
    if given.X_test is None and given.y_test is None:
        return _divided(names, rows, labels, test_fraction or TEST_SHARE, in_place)
    if test_fraction is not None:
        raise UsageError("has a part to test on: leave --test-fraction out")
    if given.X_test is None or given.y_test is None:
        there, lacking = ("X_test", "y_test") if given.y_test is None else ("y_test", "X_test")
        raise UsageError(f"has {there} and no {lacking}: a part to test on needs both")
    test = rows_of.numbers(given.X_test, "X_test")
    if test.shape[1] != rows.shape[1]:
        raise UsageError(f"X has {rows.shape[1]} columns and X_test has {test.shape[1]}")
    entries = labels_of.entries(given.y_test, len(test), "y_test", "X_test")
    return VectorTable(
        names, rows, labels, test, labels_of.placed(entries, names, "y_test"), drawn_test=None
    )


def _divided(
    names: tuple[str, ...], rows: np.ndarray, labels: np.ndarray, fraction: float, in_place: bool
) -> VectorTable:
    labeled = np.flatnonzero(labels >= 0)
    hashes = [_hash(rows[place]) for place in labeled]
    drawn = np.array(test_part.places_for_test(labels[labeled].tolist(), hashes, fraction), int)
    if not len(drawn):
        raise UsageError("no class has two different labeled rows, so that none is left to test on")
    is_test = np.zeros(len(rows), bool)
    is_test[labeled[drawn]] = True
    test_rows, train = rows[is_test], np.flatnonzero(~is_test)
    may_move = in_place and rows.flags.writeable
    return VectorTable(
        names,
        rows_of.kept_rows(rows, train) if may_move else rows[train],
        labels[train],
        test_rows,
        labels[is_test],
        drawn_test=tuple(drawn.tolist()),
    )


def _hash(row: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(row).data).digest()
