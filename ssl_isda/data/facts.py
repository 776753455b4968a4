"""What is known of each data set without opening it. Imports no torch, so errors answer at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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


FACTS = {
    "cifar10": DatasetFacts(10, 50_000, 5_000, 32, 3),
    "cifar100": DatasetFacts(100, 50_000, 500, 32, 3),
    "svhn": DatasetFacts(10, 73_257, 4_659, 32, 3, num_extra_images=531_131),
    "digits": DatasetFacts(10, 1_347, 129, 16, 1),
}
"""Every data set of fixed content; ``folder`` is whatever its user put there."""


def dataset_names() -> list[str]:
    """All names that ``--dataset`` takes."""
    return [*FACTS, "folder"]


def check_labels(dataset: str, labels: int | None, data_dir: Path) -> None:
    """Refuse a number of labels that ``dataset`` cannot give, before any image is read.

    ``labels=None`` stands for every labeled image and is for ``folder`` alone, whose files are
    counted from their directories.

    Raises
    ------
    UsageError
        Zero, negative, not the same number for each class, more than there are; or the folder does
        not have the layout of ``list_images``.
    """
    if dataset == "folder":
        listing = list_images(data_dir)
        if labels is not None:
            num_classes = len(listing.class_names)
            check_label_count(dataset, labels, num_classes, min(listing.train_counts()))
        return
    facts = FACTS[dataset]
    if labels is None:
        raise UsageError(f"{dataset} needs a number of labels, {_range(facts)}")
    check_label_count(dataset, labels, facts.num_classes, facts.fewest_per_class)


def data_digest(dataset: str, data_dir: Path) -> str | None:
    """What tells a user's images from others without reading one.

    None for data of fixed content, and where there is no folder.

    Raises
    ------
    UsageError
        The folder does not have the layout of ``list_images``.
    """
    if dataset != "folder" or not data_dir.is_dir():
        return None
    return list_images(data_dir).digest()


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


def _range(facts: DatasetFacts) -> str:
    most = facts.num_classes * facts.fewest_per_class
    return f"a multiple of {facts.num_classes} from {facts.num_classes} to {most}"
