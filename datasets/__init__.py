"""The data sets, one file each. To add one: write its file and import it here.

A data set imports ``ssl_isda.base`` and ``ssl_isda.data``, never another data set or a method.
"""

from . import (
    cifar,
    cityscapes,
    digit_pairs,
    digits,
    folder,
    imagenet,
    masks,
    photo_digits,
    sklearn_vectors,
    stl10,
    svhn,
    vectors,
)

__all__ = [
    "cifar",
    "cityscapes",
    "digit_pairs",
    "digits",
    "folder",
    "imagenet",
    "masks",
    "photo_digits",
    "sklearn_vectors",
    "stl10",
    "svhn",
    "vectors",
]
