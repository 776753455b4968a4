"""The classes that ``y`` names, and which rows have none."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from ssl_isda.estimator.refusals import UnusableInput

UNLABELED = -1
MADE_OF_NUMBERS = ("nan", "-1")
"""Text that is no class."""


def entries(y: Any, num_rows: int) -> np.ndarray:
    """(n,) what ``y`` says of each row.

    Raises
    ------
    UnusableInput
        There is no ``y``, or it is of another length, or text in which NumPy has made NaN a word.
    """
    if y is None:
        raise UnusableInput(
            "SemiSupervisedClassifier requires y to be passed, but the target y is None"
        )
    array = np.asarray(y if hasattr(y, "dtype") else _of_sequence(y))
    if array.ndim == 2 and array.shape[1] == 1:
        array = column_or_1d(array, warn=True)
    if array.ndim != 1:
        raise UnusableInput(f"y must have one label a row, (n,); got the shape {array.shape}")
    if len(array) != num_rows:
        raise UnusableInput(f"X has {num_rows} rows and y has {len(array)}: one label a row")
    for word in MADE_OF_NUMBERS if array.dtype.kind == "U" else ():
        if word in array:
            raise UnusableInput(
                f'y has the text "{word}", which NumPy makes of the number beside text: give an array '
                "of the dtype object, with None where there is no label"
            )
    return array


def _of_sequence(y: Any) -> Any:
    """A list in which text stands beside something else as objects: NumPy would make text of it all."""
    if hasattr(y, "__array__") or not hasattr(y, "__iter__"):
        return y
    values = list(y)
    kinds = {isinstance(each, str) for each in values}
    is_plain = len(kinds) < 2 and not any(each is None for each in values)
    return values if is_plain else np.array(values, dtype=object)


def missing(y: np.ndarray) -> np.ndarray:
    """(n,) bool: which entries are no label: -1 among numbers; None and NaN among all others."""
    if y.dtype.kind in "iu":
        return np.asarray(y == UNLABELED)
    if y.dtype.kind == "f":
        return np.asarray((y == UNLABELED) | np.isnan(y))
    if y.dtype.kind != "O":
        return np.zeros(len(y), bool)
    return np.array([_is_missing(each) or _is_minus_one(each) for each in y.tolist()], bool)


def _is_missing(value: Any) -> bool:
    """None, NaN, and pandas' NA and NaT, which are not even equal to themselves."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _is_minus_one(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and value == UNLABELED


def _of_one_kind(given: np.ndarray) -> np.ndarray:
    """Objects that are all names as they are, and all others as NumPy's own numbers."""
    if given.dtype.kind != "O":
        return given
    are_names = {isinstance(each, str) for each in given}
    if len(are_names) > 1:
        raise ValueError("some are names and others are not")
    return given if are_names == {True} else np.array(given.tolist())


def numbered(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes in their order, as ``y`` spells them, and the class of each row, (n,) int64; -1 for
    none.

    Raises
    ------
    UnusableInput
        No entry is a label, all are of one class, or they are no classes.
    """
    without = missing(y)
    given = y[~without]
    if len(given) == 0:
        raise UnusableInput(
            "y has no label at all: every entry is -1, None or NaN; 2 classes need a label each"
        )
    try:
        given = _of_one_kind(given)
        check_classification_targets(given)
        classes, places = np.unique(given, return_inverse=True)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UnusableInput(f"y must be classes, all numbers or all names: {reason}") from error
    if len(classes) < 2:
        raise UnusableInput(
            f"y has one class, {classes.tolist()[0]!r}, and training needs two; -1 among numbers, None "
            "and NaN say that a row has no label"
        )
    numbers = np.full(len(y), UNLABELED, np.int64)
    numbers[~without] = places
    return classes, numbers
