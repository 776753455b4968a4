"""A whole data set of vectors: N rows of d numbers, with a label each or none.

Dimensions: N rows, d numbers each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.data.image_data import ImageData
from ssl_isda.data.source import InMemory

ROWS_AT_ONCE = 4_096
"""Rows that are looked at, or of which float64 copies are made, at a time."""
KEPT = (np.float16, np.float32, np.float64)
"""Types whose numbers stay as they are: rows become float32 batch by batch, once standardised."""


@dataclass(frozen=True)
class VectorData(ImageData):
    """Training and test rows with their labels, what ``ImageData`` is for images.

    train, test : sources of rows, of shape (d,); the numbers are raw, ``standardization`` has what
        is fitted to those of the training part
    """

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
            Rows and labels are not such arrays, or of different lengths; a number is NaN or infinite.
        """
        parts = (_in_memory(*train, what="X"), _in_memory(*test, what="X_test"))
        if parts[0].shape != parts[1].shape:
            raise UsageError(
                f"X has {parts[0].shape[0]} numbers in a row, and X_test {parts[1].shape[0]}"
            )
        return cls(name, tuple(class_names), *parts)


def is_of_vectors(data: ImageData) -> bool:
    """Whether the rows of a data set are vectors."""
    return len(data.train.shape) == 1


def numbers(values: object, what: str = "X") -> np.ndarray:
    """(N, d) float16, float32 or float64, of a kind that torch can share.

    Raises
    ------
    UsageError
        The values are no such table, or one of them is NaN or infinite.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{what} must be numbers, got the type {array.dtype}")
    if array.ndim != 2 or 0 in array.shape:
        raise UsageError(
            f"{what} must have rows of numbers, (n, d), both 1 or more; got {array.shape}"
        )
    if array.dtype not in KEPT:
        array = array.astype(np.float64 if array.dtype.itemsize > 2 else np.float32)
    _refuse_not_finite(array, what)
    return np.require(array, requirements=["C", "A", "W"])


def _refuse_not_finite(array: np.ndarray, what: str) -> None:
    for start in range(0, len(array), ROWS_AT_ONCE):
        finite = np.isfinite(array[start : start + ROWS_AT_ONCE])
        if not finite.all():
            row, column = np.argwhere(~finite)[0].tolist()
            value = array[start + row, column]
            raise UsageError(f"{what}[{start + row}, {column}] is {value}; every number is finite")


def _in_memory(values: np.ndarray, labels: np.ndarray, what: str) -> InMemory:
    rows, classes = numbers(values, what), np.asarray(labels)
    if classes.shape != (len(rows),):
        raise UsageError(
            f"{what} has {len(rows)} rows, and {what.replace('X', 'y')} has the shape {classes.shape}"
        )
    return InMemory(
        torch.from_numpy(rows), torch.from_numpy(np.ascontiguousarray(classes, dtype=np.int64))
    )
