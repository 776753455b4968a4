"""A data folder whose classes stand in ``labels.csv`` and not in the names of folders. Imports no torch.

Images lie anywhere in it. Those that the table does not name have no label. Test images stand in
``test.csv``, or in ``test/<class>``; what lies in ``test`` is never trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder import classes
from ssl_isda.data.folder.labels_file import LabelsFile
from ssl_isda.data.folder.walk import ImageFile, Walk, shown

LABELS, TEST = "labels.csv", "test.csv"


@dataclass(frozen=True)
class Parts:
    """The images of a data folder, each part sorted by name."""

    class_names: list[str]
    train: list[ImageFile]
    unlabeled: list[ImageFile]
    test: list[ImageFile] | None
    """None: the folder has no part to test on."""
    test_classes: Mapping[str, int]
    """The place of each class of the test part among the classes."""


def is_table(root: Path) -> bool:
    """Whether the folder has a table of labels."""
    return (root / LABELS).is_file()


def parts_by_table(walk: Walk) -> Parts:
    """The parts of a folder with a table.

    Raises
    ------
    UsageError
        What ``LabelsFile`` refuses; a file in both tables, or of ``labels.csv`` in ``test``; class
        folders beside a table; fewer than two classes, or such as look alike.
    """
    images = {file.name: file for file in walk.images("", -1)}
    for name in (LABELS, TEST):
        walk.look_at_table(name)
    walk.refuse_leading_out()
    _refuse_class_folders(walk.root, "train", images, LABELS)
    table = LabelsFile(walk.root / LABELS, images)
    class_names = _class_names(table)
    in_test = [name for name in images if name.startswith("test/")]
    for name in in_test:
        if name in table.labels:
            raise table.refused(table.rows[name], f"{name!r} lies in test, which is not trained on")
    known = {name: place for place, name in enumerate(class_names)}
    train = [_labeled(images[name], known[label]) for name, label in table.labels.items() if label]
    test_labels = _test_labels(walk.root, images, in_test, table)
    places = classes.places(shown(walk.root), class_names, sorted({*test_labels.values()}))
    test = [_labeled(images[name], places[label]) for name, label in test_labels.items()]
    taken = {*in_test, *test_labels, *(file.name for file in train)}
    return Parts(
        class_names,
        _by_name(train),
        _by_name([file for name, file in images.items() if name not in taken]),
        _by_name(test) if test else None,
        places,
    )


def _test_labels(
    root: Path, images: Mapping[str, ImageFile], in_test: Sequence[str], table: LabelsFile
) -> Mapping[str, str]:
    """The class of each test image by its name; empty where there is no part to test on."""
    if not (root / TEST).is_file():
        for name in in_test:
            if name.count("/") < 2:
                raise UsageError(
                    f"{shown(root / name)} lies outside a class folder; expected test/<class>/<images>, "
                    f"or a {TEST} that names its label"
                )
        return {name: name.split("/")[1] for name in in_test}
    _refuse_class_folders(root, "test", images, TEST)
    tests = LabelsFile(root / TEST, images)
    for name, label in tests.labels.items():
        row = tests.rows[name]
        if not label:
            raise tests.refused(row, f"{name!r} has no label, which a test image needs")
        if name in table.labels:
            raise tests.refused(row, f"{name!r} is in {LABELS} too, row {table.rows[name]}")
    return tests.labels


def _refuse_class_folders(
    root: Path, part: str, images: Mapping[str, ImageFile], table: str
) -> None:
    inside = next((n for n in images if n.startswith(f"{part}/") and n.count("/") > 1), None)
    if inside:
        folder = inside.split("/")[1]
        raise UsageError(
            f"{shown(root)} has both {table} and the class folder {shown(f'{part}/{folder}')}: keep one "
            "of them, or move the images of the table to a folder such as images"
        )


def _class_names(table: LabelsFile) -> list[str]:
    names = sorted({label for label in table.labels.values() if label})
    if len(names) < 2:
        raise UsageError(f"{shown(table.path)} has {len(names)} labels and needs at least 2")
    classes.refuse_look_alikes(shown(table.path), names)
    return names


def _labeled(file: ImageFile, label: int) -> ImageFile:
    return replace(file, label=label)


def _by_name(files: Sequence[ImageFile]) -> list[ImageFile]:
    return sorted(files, key=lambda file: file.name)
