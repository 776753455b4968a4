"""Handwritten digits, cut out by their own masks and laid over photographs: a set for any machine.

Both come with scikit-learn: the 901 digits 0 to 4 of the data set ``digits``, enlarged to 16 x 16 pixels,
and the two photographs ``china.jpg`` and ``flower.jpg``, 427 x 640 pixels. The parts are real, their
composition is made: an image is a window of a photograph, reduced to 32 x 32 pixels, on which one or two
digits lie, each in one colour that is mixed with the photograph by its grey values. A pixel has the class
of the last digit that covers more than half of it, no class where one covers an eighth to a half, and is
background elsewhere: 6 classes.

Training and test share nothing: every fourth digit and the right third of each photograph is for the
test images alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_isda.base.void import VOID
from ssl_isda.data.facts import MaskFiles
from ssl_isda.data.images.image_data import DATASETS
from ssl_isda.data.masks.classes import default_palette
from ssl_isda.data.masks.mask_data import MaskData

SIDE, REDUCED = 32, 2
"""Height and width of an image; pixels of the photograph to one of its pixels, along each axis."""
NUM_TRAIN, NUM_TEST = 600, 200
NUM_DIGITS = 5
"""The digits 0 to 4 are used."""
LEAST, MOST = 1, 2
"""Digits on an image."""
ENLARGED = 2
"""Pixels for each of a digit's 8 x 8, along each axis."""

FACTS = {"photo_digits": MaskFiles()}


@DATASETS.register("photo_digits")
def photo_digits(config: object, data_dir: Path) -> MaskData:
    """600 training and 200 test images with their masks; ``data_dir`` is not read."""
    digits, labels = _digits()
    photographs = _photographs()
    is_test = np.arange(len(labels)) % 4 == 3
    split = [int(photo.shape[1] * 2 / 3) for photo in photographs]
    left = [photo[:, :at] for photo, at in zip(photographs, split, strict=True)]
    right = [photo[:, at:] for photo, at in zip(photographs, split, strict=True)]
    train = _composed(NUM_TRAIN, digits[~is_test], labels[~is_test], left, seed=0)
    test = _composed(NUM_TEST, digits[is_test], labels[is_test], right, seed=1)
    names = ("background", *map(str, range(NUM_DIGITS)))
    with_masks = np.zeros(NUM_TRAIN, np.int64)
    return MaskData.from_masks(
        "photo_digits", names, default_palette(len(names)), (*train, with_masks), test
    )


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """(n, 16, 16) of 0 to 16, each grey value four pixels, and their classes."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    kept = raw.target < NUM_DIGITS
    images = raw.images[kept].astype(np.int64)
    return images.repeat(ENLARGED, 1).repeat(ENLARGED, 2), raw.target[kept]


def _photographs() -> list[np.ndarray]:
    """(h, w, 3), each pixel the mean of ``REDUCED`` x ``REDUCED``."""
    from sklearn.datasets import load_sample_images

    reduced = []
    for photo in load_sample_images().images:
        height, width = (length // REDUCED for length in photo.shape[:2])
        cut = photo[: height * REDUCED, : width * REDUCED].astype(np.int64)
        parts = cut.reshape(height, REDUCED, width, REDUCED, 3)
        reduced.append(parts.sum((1, 3)) // REDUCED**2)
    return reduced


def _composed(
    number: int, digits: np.ndarray, labels: np.ndarray, photographs: list[np.ndarray], *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3, SIDE, SIDE) images and (n, SIDE, SIDE) masks, always the same ones for a seed."""
    rng = np.random.default_rng(seed)
    images = np.empty((number, 3, SIDE, SIDE), np.uint8)
    masks = np.zeros((number, SIDE, SIDE), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        photo = photographs[rng.integers(len(photographs))]
        top, left = (int(rng.integers(length - SIDE + 1)) for length in photo.shape[:2])
        pixels = photo[top : top + SIDE, left : left + SIDE].copy()
        for _ in range(rng.integers(LEAST, MOST + 1)):
            which = int(rng.integers(len(digits)))
            _lay(pixels, mask, digits[which], int(labels[which]) + 1, rng)
        image[:] = pixels.transpose(2, 0, 1)
    return images, masks


def _lay(
    pixels: np.ndarray, mask: np.ndarray, digit: np.ndarray, number: int, rng: np.random.Generator
) -> None:
    """One digit in a colour of its own, anywhere on the image."""
    length = len(digit)
    top, left = rng.integers(SIDE - length + 1, size=2)
    place = (slice(top, top + length), slice(left, left + length))
    colour = rng.integers(256, size=3)
    grey = digit[:, :, None]
    pixels[place] = (pixels[place] * (16 - grey) + colour * grey) // 16
    mask[place][digit >= 2] = VOID
    mask[place][digit > 8] = number
