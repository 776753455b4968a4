"""Images in memory: which labels they may have, and which of them are held out to test on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.data.arrays import image_data
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.inputs import Arrays
from tests.ssl_isda.data.conftest import pixels_of

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 4), np.uint8)
LABELS = np.arange(12) % 3
NAMES = np.array(["cat", "dog", "emu"])


class Given(list[Any]):
    """A Dataset of (image, label), and of names where it has them."""

    def __init__(self, labels: Sequence[Any], classes: Sequence[str] | None = None) -> None:
        super().__init__(zip(IMAGES, labels, strict=False))
        if classes is not None:
            self.classes = classes


def contents(data: ImageData) -> tuple[set[bytes], set[bytes]]:
    """Of the training and of the test images."""
    train, test = (pixels_of(part).numpy() for part in (data.train, data.test))
    return {image.tobytes() for image in train}, {image.tobytes() for image in test}


def test_copies_of_an_image_are_held_out_together_whatever_their_order() -> None:
    images, labels = np.concatenate([IMAGES, IMAGES[:9]]), np.concatenate([LABELS, LABELS[:9]])
    train, test = contents(image_data("mine", (images, labels)))
    assert test and not train & test
    order = np.random.default_rng(1).permutation(len(images))
    assert contents(image_data("mine", (images[order], labels[order]))) == (train, test)


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, None, 2] * 3,
        [torch.tensor(k) for k in (0, 1, -1, 2)] * 3,
        torch.tensor([[0], [1], [-1], [2]] * 3),
        np.array([0, 1, np.nan, 2] * 3),
        np.array([[0], [1], [-1], [2]] * 3),
        ["cat", "dog", "", "emu"] * 3,
        np.array(["cat", "dog", None, "emu"] * 3),
    ],
)
def test_labels_of_many_forms(labels: Any) -> None:
    data = image_data("mine", (IMAGES, labels), test_fraction=0.4)
    assert sorted(data.train.labels.tolist()) == [*[-1] * 3, *[0] * 2, *[1] * 2, *[2] * 2]
    assert data.class_names == (tuple(NAMES) if "cat" in np.asarray(labels) else ("0", "1", "2"))


def test_labels_of_pandas_with_a_missing_value() -> None:
    pandas = pytest.importorskip("pandas")
    labels = pandas.Series([0, 1, None, 2] * 3, dtype="Int64")
    for given in (labels, labels.astype(object)):
        data = image_data("mine", (IMAGES, given))
        assert data.class_names == ("0", "1", "2") and (data.train.labels == -1).sum() == 3


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (Given(LABELS, NAMES), Given([2, 1], NAMES)),
        (Given(LABELS, NAMES), Given([0, 1], ["emu", "dog"])),
        (Given(LABELS, NAMES), Given([2, 1])),
        (Given(LABELS, NAMES), Given(["emu", "dog"])),
        (Given(LABELS), Given([2, 1], NAMES)),
        (Given(NAMES[LABELS]), Given([1, 0], ["dog", "emu"])),
        (Given(LABELS, [*NAMES, "yak"]), Given([2, 1], [*NAMES, "yak"])),
        (Given(LABELS, ["a", "a", "b"]), Given([2, 1], ["a", "a", "b"])),
    ],
)
def test_labels_of_a_test_part_are_compared_by_name_or_by_number(train: Given, test: Given) -> None:
    assert image_data("mine", train, test).test.labels.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("train", "test", "line"),
    [
        (
            Given(LABELS, NAMES),
            Given([0, -1], NAMES),
            "row 1 has no label, and each row to test on",
        ),
        (Given(LABELS, NAMES), Given([0, None], NAMES), "row 1 has no label, and each row to test"),
        (Given(LABELS, NAMES), Given([0, 7], NAMES), "has the class '7', which training does not"),
        (
            Given(LABELS, NAMES),
            Given([0, 7], ["emu"]),
            "has the class '7', which training does not",
        ),
        (Given(LABELS, NAMES), Given([0, 7]), "has the class '7', which training does not have"),
        (
            Given(LABELS, NAMES),
            Given(["yak"], NAMES),
            "has the class 'yak', which training does not",
        ),
        (Given(NAMES[LABELS]), Given([0]), "has the class '0', which training does not have"),
        (Given(LABELS), Given([]), "test_data must be (images, labels), or a torch Dataset"),
        ((IMAGES, np.eye(3)[LABELS]), None, "has the shape (12, 3): one label a row"),
        ((IMAGES, [[0], [0, 1]] * 6), None, "must have one label a row: "),
        ((IMAGES, [0, "cat"] * 6), None, "must be all integers or all names of classes"),
        ((IMAGES, LABELS + 0.5), None, "must be classes, whole numbers or names; got 0.5"),
        (([IMAGES[0], IMAGES[0, :3]] * 6, LABELS), None, "images must all have one shape: "),
        ((IMAGES[:2], [0, 1]), None, "no class has two different labeled images"),
    ],
)
def test_other_labels_and_images_are_refused_in_one_line(train: Any, test: Any, line: str) -> None:
    with pytest.raises(UsageError) as refused:
        image_data("mine", train, test)
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_images_of_several_sizes_are_no_input_of_a_network() -> None:
    with pytest.raises(UsageError, match="images must all have one shape: "):
        Arrays([IMAGES[0], IMAGES[0, :3]], (1, 4, 4))
