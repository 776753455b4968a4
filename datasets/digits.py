"""The handwritten digits that come with scikit-learn: always there, the data of the demo.

They are the 1,797 test images of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak,
1998), 8 x 8 pixels with grey values 0 to 16.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_isda.data.facts import DatasetFacts
from ssl_isda.data.images.image_data import DATASETS, ImageData

FACTS = {
    "digits": DatasetFacts(
        10, 1_347, 129, 16, 1, per_class=(133, 137, 132, 138, 136, 137, 136, 134, 129, 135)
    )
}
TEST_IMAGES_PER_CLASS = 45


@DATASETS.register("digits")
def digits(config: object, data_dir: Path) -> ImageData:
    """1,347 training and 450 test images, one channel, 16 x 16 pixels; ``data_dir`` is not read."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = enlarge(_to_bytes(raw.images))[:, None]
    labels = raw.target.astype(np.int64)
    test = _test_positions(labels)
    train = np.setdiff1d(np.arange(len(labels)), test)
    return ImageData.from_arrays(
        "digits",
        [str(digit) for digit in range(10)],
        (images[train], labels[train]),
        (images[test], labels[test]),
    )


def enlarge(images: np.ndarray) -> np.ndarray:
    """Bilinear interpolation to twice the height and width, exact in integers.

    (N, H, W) uint8 to (N, 2H, 2W) uint8. An output pixel lies a quarter of a pixel beside its input
    pixel, so along each axis it is (3 * that pixel + its neighbour) / 4, with edges repeated.
    """
    quarters = _double(_double(images.astype(np.int64), axis=1), axis=2)
    return ((quarters + 8) // 16).astype(np.uint8)


def _double(values: np.ndarray, axis: int) -> np.ndarray:
    """Four times the values at twice as many places along ``axis``."""
    length = values.shape[axis]
    before = np.take(values, np.maximum(np.arange(length) - 1, 0), axis)
    after = np.take(values, np.minimum(np.arange(length) + 1, length - 1), axis)
    pairs = np.stack([3 * values + before, 3 * values + after], axis + 1)
    return pairs.reshape(*values.shape[:axis], 2 * length, *values.shape[axis + 1 :])


def _to_bytes(grey: np.ndarray) -> np.ndarray:
    """Grey values 0..16 to 0..255, rounded half up, in integers."""
    return ((grey.astype(np.int64) * 510 + 16) // 32).astype(np.uint8)


def _test_positions(labels: np.ndarray) -> np.ndarray:
    """45 images of each class, evenly spread over the file, so over its writers."""
    spread = np.arange(TEST_IMAGES_PER_CLASS)
    positions = [np.flatnonzero(labels == c) for c in range(10)]
    return np.sort(np.concatenate([p[spread * len(p) // TEST_IMAGES_PER_CLASS] for p in positions]))
