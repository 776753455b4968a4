"""Tables with a header, one column of labels, all others of numbers: CSV, Parquet. Imports no torch."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest, printed, shown

MOST_NAMED = 8
_BAD_CELL = re.compile(r"could not convert string '(.*)' to float64 at row (\d+), column (\d+)")


class TableRead(NamedTuple):
    """What a file has.

    rows : (N, d) numbers
    labels : (N,) the entries of the column of labels; None where there is no such column
    columns : the names of the others, in the order of their numbers
    """

    rows: np.ndarray
    labels: Any
    columns: tuple[str, ...]


def read_columns(
    path: Path, label: str, *, wanted: Sequence[str] = (), needs_label: bool = True
) -> TableRead:
    """The numbers and the labels of a table.

    Parameters
    ----------
    label : the name of the column of labels
    wanted : the names of the columns of numbers, in their order; without them all but that one
    needs_label : whether the column of labels must be there

    Raises
    ------
    UsageError
        The table cannot be read, has no row, lacks the column, or another one has no numbers.
    """
    read = _read_csv if path.suffix.lower() == ".csv" else _read_parquet
    return read(path, _Header(path, label, tuple(wanted), needs_label))


class _Header(NamedTuple):
    """Which columns of a table are to be read."""

    path: Path
    label: str
    wanted: tuple[str, ...]
    needs_label: bool

    def places(self, names: Sequence[str]) -> list[int]:
        """Where the numbers stand."""
        if not names:
            raise UsageError(f"{printed(self.path)} is empty")
        self._refuse_unclear(names)
        for name in (*self.wanted, *[self.label] * self.needs_label):
            if name not in names:
                raise self._missing(name, names)
        columns = self.wanted or [name for name in names if name != self.label]
        if not columns:
            raise UsageError(f"{printed(self.path)} has no column beside {shown(self.label)}")
        return [names.index(name) for name in columns]

    def _refuse_unclear(self, names: Sequence[str]) -> None:
        unnamed = next((k for k, name in enumerate(names, 1) if not name), None)
        if unnamed is not None or "__index_level_0__" in names:
            what = f"no name for column {unnamed}" if unnamed else "an index of pandas as a column"
            raise UsageError(
                f"{printed(self.path)} has {what}: an index is no number of a row; write the table "
                "without it, index=False, or name the column"
            )
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled is not None:
            raise UsageError(f"{printed(self.path)} has two columns {shown(doubled)}")

    def _missing(self, name: str, names: Sequence[str]) -> UsageError:
        there = ", ".join(map(shown, names[:MOST_NAMED])) + ", ..." * (len(names) > MOST_NAMED)
        advice = "; --label-column names the one with the labels" * (name == self.label)
        return UsageError(
            f"{printed(self.path)} has no column {shown(name)}{nearest(name, names)} (its columns: "
            f"{there}){advice}"
        )


def _read_csv(path: Path, header: _Header) -> TableRead:
    label = header.label
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            names = [cell.strip() for cell in next(lines, [])]
            places = header.places(names)
            _refuse_uneven_rows(path, lines, len(names))
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
    labels = None if entries is None else entries[:, 0]
    return TableRead(rows, labels, tuple(names[k] for k in places))


def _refuse_uneven_rows(path: Path, lines: Iterable[list[str]], width: int) -> None:
    """NumPy picks cells by their places, and never holds the length of a row against the header's."""
    is_empty = True
    for row, cells in enumerate(lines, 2):
        is_empty &= not cells
        if cells and len(cells) != width:
            number = f"{len(cells)} cell{'s' * (len(cells) > 1)}"
            advice = (
                "; write the table without an index, as row.names=FALSE does in R, or name its column, "
                "and put text with a comma in quotes"
            )
            raise UsageError(
                f"{printed(path)}: row {row} has {number}, and the header has "
                f"{width}{advice * (len(cells) > width)}"
            )
    if is_empty:
        raise UsageError(f"{printed(path)} has no row")


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


def _read_parquet(path: Path, header: _Header) -> TableRead:
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
    places = header.places(names)
    if not len(table):
        raise UsageError(f"{printed(path)} has no row")
    parts = [_numbers_of(path, names[k], table.column(k)) for k in places]
    rows = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    labels = None
    if header.label in names:
        labels = np.array(table.column(header.label).to_pylist(), dtype=object)
    return TableRead(rows, labels, tuple(names[k] for k in places))


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
    values = flat.to_numpy(zero_copy_only=False) if is_list else column.to_numpy()
    if values.dtype.kind not in "fiub":
        raise UsageError(f"{what} has no numbers, but {kind}")
    if len(values) % max(1, len(column)) or (is_list and len(_lengths(column)) > 1):
        raise UsageError(f"{what} has lists of different lengths")
    return np.asarray(values).reshape(len(column), -1)


def _lengths(column: Any) -> set[int]:
    import pyarrow.compute

    return set(pyarrow.compute.list_value_length(column).unique().to_pylist())
