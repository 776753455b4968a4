"""What is known of each data set before it is opened. Imports no torch, so errors answer at once."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from pathlib import Path

import ssl_isda
from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder_listing import list_images


@dataclass(frozen=True)
class DatasetFacts:
    """Sizes of a published data set, in images and pixels.

    ``fewest_per_class`` is the number of training images of its rarest class, ``num_extra_images``
    how many further images can be joined without their labels.
    """

    num_classes: int
    num_train_images: int
    fewest_per_class: int
    image_size: int
    channels: int
    num_extra_images: int = 0


@dataclass(frozen=True)
class ClassFolders:
    """Of a user's own images: their facts are counted in the folders that ``list_images`` lists."""


Facts = DatasetFacts | ClassFolders
_KINDS = {kind.__name__: kind for kind in (DatasetFacts, ClassFolders)}


def facts_of(dataset: str) -> Facts | None:
    """The facts in the data set's own file; None: nothing is known before it is loaded."""
    folders = (Path(each, "datasets") for each in ssl_isda.__path__)
    return _all_facts(next(folder for folder in folders if folder.is_dir())).get(dataset)


def check_labels(dataset: str, labels: int | None, data_dir: Path) -> None:
    """Refuse a number of labels that ``dataset`` cannot give, before any image is read.

    ``labels=None`` stands for every labeled image and is for a user's own images alone.

    Raises
    ------
    UsageError
        Zero, negative, not the same number for each class, more than there are; or the folder does
        not have the layout of ``list_images``.
    """
    facts = facts_of(dataset)
    if isinstance(facts, ClassFolders):
        listing = list_images(data_dir)
        num_classes, fewest = len(listing.class_names), min(listing.train_counts())
    elif facts is not None:
        num_classes, fewest = facts.num_classes, facts.fewest_per_class
        if labels is None:
            raise UsageError(
                f"{dataset} needs a number of labels, a multiple of {num_classes} from {num_classes} "
                f"to {num_classes * fewest}"
            )
    if facts is not None and labels is not None:
        check_label_count(dataset, labels, num_classes, fewest)


def bytes_to_load(dataset: str, *, extra: bool) -> int:
    """What loading a published data set takes, files and images at once; 0 where nobody knows.

    ``extra``: with its further images.
    """
    facts = facts_of(dataset)
    if not isinstance(facts, DatasetFacts):
        return 0
    num_images = facts.num_train_images + extra * facts.num_extra_images
    return 2 * num_images * facts.channels * facts.image_size**2


def data_digests(dataset: str, data_dir: Path) -> tuple[str, ...]:
    """What tells a user's images from others, in every version, the one to record first.

    Empty for data of fixed content, and where there is no folder.

    Raises
    ------
    UsageError
        The folder does not have the layout of ``list_images``, or a file cannot be read.
    """
    if not isinstance(facts_of(dataset), ClassFolders) or not data_dir.is_dir():
        return ()
    return list_images(data_dir).digests


def check_label_count(dataset: str, labels: int, num_classes: int, fewest_per_class: int) -> None:
    """Refuse ``labels`` unless it is ``num_classes`` times 1 to ``fewest_per_class``.

    Raises
    ------
    UsageError
        Says what was asked for, what is valid, and the valid numbers next to it.
    """
    most = num_classes * fewest_per_class
    if num_classes <= labels <= most and labels % num_classes == 0:
        return
    below = min(max(labels - labels % num_classes, num_classes), most)
    above = min(max(below, below + num_classes * (labels > below)), most)
    nearest = " or ".join(str(number) for number in sorted({below, above}))
    raise UsageError(
        f"{labels} labels: {dataset} has {num_classes} classes, the rarest with "
        f"{fewest_per_class} images, and each gets the same number of labels; valid are the "
        f"multiples of {num_classes} from {num_classes} to {most}, the nearest is {nearest}"
    )


@functools.cache
def _all_facts(folder: Path) -> dict[str, Facts]:
    """``FACTS = {"name": DatasetFacts(...)}`` of every file, read from its source."""
    facts: dict[str, Facts] = {}
    for path in sorted(folder.glob("*.py")):
        try:
            statements = ast.parse(path.read_bytes()).body
        except (SyntaxError, ValueError, OSError) as error:
            raise UsageError(f"{path}: not valid Python: {error}") from None
        for node in statements:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FACTS":
                facts |= _evaluated(node.value)
    return facts


def _evaluated(table: ast.expr) -> dict[str, Facts]:
    assert isinstance(table, ast.Dict), ast.unparse(table)
    return {
        ast.literal_eval(name): _KINDS[call.func.id](
            *map(ast.literal_eval, call.args),
            **{str(word.arg): ast.literal_eval(word.value) for word in call.keywords},
        )
        for name, call in zip(table.keys, table.values, strict=True)
        if name is not None and isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }
