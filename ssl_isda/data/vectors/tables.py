"""Tables with a header, one column of labels, all others of numbers: CSV, Parquet. Imports no torch."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest, printed, shown

TABLES = (".csv", ".parquet")
MOST_NAMED = 8
_BAD_CELL = re.compile(r"could not convert string '(.*)' to float64 at row (\d+), column (\d+)")


def read_columns(path: Path, label: str, *, needs_label: bool = True) -> tuple[np.ndarray, Any]:
    """The numbers (N, d) of a table, and the entries (N,) of its column of labels.

    Parameters
    ----------
    label : the name of that column
    needs_label : whether it must be there; else the entries of a table without it are None

    Raises
    ------
    UsageError
        The table cannot be read, has no row, lacks the column, or another one has no numbers.
    """
    read = _read_csv if path.suffix.lower() == ".csv" else _read_parquet
    rows, labels = read(path, label, needs_label)
    if not len(rows):
        raise UsageError(f"{printed(path)} has no row")
    return rows, labels


def _places(path: Path, names: Sequence[str], label: str, needs_label: bool) -> list[int]:
    """Where the numbers stand, all columns but that of the labels."""
    if not names:
        raise UsageError(f"{printed(path)} is empty")
    unnamed = next((k for k, name in enumerate(names) if not name.strip()), None)
    if unnamed is not None or "__index_level_0__" in names:
        where = "an index of pandas" if unnamed is None else f"a column {unnamed} without a name"
        raise UsageError(
            f"{printed(path)} has {where}, which would be taken for numbers of the rows: write the "
            "table without it, index=False, or name the column"
        )
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise UsageError(f"{printed(path)} has two columns {shown(doubled)}")
    if label not in names and needs_label:
        more = ", ..." * (len(names) > MOST_NAMED)
        there = ", ".join(map(shown, names[:MOST_NAMED])) + more
        raise UsageError(
            f"{printed(path)} has no column {shown(label)}{nearest(label, names)} (its columns: "
            f"{there}); --label-column names the one with the labels"
        )
    places = [k for k, name in enumerate(names) if name != label]
    if not places:
        raise UsageError(f"{printed(path)} has no column of numbers beside {shown(label)}")
    return places


def _read_csv(path: Path, label: str, needs_label: bool) -> tuple[np.ndarray, Any]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            names = [cell.strip() for cell in next(csv.reader(file), [])]
        places = _places(path, names, label, needs_label)
        rows = _loaded(path, places, np.float64)
        entries = _loaded(path, [names.index(label)], np.str_) if label in names else None
    except OSError as error:
        raise UsageError(f"cannot read {printed(path)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{printed(path)} is not UTF-8 text; save the table as CSV UTF-8"
        ) from error
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{printed(path)}: {_told(str(error), names, label)}") from error
    return rows, None if entries is None else entries[:, 0]


def _loaded(path: Path, places: Sequence[int], kind: Any) -> np.ndarray:
    with open(path, encoding="utf-8-sig", newline="") as file:
        next(csv.reader(file))
        found = np.loadtxt(
            file, dtype=kind, delimiter=",", usecols=places, quotechar='"', comments=None, ndmin=2
        )
    return np.asarray(found)


def _told(complaint: str, names: Sequence[str], label: str) -> str:
    """What NumPy complains of, with the name of the column and the row as a spreadsheet counts it."""
    cell = _BAD_CELL.match(complaint)
    if cell is None:
        return f"not a table of numbers: {' '.join(complaint.split())[:200]}"
    text, row, column = cell[1], int(cell[2]) + 2, int(cell[3]) - 1
    name = names[column] if column < len(names) else str(column)
    what = "an empty cell" if not text.strip() else f"{shown(text)}, which is no number"
    return (
        f"column {shown(name)} has {what}, in row {row}; all columns but that of the labels, "
        f"{shown(label)}, are numbers"
    )


def _read_parquet(path: Path, label: str, needs_label: bool) -> tuple[np.ndarray, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise UsageError(
            f"{printed(path)} needs the package 'pyarrow': install ssl-isda with its extra, "
            "pip install '.[tables]' in a clone"
        ) from None
    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{printed(path)} cannot be read: {reason}") from error
    names = [str(name) for name in table.column_names]
    places = _places(path, names, label, needs_label)
    parts = [_numbers_of(path, names[k], table.column(k)) for k in places]
    entries = table.column(label).to_pylist() if label in names else None
    rows = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    return rows, None if entries is None else np.array(entries, dtype=object)


def _numbers_of(path: Path, name: str, column: Any) -> np.ndarray:
    """(N, 1), or (N, k) where each cell is a list of k numbers, such as an embedding."""
    import pyarrow

    kind = column.type
    what = f"{printed(path)}: column {shown(name)}"
    if column.null_count:
        raise UsageError(f"{what} has {column.null_count:,} empty cells; a number must be in each")
    is_list = pyarrow.types.is_list(kind) or pyarrow.types.is_fixed_size_list(kind)
    is_list = is_list or pyarrow.types.is_large_list(kind)
    flat = column.combine_chunks().flatten() if is_list else column
    values = flat.to_numpy() if is_list else column.to_numpy()
    if values.dtype.kind not in "fiub":
        raise UsageError(f"{what} has no numbers, but {kind}")
    if len(values) % max(1, len(column)) or (is_list and len(_lengths(column)) > 1):
        raise UsageError(f"{what} has lists of different lengths")
    return np.asarray(values).reshape(len(column), -1)


def _lengths(column: Any) -> set[int]:
    import pyarrow.compute

    return set(pyarrow.compute.list_value_length(column).unique().to_pylist())
