"""Class folders of a published set, too many to be looked into: names and sizes of files stand for them.

Imports no torch.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder.classes import listed
from ssl_isda.data.folder.walk import ImageFile, Walk, shown


@dataclass
class Part:
    """The images of a part, class after class, by names within ``root``."""

    root: Path
    names: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, file: ImageFile, label: int) -> None:
        """Take in a file of a class."""
        self.names.append(file.name)
        self.labels.append(label)
        self._hash.update(f"{file.name}\0{file.size}\0{label}\n".encode("utf-8", "surrogateescape"))

    def path(self, place: int) -> Path:
        """Of an image."""
        return self.root / self.names[place]

    def fingerprint(self, how: str) -> str:
        """SHA-256 over names, sizes and labels, and over how images are read."""
        digest = self._hash.copy()
        digest.update(how.encode())
        return digest.hexdigest()


def class_folders(walk: Walk, part: str, layout: str) -> list[str]:
    """The folders of a part, sorted.

    Raises
    ------
    UsageError
        The part is missing, has fewer than two folders, or images beside them.
    """
    folder = walk.root / part
    if not folder.is_dir():
        raise UsageError(f"{shown(folder)} is missing; {layout}")
    found = walk.folders(part)
    walk.refuse_leading_out()
    if len(found) < 2:
        raise UsageError(f"{shown(folder)} has {len(found)} class folders; {layout}")
    return found


def part_of_folders(walk: Walk, part: str, classes: Sequence[str], layout: str) -> Part:
    """The images of all classes, each of which must have some.

    Raises
    ------
    UsageError
        A class folder without an image.
    """
    found = Part(walk.root)
    for label, name in enumerate(classes):
        images = walk.images(f"{part}/{name}", label)
        if not images:
            raise UsageError(f"{shown(walk.root / part / name)} holds no image; {layout}")
        for image in images:
            found.add(image, label)
    walk.refuse_leading_out()
    return found


def part_by_table(walk: Walk, part: str, classes: Sequence[str], table: Path, layout: str) -> Part:
    """The images that lie in one folder, by a table with the columns ``ImageId`` (a name without its
    extension) and ``PredictionString`` (which begins with the folder's name of the class).

    Raises
    ------
    UsageError
        An image that the table does not have, or a class that training does not have.
    """
    known = {name: label for label, name in enumerate(classes)}
    classes_of = _read(table)
    found = Part(walk.root)
    for image in walk.images(part, -1):
        name = classes_of.get(Path(image.name).stem)
        if name is None:
            raise UsageError(
                f"{shown(walk.root / image.name)} has no class: {shown(table)} does not name it"
            )
        if name not in known:
            raise UsageError(
                f"{shown(table)}: {shown(image.name)} is of the class {shown(name)}, which train "
                "does not have"
            )
        found.add(image, known[name])
    if not found.names:
        raise UsageError(f"{shown(walk.root / part)} holds no image; {layout}")
    return found


def refuse_other_classes(
    root: Path, parts: tuple[str, str], classes: Mapping[str, Sequence[str]]
) -> None:
    """Say which class folders only one of two parts has.

    Raises
    ------
    UsageError
        There is one.
    """
    first, second = (set(classes[part]) for part in parts)
    for part, lacking in zip(parts, (sorted(second - first), sorted(first - second)), strict=True):
        if lacking:
            raise UsageError(
                f"{shown(root / part)} has no folder for {listed(lacking)}: {parts[0]} has "
                f"{len(first):,} classes and {parts[1]} {len(second):,}"
            )


def _read(table: Path) -> dict[str, str]:
    try:
        with open(table, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
    except (OSError, UnicodeDecodeError, KeyError, IndexError, AttributeError, csv.Error) as error:
        raise UsageError(
            f"{shown(table)} cannot be read: expected the columns ImageId and PredictionString"
        ) from error


def class_names(root: Path, files: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """For people: the folder's name, and behind it what one of ``files`` calls the class, if there is
    such a file: lines of a folder's name and words.

    Raises
    ------
    UsageError
        The file cannot be read, or lacks a class.
    """
    file = next((root / name for name in files if (root / name).is_file()), None)
    if file is None:
        return tuple(classes)
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown(file)} cannot be read: {error}") from error
    words = {name: rest.strip() for name, _, rest in (line.partition(" ") for line in lines)}
    lacking = [name for name in classes if not words.get(name)]
    if lacking:
        raise UsageError(
            f"{shown(file)} does not name {listed(lacking)}: expected a line for each class, its "
            "folder's name, a space, and its words"
        )
    return tuple(f"{name} {words[name].partition(',')[0]}" for name in classes)
