"""Files of vectors: NumPy archives, and tables with a header. Imports no torch.

| what is named | rows and labels |
| --- | --- |
| ``NAME.npz`` | its arrays X and y and, if there are, X_test and y_test |
| a folder with ``X.npy`` and ``y.npy`` | these and, if there are, X_test.npy and y_test.npy |
| ``NAME.csv`` or ``NAME.parquet`` | one column has the labels, all others are numbers |
| a folder with ``train.csv`` or ``train.parquet`` | this and, if there is, test.csv or test.parquet |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import UNREADABLE_ARCHIVE
from ssl_isda.base.words import nearest, printed, shown
from ssl_isda.data.folder.listing import ListingOptions, once
from ssl_isda.data.images.paths import TABLES
from ssl_isda.data.vectors.table import Columns, VectorTable, table_of
from ssl_isda.data.vectors.tables import read_columns

ARRAYS = ("X", "y", "X_test", "y_test")
KNOWN = "an .npz file with arrays X and y, a folder with X.npy and y.npy, a .csv or a .parquet file"


def read_vectors(place: Path, options: ListingOptions) -> VectorTable:
    """The table that a file or folder holds, read once in a run however often it is asked for.

    Raises
    ------
    UsageError
        It is not there, is none of the kinds above, cannot be read, or is what ``table_of`` refuses.
    """
    return once(
        ("vectors", place, options),
        lambda: table_of(
            _columns(place, options),
            options.test_fraction,
            in_place=True,
            where=f"{printed(place)}: ",
        ),
    )


def _columns(place: Path, options: ListingOptions) -> Columns:
    if place.is_dir():
        return _in_folder(place, options)
    if not place.is_file():
        what = "is neither a file nor a folder" if place.exists() else "is not there"
        raise UsageError(f"{printed(place)} {what}; --data-dir names {KNOWN}")
    kind = place.suffix.lower()
    if kind == ".npz":
        return _in_archive(place)
    if kind in TABLES:
        return _in_tables(options.label_column, place)
    if kind == ".npy":
        if place.name == "X.npy":
            return _in_folder(place.parent, options)
        raise UsageError(
            f"{printed(place)} has no labels: call the two arrays X.npy and y.npy, and give --data-dir "
            "the folder that they lie in"
        )
    raise UsageError(f"{printed(place)} is none of what --data-dir can name: {KNOWN}")


def _in_archive(place: Path) -> Columns:
    try:
        with open(place, "rb") as file, np.load(file, allow_pickle=False) as kept:
            if not isinstance(kept, np.lib.npyio.NpzFile):
                raise UsageError(f"{printed(place)} is one array, and not an archive of X and y")
            _require(place, ("X", "y"), kept.files)
            found: list[Any] = [kept[name] if name in kept.files else None for name in ARRAYS]
    except UNREADABLE_ARCHIVE as error:
        raise _unreadable(place, error) from error
    return Columns(*found)


def _require(place: Path, names: Sequence[str], there: Sequence[str]) -> None:
    for name in names:
        if name not in there:
            found = ", ".join(map(shown, there[:10])) or "none"
            raise UsageError(
                f"{printed(place)} has no array {name}{nearest(name, there)} (its arrays: {found})"
            )


def _in_folder(place: Path, options: ListingOptions) -> Columns:
    arrays = {name: place / f"{name}.npy" for name in ARRAYS}
    if any(path.is_file() for path in arrays.values()):
        _require(place, ("X", "y"), [name for name, path in arrays.items() if path.is_file()])
        found: list[Any] = [_array(path) if path.is_file() else None for path in arrays.values()]
        return Columns(*found)
    train = [path for kind in TABLES if (path := place / f"train{kind}").is_file()]
    test = [path for kind in TABLES if (path := place / f"test{kind}").is_file()]
    if len(train) != 1 or len(test) > 1:
        here = ", ".join(path.name for path in (*train, *test)) or "none of these"
        raise UsageError(
            f"{printed(place)} must have X.npy and y.npy, or one train.csv or train.parquet and at most "
            f"one test file; it has {here}"
        )
    return _in_tables(options.label_column, *train, *test)


def _in_tables(label: str, train: Path, test: Path | None = None) -> Columns:
    found = read_columns(train, label)
    given = Columns(found.rows, found.labels, names=found.columns, label_column=label)
    if test is None:
        return given
    to_test = read_columns(test, label, wanted=found.columns)
    return given._replace(X_test=to_test.rows, y_test=to_test.labels)


def _array(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except UNREADABLE_ARCHIVE as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> UsageError:
    if "allow_pickle" in str(error):
        reason = "an array of Python objects, which could run code; save text as a plain text array"
    else:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UsageError(f"{printed(path)} cannot be read: {reason}")
