"""The classes that labels of any kind name. Imports no torch.

Unlabeled is -1 among integers, None or NaN among objects, empty or -1 in text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import shown

_INTEGER = re.compile(r"[+-]?\d{1,18}")
NO_CLASS = ("", "-1")


def entries(labels: object, count: int, what: str = "y", of: str = "X") -> np.ndarray:
    """(count,) int64, bool, text or objects: one for each row; whole floating-point numbers as integers.

    Raises
    ------
    UsageError
        They are of another length, or no labels.
    """
    array = _as_array(labels, what)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (count,):
        got = len(array) if array.ndim == 1 else f"the shape {array.shape}"
        raise UsageError(f"{of} has {count} rows and {what} has {got}: one label a row")
    if array.dtype.kind == "f":
        return _whole(array, what)
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind not in "iubUO":
        raise UsageError(f"{what} must be integers or names of classes, got {array.dtype}")
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def _as_array(labels: object, what: str) -> np.ndarray:
    """A list of integers and names stays one of objects, where NumPy would make names of all."""
    try:
        array = np.asarray(labels)
    except ValueError as error:
        raise UsageError(f"{what} must have one label a row: {error}") from error
    if array.dtype.kind == "U" and isinstance(labels, (list, tuple)):
        return array if all(isinstance(each, str) for each in labels) else np.array(labels, object)
    return array


def _whole(array: np.ndarray, what: str) -> np.ndarray:
    values = np.where(np.isnan(array), -1.0, array)
    odd = values[(values != np.rint(values)) | (np.abs(values) >= 2**53)]
    if len(odd):
        raise UsageError(f"{what} must be classes, whole numbers or names; got {odd[0]}")
    return values.astype(np.int64)


def numbered(found: np.ndarray, what: str = "y") -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the classes in their order, and the class of each row, (N,) int64; -1 for none.

    Raises
    ------
    UsageError
        No entry is a label, all are of one class, or some are integers and others are names.
    """
    is_missing, values = known(found, what)
    if is_missing.all():
        raise UsageError(f"{what} has no label at all: every entry is -1 or empty")
    classes, places = np.unique(values[~is_missing], return_inverse=True)
    if len(classes) < 2:
        raise UsageError(
            f"{what} has one class, {shown(str(classes[0]))}, and training needs two classes; "
            "-1 says that a row has no label"
        )
    numbers = np.full(len(found), -1, np.int64)
    numbers[~is_missing] = places
    return tuple(str(each) for each in classes.tolist()), numbers


def placed(found: np.ndarray, names: Sequence[str], what: str) -> np.ndarray:
    """(N,) int64, the class of each row of the test part, by its name.

    Raises
    ------
    UsageError
        An entry is no label, or one of a class that training does not have.
    """
    is_missing, values = known(found, what)
    if is_missing.any():
        row = int(np.flatnonzero(is_missing)[0])
        raise UsageError(f"{what}: row {row} has no label, and each row to test on needs one")
    classes, places = np.unique(values, return_inverse=True)
    place_of = {name: place for place, name in enumerate(names)}
    for each in map(str, classes.tolist()):
        if each not in place_of:
            raise UsageError(f"{what} has the class {shown(each)}, which training does not have")
    return np.array([place_of[str(each)] for each in classes.tolist()], np.int64)[places]


def known(found: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Where no label is, and the labels as integers, bools or text.

    Raises
    ------
    UsageError
        Some are integers and others are names.
    """
    if found.dtype.kind == "O":
        return _of_objects(found.tolist(), what)
    if found.dtype.kind == "U":
        return _of_text(np.char.strip(found))
    return found == -1 if found.dtype.kind == "i" else np.zeros(len(found), bool), found


def _of_text(texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Text that is all integers is integers."""
    is_missing: np.ndarray = np.isin(texts, NO_CLASS)
    if all(_INTEGER.fullmatch(text) for text in np.unique(texts[~is_missing]).tolist()):
        texts = np.where(is_missing, "-1", texts).astype(np.int64)
    return is_missing, texts


def _of_objects(values: list[object], what: str) -> tuple[np.ndarray, np.ndarray]:
    missing = [_is_missing(each) for each in values]
    kinds = {
        str if isinstance(each, str) else type(each)
        for each, no in zip(values, missing, strict=True)
        if not no
    }
    is_missing = np.array(missing, bool)
    if kinds <= {str}:
        texts = ["" if no else str(each) for each, no in zip(values, missing, strict=True)]
        return is_missing, np.array(texts)
    if kinds <= {bool}:
        return is_missing, np.array([each is True for each in values])
    try:
        plain = [-1 if no else each for each, no in zip(values, missing, strict=True)]
        if str not in kinds:
            return is_missing, _whole(np.array(plain, dtype=np.float64), what)
    except (TypeError, ValueError):
        pass
    raise UsageError(f"{what} must be all integers or all names of classes")


def _is_missing(label: object) -> bool:
    """Also NaN, which differs from itself, and the NA of pandas, of which even that is not known."""
    differs: object = label != label
    if isinstance(differs, (bool, np.bool_)):
        return label is None or bool(differs) or label in (-1, "")
    return differs is label
