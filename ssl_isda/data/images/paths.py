"""Which files a person means who names files and folders to predict. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder.notes import passed_over
from ssl_isda.data.folder.walk import Walk, shown

TABLES = (".csv", ".parquet")
ARRAYS = frozenset({".npz", ".npy", *TABLES})


@dataclass
class FoundFiles:
    """Files to predict, in the order of the places that were named.

    images : paths of images
    folders : for each image the names of the folders that it lies in, from the one that was named
    arrays : paths of ``.npz`` and ``.npy`` files, and of tables of vectors
    unreadable : paths of what is called an image and is none, with what it is
    notes : what was passed over, one line for each folder that was named
    """

    images: list[str] = field(default_factory=list)
    folders: list[tuple[str, ...]] = field(default_factory=list)
    arrays: list[Path] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_files(places: Sequence[str | Path]) -> FoundFiles:
    """Every named file, and the images of every named folder and of those below it.

    A file that is named is taken whatever it is called. In a folder, images are found and sorted as in
    a data folder, and links are followed.

    Raises
    ------
    UsageError
        A place is not there or cannot be read, or a folder holds no image.
    """
    found = FoundFiles()
    for place in map(Path, places):
        try:
            _add(found, place)
        except OSError as error:
            where = shown(error.filename or place)
            raise UsageError(f"cannot read {where}: {error.strerror}") from error
    return found


def _add(found: FoundFiles, place: Path) -> None:
    if place.is_dir():
        _add_folder(found, place)
    elif not place.is_file():
        what = "is neither a file nor a folder" if place.exists() else "is not there"
        raise UsageError(f"{shown(place)} {what}")
    elif place.suffix.lower() in ARRAYS:
        found.arrays.append(place)
    else:
        found.images.append(str(place))
        found.folders.append((place.absolute().parent.name,))


def _add_folder(found: FoundFiles, place: Path) -> None:
    walk = Walk(place, follow_links=True)
    names = [file.name.removeprefix("./") for file in walk.images(".", label=-1)]
    notes = [f"{shown(place)}: {line}" for line in passed_over(walk)]
    if not names and not walk.unreadable:
        raise UsageError(f"no image found in {'; '.join(notes) or shown(place)}")
    top = place.resolve().name
    found.images += [str(place / name) for name in names]
    found.folders += [(top, *name.split("/")[:-1]) for name in names]
    found.unreadable |= {str(place / name): what for name, what in walk.unreadable.items()}
    found.notes += notes
