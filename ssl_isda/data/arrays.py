"""A user's own images, handed over in memory: arrays, tensors, or a map-style torch Dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.images.memory import room_for_data
from ssl_isda.data.test_part import places_for_test
from ssl_isda.data.vectors import labels as labels_of

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
        class's labeled images is held out, the same ones for every seed, and copies of an image
        together.

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
    images, found = _taken_apart(data, "data")
    classes, labels = _numbered(found, _names_of(data))
    train, drawn = (images, labels), None
    if test_data is None:
        is_test = _held_out(images, labels, test_fraction or TEST_SHARE)
        train, test = (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])
        drawn = tuple(np.flatnonzero(is_test[labels >= 0]).tolist()) if test_fraction else None
    elif test_fraction is not None:
        raise UsageError("test_fraction goes without test_data, which has the images to test on")
    else:
        test = _test_part(test_data, classes)
    if train[0].shape[1:] != test[0].shape[1:]:
        shapes = f"{train[0].shape[1:]} and {test[0].shape[1:]}"
        raise UsageError(f"data and test_data have images of different shapes: {shapes}")
    made = ImageData.from_arrays(name, classes.names, train, test)
    return replace(made, drawn_test=drawn)


def channels_first(images: Any) -> np.ndarray:
    """Images of any of the three layouts as (n, c, h, w).

    Raises
    ------
    UsageError
        They have several shapes, or another number of dimensions or of channels.
    """
    array = array_of(images)
    given = array.shape
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in CHANNELS:
        array = np.moveaxis(array, 3, 1)
    if array.ndim != 4 or array.shape[1] not in CHANNELS:
        raise UsageError(
            "images must be (n, height, width), (n, height, width, channels) or (n, channels, height, "
            f"width) with 1 or 3 channels, got {given}"
        )
    return array


def array_of(images: Any) -> np.ndarray:
    """An array, a tensor or a list of images as one array.

    Raises
    ------
    UsageError
        They have several shapes.
    """
    try:
        return np.asarray(images)
    except ValueError as error:
        raise UsageError(f"images must all have one shape: {error}") from error


def _taken_apart(data: Any, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Images as bytes, and an entry for each that says its class or that it has none."""
    if isinstance(data, tuple) and len(data) == 2:
        images, labels = data
    else:
        pairs = _items(data, what)
        labels = [label for _, label in pairs]
        images = _stacked([np.asarray(image) for image, _ in pairs], what)
    array = _bytes(channels_first(images))
    is_list = isinstance(labels, (list, tuple))
    if is_list:
        labels = [each.item() if getattr(each, "ndim", None) == 0 else each for each in labels]
    if (is_list or np.ndim(labels)) and len(labels) != len(array):
        raise UsageError(f"{what} has {len(array)} images and {len(labels)} labels")
    return array, labels_of.entries(labels, len(array), _list_of(what), f"the array of {what}")


def _list_of(what: str) -> str:
    """What complaints call the labels."""
    return f"the list of labels of {what}"


def _items(data: Any, what: str) -> list[tuple[Any, Any]]:
    items = []
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        items = [data[position] for position in range(len(data))]
    if not items or not all(isinstance(item, tuple) and len(item) == 2 for item in items):
        raise UsageError(
            f"{what} must be (images, labels), or a torch Dataset whose items are (image, label); "
            f"got {type(data).__name__}"
        )
    return items


def _stacked(images: Sequence[np.ndarray], what: str) -> np.ndarray:
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise UsageError(
            f"the images of {what} must have one shape, got {shapes[0]} and {shapes[1]}"
        )
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


class _Classes(NamedTuple):
    """The classes of the training images, in their order.

    names : what they are called
    labels : what labels call them: the same unless these are the places of the names
    are_numbers : whether labels are integers and there are no names
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    are_numbers: bool


def _names_of(data: Any) -> tuple[str, ...]:
    """The names that a Dataset has for its labels; none where it has none."""
    names = getattr(data, "classes", None)
    return tuple(map(str, names)) if isinstance(names, (list, tuple, np.ndarray)) else ()


def _numbered(found: np.ndarray, names: tuple[str, ...]) -> tuple[_Classes, np.ndarray]:
    """The classes, and each label's place among them; -1 where there is none."""
    labels, numbers = labels_of.numbered(found, _list_of("data"))
    if labels == tuple(map(str, range(len(names)))):
        return _Classes(names, labels, are_numbers=False), numbers
    _, values = labels_of.known(found, _list_of("data"))
    return _Classes(labels, labels, are_numbers=values.dtype.kind == "i"), numbers


def _test_part(test_data: Any, classes: _Classes) -> tuple[np.ndarray, np.ndarray]:
    """Integers are compared with those of training, or by their names where both sides have names."""
    images, found = _taken_apart(test_data, "test_data")
    names, what = _names_of(test_data), _list_of("test_data")
    _, values = labels_of.known(found, what)
    if values.dtype.kind != "i":
        return images, labels_of.placed(found, classes.names, what)
    if classes.are_numbers or names in ((), classes.names):
        return images, labels_of.placed(found, classes.labels, what)
    places = labels_of.placed(found, tuple(map(str, range(len(names)))), what)
    named = np.array([names[place] for place in places], dtype=object)
    return images, labels_of.placed(named, classes.names, what)


def _held_out(images: np.ndarray, labels: np.ndarray, fraction: float) -> np.ndarray:
    """(N,) bool: the images to test on; copies of an image are all among them or none is."""
    labeled = np.flatnonzero(labels >= 0)
    hashes = [hashlib.sha256(np.ascontiguousarray(images[k]).data).digest() for k in labeled]
    drawn = places_for_test(labels[labeled].tolist(), hashes, fraction)
    if not drawn:
        raise UsageError(
            "no class has two different labeled images, so that none is left to test on"
        )
    is_test = np.zeros(len(labels), bool)
    is_test[labeled[drawn]] = True
    return is_test
