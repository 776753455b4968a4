"""The files of a folder of masks: each image with its mask. Imports no torch.

    train/images/a.jpg   train/masks/a.png     test/images/...  test/masks/...     unlabeled/b.jpg

An image and its mask have one name but for the extension. ``unlabeled`` and ``test`` may be missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder.walk import shown
from ssl_isda.data.images import formats

LAYOUT = (
    "expected train/images, train/masks, test/images, test/masks and, if any, unlabeled/<images>"
)


@dataclass(frozen=True)
class Pair:
    """An image and its mask, relative to the data folder with ``/``; no mask of an unlabeled image."""

    image: str
    mask: str | None


@dataclass(frozen=True)
class MaskFiles:
    """Every part in order of its names."""

    root: Path
    train: tuple[Pair, ...]
    test: tuple[Pair, ...]
    unlabeled: tuple[Pair, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Of all files."""
        every = (*self.train, *self.test, *self.unlabeled)
        return [name for pair in every for name in (pair.image, pair.mask) if name is not None]


def find_pairs(root: Path) -> MaskFiles:
    """The files of the data folder ``root``.

    Raises
    ------
    UsageError
        Another layout, an image without its mask or a mask without its image, two files of one name,
        no training image.
    """
    if not root.is_dir():
        raise UsageError(f"{shown(root)}: no such folder; {LAYOUT}")
    passed_over: list[str] = []
    parts = {part: _pairs(root, part, passed_over) for part in ("train", "test")}
    if not parts["train"]:
        raise UsageError(f"{shown(root / 'train/images')} has no image; {LAYOUT}")
    names = [*_images(root, "unlabeled", passed_over)] if (root / "unlabeled").exists() else []
    notes = []
    if passed_over:
        number = len(passed_over)
        notes.append(
            f"{number:,} file{'s' * (number > 1)} without an image's extension "
            f"{'are' if number > 1 else 'is'} passed over, such as {shown(passed_over[0])}"
        )
    unlabeled = tuple(Pair(name, None) for name in names)
    return MaskFiles(root, parts["train"], parts["test"], unlabeled, tuple(notes))


def _pairs(root: Path, part: str, passed_over: list[str]) -> tuple[Pair, ...]:
    if part == "test" and not (root / part).exists():
        return ()
    images, masks = (_by_stem(root, f"{part}/{kind}", passed_over) for kind in ("images", "masks"))
    for kind, these, others in (("mask", images, masks), ("image", masks, images)):
        alone = sorted(these.keys() - others.keys())
        if alone:
            more = f", and {len(alone) - 1:,} more are alone" if len(alone) > 1 else ""
            raise UsageError(
                f"{shown(root / these[alone[0]])} has no {kind} {part}/{kind}s/{shown(alone[0])}.*"
                f"{more}; "
                + ("images without masks belong into unlabeled/" if kind == "mask" else LAYOUT)
            )
    return tuple(Pair(images[stem], masks[stem]) for stem in sorted(images))


def _by_stem(root: Path, folder: str, passed_over: list[str]) -> dict[str, str]:
    if not (root / folder).is_dir():
        raise UsageError(f"{shown(root / folder)}: no such folder; {LAYOUT}")
    found: dict[str, str] = {}
    for name in _images(root, folder, passed_over):
        stem = os.path.splitext(name.removeprefix(f"{folder}/"))[0]
        if stem in found:
            raise UsageError(
                f"{shown(root / found[stem])} and {shown(root / name)} have one name; remove one of them"
            )
        found[stem] = name
    return found


def _images(root: Path, folder: str, passed_over: list[str]) -> Iterator[str]:
    """Names of the image files in a folder and below it, sorted; hidden ones are left out."""
    names: list[str] = []
    for place, below, files in os.walk(root / folder):
        below[:] = [name for name in below if not name.startswith(".")]
        paths = (Path(place, name) for name in files if not name.startswith("."))
        names += (path.relative_to(root).as_posix() for path in paths)
    for name in sorted(names):
        if formats.extension(name) in formats.EXTENSIONS:
            yield name
        else:
            passed_over.append(name)
