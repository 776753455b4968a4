"""A user's own images, handed over in memory: arrays, tensors, or a map-style torch Dataset."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.data.amounts import Amounts
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.images.memory import room_for_data
from ssl_isda.data.splits import make_split

TEST_SHARE = 0.2
"""Of each class's labeled images, where no test part is given."""
CHANNELS = (1, 3)
AT_ONCE = 1_000
"""Images of which float64 copies are made at a time."""


def image_data(
    name: str, data: Any, test_data: Any = None, test_fraction: float | None = None
) -> ImageData:
    """Training and test images of a user.

    Parameters
    ----------
    data : ``(images, labels)``, or a torch Dataset whose items are ``(image, label)``. Images are
        uint8, (n, h, w), (n, h, w, c) or (n, c, h, w), or whole 255ths from 0 to 1, as torchvision's
        ToTensor makes them. Labels are integers or names; -1, None and NaN say that there is none.
    test_data : the same, every image labeled. Without it ``test_fraction``, by default a fifth, of each
        class's labeled images is held out, the same ones for every seed.

    Raises
    ------
    UsageError
        Another form, no two classes, classes in the test part that training does not have, a fraction
        beside a test part.
    """
    if isinstance(data, ImageData):
        return data
    with room_for_data(name, 0):
        return _image_data(name, data, test_data, test_fraction)


def _image_data(name: str, data: Any, test_data: Any, test_fraction: float | None) -> ImageData:
    images, labels = _taken_apart(data)
    class_names, numbers = _numbered(labels, getattr(data, "classes", None))
    train, test, drawn = (images, numbers), _test_part(test_data, class_names), None
    if test is None:
        is_test = _held_out(numbers, len(class_names), test_fraction or TEST_SHARE)
        train, test = (images[~is_test], numbers[~is_test]), (images[is_test], numbers[is_test])
        drawn = tuple(np.flatnonzero(is_test[numbers >= 0]).tolist()) if test_fraction else None
    elif test_fraction is not None:
        raise UsageError("test_fraction goes without test_data, which has the images to test on")
    if train[0].shape[1:] != test[0].shape[1:]:
        shapes = f"{train[0].shape[1:]} and {test[0].shape[1:]}"
        raise UsageError(f"data and test_data have images of different shapes: {shapes}")
    found = ImageData.from_arrays(name, [str(each) for each in class_names], train, test)
    return replace(found, drawn_test=drawn)


def channels_first(images: Any) -> np.ndarray:
    """Images of any of the three layouts as (n, c, h, w).

    Raises
    ------
    UsageError
        They have another number of dimensions or of channels.
    """
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in CHANNELS:
        array = np.moveaxis(array, 3, 1)
    if array.ndim != 4 or array.shape[1] not in CHANNELS:
        raise UsageError(
            "images must be (n, height, width), (n, height, width, channels) or (n, channels, height, "
            f"width) with 1 or 3 channels, got {np.shape(images)}"
        )
    return array


def _taken_apart(data: Any) -> tuple[np.ndarray, list[Any]]:
    """Images as bytes, and a label for each."""
    if isinstance(data, tuple) and len(data) == 2:
        images, labels = data
    else:
        pairs = _items(data)
        labels = [label for _, label in pairs]
        images = _stacked([np.asarray(image) for image, _ in pairs])
    array, labels = _bytes(channels_first(images)), np.asarray(labels, dtype=object).tolist()
    if len(array) != len(labels):
        raise UsageError(f"data has {len(array)} images and {len(labels)} labels")
    return array, labels


def _items(data: Any) -> list[tuple[Any, Any]]:
    items = []
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        items = [data[position] for position in range(len(data))]
    if not items or not all(isinstance(item, tuple) and len(item) == 2 for item in items):
        raise UsageError(
            "data must be (images, labels), or a torch Dataset whose items are (image, label); "
            f"got {type(data).__name__}"
        )
    return items


def _stacked(images: Sequence[np.ndarray]) -> np.ndarray:
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise UsageError(f"the images of data must have one shape, got {shapes[0]} and {shapes[1]}")
    return np.stack(images)


def _bytes(images: np.ndarray) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    if np.issubdtype(images.dtype, np.floating):
        found = np.empty(images.shape, np.uint8)
        some = range(0, len(images), AT_ONCE)
        if all(_fill_with_255ths(found[k : k + AT_ONCE], images[k : k + AT_ONCE]) for k in some):
            return found
    raise UsageError(
        "images to train on must be uint8, 0 to 255, or whole 255ths from 0 to 1; "
        f"got {images.dtype}: a run prepares them itself (--preprocessing)"
    )


def _fill_with_255ths(found: np.ndarray, images: np.ndarray) -> bool:
    """Whether these are whole 255ths from 0 to 1, which then stand in ``found``."""
    scaled = images.astype(np.float64) * 255
    whole = scaled.round()
    fits = np.abs(scaled - whole).max() < 1e-3 and whole.min() >= 0 and whole.max() <= 255
    if fits:
        found[:] = whole
    return bool(fits)


def _is_missing(label: Any) -> bool:
    return label is None or label == -1 or (isinstance(label, float) and math.isnan(label))


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


def _numbered(labels: Sequence[Any], names: Sequence[str] | None) -> tuple[list[Any], np.ndarray]:
    """The classes in their order, and each label's place among them; -1 where there is none."""
    plain = [_plain(label) for label in labels]
    found = {label for label in plain if not _is_missing(label)}
    if len({type(label) for label in found}) > 1 or len(found) < 2:
        raise UsageError("labels must be of two classes or more, all integers or all names")
    classes = sorted(found)
    numbers = np.array([-1 if _is_missing(each) else classes.index(each) for each in plain])
    if names is not None and classes == list(range(len(names))):
        classes = list(names)
    return classes, numbers


def _test_part(test_data: Any, classes: list[Any]) -> tuple[np.ndarray, np.ndarray] | None:
    if test_data is None:
        return None
    images, labels = _taken_apart(test_data)
    places = {str(name): place for place, name in enumerate(classes)}
    named = getattr(test_data, "classes", None)
    texts = [str(named[_plain(each)] if named else _plain(each)) for each in labels]
    unknown = sorted(set(texts) - places.keys())
    if unknown:
        raise UsageError(f"test_data has the class {unknown[0]!r}, which data does not have")
    return images, np.array([places[text] for text in texts])


def _held_out(labels: np.ndarray, num_classes: int, fraction: float) -> np.ndarray:
    """(N,) bool: the images to test on."""
    chosen = make_split(
        labels,
        num_classes=num_classes,
        amounts=Amounts(),
        seed=0,
        dataset="data",
        checksum="",
        validation_fraction=fraction,
    ).validation
    return np.isin(np.arange(len(labels)), chosen)
