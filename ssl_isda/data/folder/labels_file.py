"""A table of files and their labels, ``labels.csv`` or ``test.csv``. Imports no torch.

It is text of UTF-8 with commas, as spreadsheets save it: a byte-order mark, quotes, spaces around the
cells, lines that end as on Windows, and backslashes in names are all right. The first row names the
columns ``file`` and ``label``, and may name others, which are passed over.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest
from ssl_isda.base.words import shown as quoted
from ssl_isda.data.folder.walk import shown

COLUMNS = ("file", "label")
MOST_COMPARED = 5_000
"""Names of images that a misspelled one is compared with; more would take seconds."""
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class LabelsFile:
    """The label of each file that the table names; an empty one says that there is none.

    Parameters
    ----------
    path : of the table; names in it start from the folder that it lies in
    known : the names of the images that are there, relative to that folder, with ``/``

    Raises
    ------
    UsageError
        The table cannot be read or lacks a column; a row has too few or too many cells, names a file
        that is not there, leads out of the folder or gives a file a second label. The text names the
        row, counted as a spreadsheet does.
    """

    def __init__(self, path: Path, known: Collection[str]) -> None:
        self.path = path
        self.labels: dict[str, str] = {}
        self.rows: dict[str, int] = {}
        """The row that names each file first."""
        self._known = _Names(known)
        for row, file, label in self._read():
            name = self._name(row, file)
            before = self.labels.setdefault(name, label)
            first = self.rows.setdefault(name, row)
            if before != label:
                words = f"{quoted(before)} in row {first}, {quoted(label)} here"
                raise self.refused(row, f"{quoted(name)} has two labels, {words}")

    def refused(self, row: int, complaint: str) -> UsageError:
        """What is wrong with a row."""
        return UsageError(f"{shown(self.path)}: row {row}: {complaint}")

    def _read(self) -> Iterator[tuple[int, str, str]]:
        """Row, file and label of each row below the first that is not empty."""
        text = io.StringIO(self._text(), newline="")
        rows, row = csv.reader(text, strict=True, skipinitialspace=True), 0
        try:
            header, row = next(rows, []), 1
            places = self._places(header)
            for row, cells in enumerate(rows, 2):
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    advice = "; a name with a comma stands in quotes" * (len(cells) > len(header))
                    number = f"{len(cells)} cell{'s' * (len(cells) > 1)}"
                    raise self.refused(row, f"{number}, the first row has {len(header)}{advice}")
                file, label = (cells[place] for place in places)
                if not file.strip():
                    raise self.refused(row, "no file is named")
                yield row, file, unicodedata.normalize("NFC", label.strip())
        except csv.Error as error:
            raise self.refused(row + 1, f"not valid CSV: {error}") from error

    def _text(self) -> str:
        try:
            return self.path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise UsageError(f"cannot read {shown(self.path)}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            row = error.object[: error.start].count(b"\n") + 1
            raise self.refused(row, "not UTF-8 text; save the table as CSV UTF-8") from error

    def _places(self, header: list[str]) -> list[int]:
        """Where the two columns stand."""
        names = [cell.strip().casefold() for cell in header]
        for column in COLUMNS:
            if names.count(column) != 1:
                found = quoted(",".join(header)) if header else "nothing"
                raise self.refused(
                    1, f"the columns must be named file,label, with a comma; got {found}"
                )
        return [names.index(column) for column in COLUMNS]

    def _name(self, row: int, written: str) -> str:
        """The image that a cell names."""
        if found := self._known.find(written):
            return found
        written = written.strip()
        path = written.replace("\\", "/")
        inside = posixpath.normpath(path)
        if path.startswith("/"):
            root = self.path.parent.resolve().as_posix()
            inside = posixpath.relpath(inside, root)
        if _DRIVE.match(written) or inside.split("/")[0] == "..":
            raise self.refused(row, f"{quoted(written)} leads out of {shown(self.path.parent)}")
        if found := self._known.find(inside):
            return found
        raise self.refused(row, f"there is no image {quoted(written)}{self._known.hint(inside)}")


class _Names:
    """Names of images, found whatever Unicode form their letters have."""

    def __init__(self, known: Collection[str]) -> None:
        self._by_form = {unicodedata.normalize("NFC", name): name for name in known}

    def find(self, name: str) -> str | None:
        return self._by_form.get(unicodedata.normalize("NFC", name))

    def hint(self, name: str) -> str:
        """The image that may be meant: one of this name in another folder, or a similar one."""
        plain = posixpath.basename(name)
        bases = {known: posixpath.basename(known) for known in self._by_form}
        same = [known for known, base in bases.items() if base == plain]
        same = same or [k for k, base in bases.items() if posixpath.splitext(base)[0] == plain]
        if len(same) == 1:
            return f"; did you mean {quoted(same[0])}?"
        return nearest(name, self._by_form) if len(self._by_form) <= MOST_COMPARED else ""
