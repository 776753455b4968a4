"""Two of scikit-learn's handwritten digits side by side: a hundred classes of real handwriting.

A class is an ordered pair of digits, 00 to 99. Test images join the last 45 images of each digit,
training images the others: no stroke of a test image is in a training image, and other people wrote it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_isda.data.facts import DatasetFacts
from ssl_isda.data.images.image_data import DATASETS, ImageData
from ssl_isda.data.vectors.vector_data import VectorData

FACTS = {
    "digit_pairs": DatasetFacts(100, 4_000, 40, 16, 1),
    "digit_pair_vectors": DatasetFacts(100, 4_000, 40, 16, 1),
}
TRAIN_PAIRS, TEST_PAIRS = 40, 20
"""Images of each class."""
CLASS_NAMES = [f"{pair:02d}" for pair in range(100)]


@DATASETS.register("digit_pairs")
def digit_pairs(config: object, data_dir: Path) -> ImageData:
    """4,000 training and 2,000 test images, one channel, 8 x 16 pixels; ``data_dir`` is not read.

    Each digit serves in several images, and which digits meet is drawn once for all: the images are the
    same in every run.
    """
    return ImageData.from_arrays("digit_pairs", CLASS_NAMES, *_train_and_test())


@DATASETS.register("digit_pair_vectors")
def digit_pair_vectors(config: object, data_dir: Path) -> VectorData:
    """The same as rows of 128 grey values."""
    rows = [(x.reshape(len(x), -1).astype(np.float32), y) for x, y in _train_and_test()]
    return VectorData.from_arrays("digit_pair_vectors", CLASS_NAMES, *rows)


def _train_and_test() -> list[tuple[np.ndarray, np.ndarray]]:
    """Images, (N, 1, 8, 16) uint8, and their classes."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = ((raw.images.astype(np.int64) * 510 + 16) // 32).astype(np.uint8)
    is_test = _last_quarter_of_each_class(raw.target)
    rng = np.random.default_rng(0)
    return [
        _pairs(images[chosen], raw.target[chosen], count, rng)
        for chosen, count in ((~is_test, TRAIN_PAIRS), (is_test, TEST_PAIRS))
    ]


def _last_quarter_of_each_class(labels: np.ndarray) -> np.ndarray:
    """(N,) bool: the last 45 images of each digit, which other people wrote than the first."""
    is_test = np.zeros(len(labels), bool)
    for digit in range(10):
        is_test[np.flatnonzero(labels == digit)[-45:]] = True
    return is_test


def _pairs(
    images: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """``count`` images of each of the hundred classes, (100 * count, 1, 8, 16), and their classes."""
    classes = np.repeat(np.arange(100), count)
    places = [np.flatnonzero(labels == digit) for digit in range(10)]
    sides = [
        images[[rng.choice(places[digit]) for digit in digits]]
        for digits in (classes // 10, classes % 10)
    ]
    return np.concatenate(sides, axis=2)[:, None], classes
