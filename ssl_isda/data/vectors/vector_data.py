"""A whole data set of vectors: N rows of d numbers, with a label each or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.source import InMemory
from ssl_isda.data.vectors.rows import numbers
from ssl_isda.data.vectors.table import Columns, VectorTable, table_of


@dataclass(frozen=True)
class VectorData(ImageData):
    """Training and test rows with their labels, what ``ImageData`` is for images.

    train, test : sources of rows, of shape (d,), on the CPU; their numbers are raw, and standardised
        batch by batch by what is fitted to those of the training part
    columns, label_column : the names of the columns, where the rows are those of a table
    """

    columns: tuple[str, ...] = ()
    label_column: str = ""

    @classmethod
    def from_arrays(
        cls,
        name: str,
        class_names: Sequence[str],
        train: tuple[np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray],
    ) -> VectorData:
        """From (rows, labels) of both parts; rows (N, d) numbers, labels (N,) integers, -1 for none.

        Arrays of floating-point numbers are shared, not copied, where torch can share them.

        Raises
        ------
        UsageError
            Rows are no such arrays, have another number of labels or of columns than the other part,
            or a number that is NaN or infinite.
        """
        one, other = _checked(*train, "X"), _checked(*test, "X_test")
        if one.shape != other.shape:
            raise UsageError(f"X has {one.shape[0]} columns and X_test has {other.shape[0]}")
        return cls(name, tuple(class_names), one, other)

    @classmethod
    def from_table(cls, name: str, table: VectorTable) -> VectorData:
        """The rows of a table, whose numbers are known to be finite."""
        train, test = _shared(table.rows, table.labels), _shared(table.test_rows, table.test_labels)
        train.fingerprint, test.fingerprint = table.fingerprints
        found = cls(name, table.class_names, train, test, drawn_test=table.drawn_test)
        return replace(found, columns=table.columns, label_column=table.label_column)


def vector_data(
    name: str, data: Any, test_data: Any = None, test_fraction: float | None = None
) -> VectorData:
    """Training and test rows of a user's arrays.

    Parameters
    ----------
    data : (X, y), numbers (n, d) and n labels, integers or names; -1, None, NaN and empty text say that
        there is none
    test_data : the same, every row labeled. Without it ``test_fraction``, by default a fifth, of each
        class's labeled rows is held out, the same ones for every seed.

    Raises
    ------
    UsageError
        One of both is no pair, or what ``table_of`` refuses.
    """
    if isinstance(data, VectorData):
        return data
    test = (None, None) if test_data is None else _pair(test_data, "test_data")
    columns = Columns(*_pair(data, "data"), *test)
    return VectorData.from_table(name, table_of(columns, test_fraction, in_place=False))


def _pair(given: Any, what: str) -> Sequence[Any]:
    if isinstance(given, (tuple, list)) and len(given) == 2:
        return given
    of = f" of {len(given)}" if isinstance(given, (tuple, list)) else ""
    raise UsageError(
        f"{what} must be (X, y), rows and their labels; got {type(given).__name__}{of}"
    )


def _checked(rows: np.ndarray, labels: np.ndarray, what: str) -> InMemory:
    if np.shape(labels) != (len(rows),):
        raise UsageError(f"{what} has {len(rows)} rows, and its labels {np.shape(labels)}")
    return _shared(numbers(rows, what), np.asarray(labels))


def _shared(rows: np.ndarray, labels: np.ndarray) -> InMemory:
    """Without a copy where torch can share the rows."""
    native = rows.astype(rows.dtype.newbyteorder("="), copy=False)
    fitting = np.require(native, requirements=["C", "A", "W"])
    return InMemory(
        torch.from_numpy(fitting), torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int64))
    )
