"""The files of a user's own image folder, found without opening one. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ssl_isda.base.errors import UsageError
from ssl_isda.data import folder_classes, folder_notes
from ssl_isda.data.file_hashes import file_hashes
from ssl_isda.data.folder_walk import ImageFile, Walk, shown

LAYOUT = "expected train/<class>/<images>, test/<class>/<images> and, if any, unlabeled/<images>"


@dataclass(frozen=True)
class ListingOptions:
    """How a data folder is read: options of the data set ``folder``, under the names they have there."""

    follow_links: bool = False
    """Whether links may lead out of the folder, and to folders."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ListingOptions:
        """From settings or options by name, among others."""
        return cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})


PLAIN = ListingOptions()
_listed: ContextVar[dict[tuple[Path, ListingOptions], FolderListing] | None] = ContextVar(
    "listed", default=None
)


@dataclass(frozen=True)
class FolderListing:
    """What a data folder holds; every list is sorted by relative name, whatever the locale."""

    root: Path
    class_names: tuple[str, ...]
    train: tuple[ImageFile, ...]
    unlabeled: tuple[ImageFile, ...]
    test: tuple[ImageFile, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Of what is called an image and cannot be opened: name, and what it is and what to do."""
    notes: tuple[str, ...] = ()
    """What a person should know of the folder, one line each."""

    def train_counts(self) -> list[int]:
        """Labeled training images of each class."""
        counts = [0] * len(self.class_names)
        for file in self.train:
            counts[file.label] += 1
        return counts

    @property
    def files(self) -> tuple[ImageFile, ...]:
        """All of them."""
        return (*self.train, *self.unlabeled, *self.test)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """What tells these files from others, in every version, the one to record first.

        "2:" and SHA-256 over names and contents; and that of version 0.1, over names and sizes, by
        which results of that version are known. Copies, whose times differ, have the same.
        """
        sizes = [[file.name, file.size] for file in self.files]
        return f"2:{_sha256_of(self.contents(self.files))}", _sha256_of(sizes)

    def contents(self, files: Sequence[ImageFile]) -> list[list[str]]:
        """The name of each file and the SHA-256 of its bytes; "" where they cannot be read."""
        return [[file.name, self._hashes[0].get(file.name, "")] for file in files]

    @property
    def unopened(self) -> Mapping[str, str]:
        """The files that cannot be opened or read, and what can be done about each."""
        return self._hashes[1]

    @cached_property
    def _hashes(self) -> tuple[dict[str, str], dict[str, str]]:
        return file_hashes(self.root, {file.name: [file.size, *file.times] for file in self.files})


@contextmanager
def listed_once() -> Iterator[None]:
    """Within the block a folder is listed once, however often it is asked for."""
    token = _listed.set({})
    try:
        yield
    finally:
        _listed.reset(token)


def list_images(data_dir: Path, options: ListingOptions = PLAIN) -> FolderListing:
    """List ``train/<class>``, ``unlabeled`` and ``test/<class>``, nested folders included.

    What is hidden or has no image's extension is passed over, and counted in a note. A class of test
    is the one of train whose name a person reads as the same; test may lack classes, which is noted.

    Raises
    ------
    UsageError
        Missing or empty parts, classes of test that train does not have, classes that look alike,
        images outside a class; links that lead out of ``data_dir`` or to folders, unless they are
        followed, and links that lead in a circle.
    """
    root = Path(data_dir)
    listed = {} if (kept := _listed.get()) is None else kept
    if (root, options) not in listed:
        listed[root, options] = _list(root, options)
    return listed[root, options]


def _list(root: Path, options: ListingOptions) -> FolderListing:
    try:
        _require(root, root.is_dir(), "is not a folder")
        walk = Walk(root, follow_links=options.follow_links)
        class_names = _classes(walk, "train")
        folder_classes.refuse_look_alikes(shown(root / "train"), class_names)
        places = folder_classes.places(shown(root), class_names, _classes(walk, "test"))
        train = _labeled(walk, "train", {name: k for k, name in enumerate(class_names)})
        unlabeled, test = _unlabeled(walk), _labeled(walk, "test", places)
        walk.refuse_leading_out()
        _require_each(walk, class_names, train)
        _require(root / "test", bool(test), "holds no image")
        notes = (
            *folder_notes.passed_over(walk),
            *folder_notes.respelled(class_names, places),
            *folder_notes.lacking(class_names, test),
        )
        parts = (tuple(train), tuple(unlabeled), tuple(test))
        return FolderListing(root, tuple(class_names), *parts, walk.unreadable, notes)
    except OSError as error:
        raise UsageError(
            f"cannot list {shown(error.filename or root)}: {error.strerror}"
        ) from error


def _sha256_of(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _require(path: Path, holds: bool, complaint: str) -> None:
    if not holds:
        raise UsageError(f"{shown(path)} {complaint}; {LAYOUT}")


def _classes(walk: Walk, part: str) -> list[str]:
    folder = walk.root / part
    _require(folder, folder.is_dir(), "is missing")
    names = walk.folders(part)
    walk.refuse_leading_out()
    fewest = 2 if part == "train" else 1
    complaint = f"has {len(names)} class folders and needs at least {fewest}"
    _require(folder, len(names) >= fewest, complaint)
    return names


def _labeled(walk: Walk, part: str, places: Mapping[str, int]) -> list[ImageFile]:
    found = [file for name, k in places.items() for file in walk.images(f"{part}/{name}", k)]
    return sorted(found, key=lambda file: file.name)


def _unlabeled(walk: Walk) -> list[ImageFile]:
    folder = walk.root / "unlabeled"
    if not os.path.lexists(folder):
        return []
    _require(folder, folder.is_dir(), "is not a folder")
    return walk.images("unlabeled", label=-1)


def _require_each(walk: Walk, class_names: Sequence[str], train: Sequence[ImageFile]) -> None:
    """Every class has an image to learn from."""
    found = {file.label for file in train}
    for label, name in enumerate(class_names):
        if label not in found:
            odd = [k for k in sorted(walk.unreadable) if k.startswith(f"train/{name}/")]
            lines = [
                *folder_notes.passed_over(walk),
                *(f"{k} is {walk.unreadable[k]}" for k in odd[:1]),
            ]
            complaint = "".join(["holds no image", *(f" ({shown(line)})" for line in lines)])
            _require(walk.root / "train" / name, False, complaint)
