"""Rows of numbers as arrays: what is taken for such, and what tells them apart. Imports no torch.

Dimensions: N rows, d numbers each.
"""

from __future__ import annotations

import hashlib

import numpy as np

from ssl_isda.base.errors import UsageError

NUMBERS_AT_ONCE = 1 << 18
"""Numbers that are looked at, or of which float64 copies are made, at a time: few stay in the cache."""
KEPT = (np.float16, np.float32, np.float64)
"""Types whose numbers stay as they are: rows become float32 batch by batch, once standardised."""


def numbers(values: object, what: str = "X") -> np.ndarray:
    """(N, d) float16, float32 or float64; no copy where the values are such an array already.

    Raises
    ------
    UsageError
        The values are no such table, or one of them is NaN or infinite.
    """
    array = values if isinstance(values, np.ndarray) else _as_array(values, what)
    if array.dtype.kind not in "fiub":
        kind = {"U": "text", "S": "bytes", "O": "objects", "c": "complex numbers"}
        raise UsageError(
            f"{what} must be numbers, got {kind.get(array.dtype.kind, array.dtype)}; "
            "make numbers of it first, such as one column for each word"
        )
    if array.ndim != 2 or 0 in array.shape:
        raise UsageError(f"{what} must be rows of numbers, (n, d), none empty; got {array.shape}")
    if array.dtype not in KEPT:
        array = array.astype(np.float64 if array.dtype.itemsize > 2 else np.float32)
    _refuse_not_finite(array, what)
    return array


def _as_array(values: object, what: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise UsageError(f"{what} must be rows of equally many numbers: {error}") from error


def rows_at_once(array: np.ndarray) -> int:
    """How many rows have about ``NUMBERS_AT_ONCE`` numbers."""
    return max(1, NUMBERS_AT_ONCE // int(array.shape[1]))


def _refuse_not_finite(array: np.ndarray, what: str) -> None:
    """A sum is finite only if all its numbers are; where it is not, they are looked at one by one."""
    step = rows_at_once(array)
    for start in range(0, len(array), step):
        part = array[start : start + step]
        with np.errstate(over="ignore", invalid="ignore"):
            is_fine = np.isfinite(part.sum(dtype=np.float64))
        if not is_fine and not (finite := np.isfinite(part)).all():
            row, column = np.argwhere(~finite)[0].tolist()
            value = part[row, column]
            raise UsageError(
                f"{what}: row {start + row}, column {column} is {value}; every number must be finite"
            )


def fingerprint(rows: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256, hexadecimal, over shape, numbers and labels: that of a source of these rows."""
    digest = hashlib.sha256(repr(rows.shape).encode())
    digest.update(np.ascontiguousarray(rows).data)
    digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()


def kept_rows(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The rows at these ascending places, moved to the front of the same memory."""
    step = rows_at_once(rows)
    for start in range(0, len(places), step):
        some = places[start : start + step]
        rows[start : start + len(some)] = rows[some]
    return rows[: len(places)]
