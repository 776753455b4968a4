"""The files of a user's own image folder, found without opening one. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ssl_isda.base.errors import UsageError
from ssl_isda.data.file_hashes import file_hashes
from ssl_isda.data.folder import classes
from ssl_isda.data.folder import notes as folder_notes
from ssl_isda.data.folder.by_table import Parts, is_table, parts_by_table
from ssl_isda.data.folder.walk import ImageFile, Walk, shown
from ssl_isda.data.test_part import drawn_for_test

LAYOUT = "expected train/<class>/<images>, test/<class>/<images> and, if any, unlabeled/<images>"
TEST_FRACTION = "--test-fraction 0.2 draws one from the labeled images"


@dataclass(frozen=True)
class ListingOptions:
    """How a data folder is read: options of the data sets ``folder`` and ``vectors``, under the names
    they have there."""

    follow_links: bool = False
    """Whether links may lead out of the folder, and to folders."""
    test_fraction: float | None = None
    """Share of each class's images to test on, where there is no part for that."""
    label_column: str = "label"
    """Of a table of vectors: the column with the labels."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ListingOptions:
        """From settings or options by name, among others."""
        return cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})


PLAIN = ListingOptions()
_listed: ContextVar[dict[Hashable, Any] | None] = ContextVar("listed", default=None)
Found = TypeVar("Found")


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
    test_is_drawn: bool = False
    """Whether the test images were drawn from the labeled ones."""
    names_say_labels: bool = True
    """Whether a name says its file's class; else a table does."""

    def train_counts(self) -> list[int]:
        """Labeled training images of each class."""
        counts = [0] * len(self.class_names)
        for file in self.train:
            counts[file.label] += 1
        return counts

    @cached_property
    def files(self) -> tuple[ImageFile, ...]:
        """All of them."""
        return (*self.train, *self.unlabeled, *self.test)

    @property
    def drawn_test(self) -> tuple[int, ...] | None:
        """The places of drawn test images among all labeled images in order of their names."""
        if not self.test_is_drawn:
            return None
        names = sorted(file.name for file in (*self.train, *self.test))
        test = {file.name for file in self.test}
        return tuple(place for place, name in enumerate(names) if name in test)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """What tells these files from others, in every version, the one to record first.

        "2:" and SHA-256 over names and contents; and that of version 0.1, over names and sizes, by
        which results of that version are known, where it could read the folder. Copies, whose times
        differ, have the same.
        """
        digest = f"2:{_sha256_of(self.identities(self.files))}"
        if self.test_is_drawn or not self.names_say_labels:
            return (digest,)
        return digest, _sha256_of([[file.name, file.size] for file in self.files])

    def contents(self, files: Sequence[ImageFile]) -> list[list[str]]:
        """The name of each file and the SHA-256 of its bytes; "" where they cannot be read."""
        return self._contents if files is self.files else self._contents_of(files)

    @cached_property
    def _contents(self) -> list[list[str]]:
        return self._contents_of(self.files)

    def _contents_of(self, files: Sequence[ImageFile]) -> list[list[str]]:
        hashes = self.hashes
        return [[file.name, hashes.get(file.name, "")] for file in files]

    @property
    def hashes(self) -> Mapping[str, str]:
        """The SHA-256 of each file's bytes, by name; without the files that cannot be read."""
        return self._hashes[0]

    def identities(self, files: Sequence[ImageFile]) -> list[list[str]]:
        """``contents``; and the part and the class of each file, where no name says them."""
        contents = self.contents(files)
        if self.names_say_labels and not self.test_is_drawn:
            return contents
        test = {file.name for file in self.test}
        return [
            [*content, "test" if file.name in test else "train", self._class_of(file)]
            for content, file in zip(contents, files, strict=True)
        ]

    def _class_of(self, file: ImageFile) -> str:
        return self.class_names[file.label] if file.label >= 0 else ""

    @property
    def unopened(self) -> Mapping[str, str]:
        """The files that cannot be opened or read, and what can be done about each."""
        return self._hashes[1]

    @cached_property
    def _hashes(self) -> tuple[dict[str, str], dict[str, str]]:
        return file_hashes(self.root, {file.name: [file.size, *file.times] for file in self.files})


@contextmanager
def listed_once() -> Iterator[None]:
    """Within the block a folder is listed, and a table read, once, however often it is asked for."""
    token = _listed.set({})
    try:
        yield
    finally:
        _listed.reset(token)


