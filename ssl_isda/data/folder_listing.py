"""The files of a user's own image folder, found without opening one. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.data.file_hashes import file_hashes

LAYOUT = "expected train/<class>/<images>, test/<class>/<images> and, if any, unlabeled/<images>"


@dataclass(frozen=True)
class ImageFile:
    """One file: its name relative to the data folder, with ``/``; class index, or -1 for none.

    ``size`` (bytes) and ``times`` (of the last change of its content and of its entry, nanoseconds)
    tell whether it has changed since it was last read.
    """

    name: str
    label: int
    size: int
    times: tuple[int, int]


_listed: ContextVar[dict[Path, FolderListing] | None] = ContextVar("listed", default=None)


@dataclass(frozen=True)
class FolderListing:
    """What a data folder holds; every list is sorted by relative name, whatever the locale."""

    root: Path
    class_names: tuple[str, ...]
    train: tuple[ImageFile, ...]
    unlabeled: tuple[ImageFile, ...]
    test: tuple[ImageFile, ...]

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
        """The name of each file and the SHA-256 of its bytes."""
        return [[file.name, self._hashes[file.name]] for file in files]

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return file_hashes(self.root, {file.name: [file.size, *file.times] for file in self.files})


@contextmanager
def listed_once() -> Iterator[None]:
    """Within the block a folder is listed once, however often it is asked for."""
    token = _listed.set({})
    try:
        yield
    finally:
        _listed.reset(token)


def list_images(data_dir: Path) -> FolderListing:
    """List ``train/<class>``, ``unlabeled`` and ``test/<class>``, nested folders included.

    Names that start with a dot are ignored; every other file counts as an image.

    Raises
    ------
    UsageError
        Missing or empty parts, classes that differ between train and test, files outside a class,
        links that lead out of ``data_dir`` or nowhere, links to folders.
    """
    root = Path(data_dir)
    listed = {} if (kept := _listed.get()) is None else kept
    if root not in listed:
        listed[root] = _list(root)
    return listed[root]


def _list(root: Path) -> FolderListing:
    try:
        _require(root, root.is_dir(), "is not a folder")
        train_classes = _classes(root, "train")
        test_classes = _classes(root, "test")
        _require_same_classes(root, train_classes, test_classes)
        return FolderListing(
            root=root,
            class_names=tuple(train_classes),
            train=_labeled_files(root, "train", train_classes),
            unlabeled=_unlabeled_files(root),
            test=_labeled_files(root, "test", test_classes),
        )
    except OSError as error:
        raise UsageError(
            f"cannot list {shown(error.filename or root)}: {error.strerror}"
        ) from error


def shown(path: str | bytes | Path) -> str:
    """A path that is safe to print on one line, whatever bytes its name has."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)


def _sha256_of(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _require(path: Path, holds: bool, complaint: str) -> None:
    if not holds:
        raise UsageError(f"{shown(path)} {complaint}; {LAYOUT}")


def _classes(root: Path, part: str) -> list[str]:
    folder = root / part
    _require(folder, folder.is_dir(), "is missing")
    _refuse_outward_link(root, folder)
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    for name in names:
        _require(folder / name, (folder / name).is_dir(), "lies outside a class folder")
    _require(folder, len(names) >= 2, f"has {len(names)} class folders and needs at least 2")
    return names


def _require_same_classes(root: Path, train: list[str], test: list[str]) -> None:
    differing = sorted(set(train) ^ set(test))
    if differing:
        name = differing[0]
        there, absent = ("train", "test") if name in train else ("test", "train")
        more = f" ({len(differing)} classes differ)" if len(differing) > 1 else ""
        raise UsageError(
            f"{shown(root)}: class {shown(name)!r} is in {there} but not in {absent}{more}; "
            "train and test must have the same class folders"
        )


def _labeled_files(root: Path, part: str, class_names: list[str]) -> tuple[ImageFile, ...]:
    files: list[ImageFile] = []
    for label, name in enumerate(class_names):
        found = list(_walk(root, root / part / name, label))
        _require(root / part / name, bool(found), "holds no image")
        files.extend(found)
    return tuple(sorted(files, key=lambda file: file.name))


def _unlabeled_files(root: Path) -> tuple[ImageFile, ...]:
    folder = root / "unlabeled"
    if not os.path.lexists(folder):
        return ()
    _require(folder, folder.is_dir(), "is not a folder")
    return tuple(sorted(_walk(root, folder, label=-1), key=lambda file: file.name))


def _walk(root: Path, folder: Path, label: int) -> Iterator[ImageFile]:
    _refuse_outward_link(root, folder)
    inside = folder.relative_to(root).as_posix()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                _refuse_outward_link(root, folder / entry.name)
            if entry.is_dir():
                yield from _walk(root, folder / entry.name, label)
            else:
                facts = entry.stat()
                name = f"{inside}/{entry.name}"
                times = (facts.st_mtime_ns, facts.st_ctime_ns)
                yield ImageFile(name, label, facts.st_size, times)


def _refuse_outward_link(root: Path, path: Path) -> None:
    """Links to files inside ``root`` are fine; all others could lead anywhere, or in a circle."""
    if not path.is_symlink():
        return
    target = path.resolve()
    if not target.is_relative_to(root.resolve()):
        raise UsageError(f"{shown(path)} is a link that leads out of {shown(root)}: copy it there")
    if not target.exists():
        raise UsageError(f"{shown(path)} is a link that leads nowhere: remove it")
    if target.is_dir():
        raise UsageError(f"{shown(path)} is a link to a folder: put the images themselves there")