def once(key: Hashable, find: Callable[[], Found]) -> Found:
    """What ``find`` gives, kept under ``key`` within a block of ``listed_once``."""
    kept = _listed.get()
    if kept is None:
        return find()
    if key not in kept:
        kept[key] = find()
    found: Found = kept[key]
    return found


def list_images(data_dir: Path, options: ListingOptions = PLAIN) -> FolderListing:
    """List ``train/<class>``, ``unlabeled`` and ``test/<class>``, nested folders included; or, where
    there is a ``labels.csv``, all images, as ``folder_by_table`` says.

    What is hidden or has no image's extension is passed over, and counted in a note. A class of test
    is the one of train whose name a person reads as the same; test may lack classes, which is noted.

    Raises
    ------
    UsageError
        Missing or empty parts, classes of test that train does not have, classes that look alike,
        images outside a class, what ``folder_by_table`` refuses; a part to test on beside a fraction
        for it, or neither; links that lead out of ``data_dir`` or to folders, unless they are
        followed, and links that lead in a circle.
    """
    root = Path(data_dir)
    return once((root, options), lambda: _list(root, options))


def _list(root: Path, options: ListingOptions) -> FolderListing:
    try:
        _require(root, root.is_dir(), "is not a folder")
        walk = Walk(root, follow_links=options.follow_links)
        has_table = is_table(root)
        parts = parts_by_table(walk) if has_table else _parts_by_folders(walk, options)
        _check_test(root, parts, options)
        notes = (
            *folder_notes.passed_over(walk),
            *folder_notes.respelled(parts.class_names, parts.test_classes),
        )
        listing = FolderListing(
            root,
            tuple(parts.class_names),
            tuple(parts.train),
            tuple(parts.unlabeled),
            tuple(parts.test or ()),
            walk.unreadable,
            notes,
            names_say_labels=not has_table,
        )
        if options.test_fraction is not None:
            listing = _with_drawn_test(listing, options.test_fraction)
        lacking = folder_notes.lacking(listing.class_names, listing.test)
        return replace(listing, notes=(*notes, *lacking))
    except OSError as error:
        raise UsageError(
            f"cannot list {shown(error.filename or root)}: {error.strerror}"
        ) from error


def _parts_by_folders(walk: Walk, options: ListingOptions) -> Parts:
    root, class_names = walk.root, _classes(walk, "train")
    classes.refuse_look_alikes(shown(root / "train"), class_names)
    places: Mapping[str, int] = {}
    has_test = os.path.lexists(root / "test") or options.test_fraction is None
    if has_test:
        places = classes.places(shown(root), class_names, _classes(walk, "test"))
    train = _labeled(walk, "train", {name: k for k, name in enumerate(class_names)})
    unlabeled, test = _unlabeled(walk), _labeled(walk, "test", places)
    walk.refuse_leading_out()
    _require_each(walk, class_names, train)
    _require(root / "test", bool(test) or not has_test, "holds no image")
    return Parts(class_names, train, unlabeled, test if has_test else None, places)


def _check_test(root: Path, parts: Parts, options: ListingOptions) -> None:
    if options.test_fraction is not None and parts.test is not None:
        raise UsageError(
            f"{shown(root)} has a part to test on, of {len(parts.test):,} image"
            f"{'s' * (len(parts.test) > 1)}: leave --test-fraction out, or join it with the rest"
        )
    if options.test_fraction is None and parts.test is None:
        raise UsageError(
            f"{shown(root)} has no part to test on; expected test.csv or test/<class>/<images>; "
            f"{TEST_FRACTION}"
        )


def _with_drawn_test(listing: FolderListing, fraction: float) -> FolderListing:
    hashes = dict(listing.contents(listing.train))
    readable = [file for file in listing.train if hashes[file.name]]
    test = drawn_for_test(readable, hashes, fraction)
    if not test:
        raise UsageError(
            f"--test-fraction {fraction:g}: no class of {shown(listing.root)} has two different images"
        )
    train = sorted({*listing.train} - {*test}, key=lambda file: file.name)
    return replace(listing, train=tuple(train), test=tuple(test), test_is_drawn=True)


def _sha256_of(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _require(path: Path, holds: bool, complaint: str) -> None:
    if not holds:
        raise UsageError(f"{shown(path)} {complaint}; {LAYOUT}")


def _classes(walk: Walk, part: str) -> list[str]:
    folder = walk.root / part
    if part == "test" and not folder.is_dir():
        raise UsageError(f"{shown(folder)} is missing; {LAYOUT}; {TEST_FRACTION}")
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
