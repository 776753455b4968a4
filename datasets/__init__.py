"""Data sets, one file each. To add one: write ``datasets/yours.py`` and import it here.

A data set imports ``ssl_isda.base`` and ``ssl_isda.data``, never another data set or a method.
"""

from . import cifar, digit_pairs, digits, folder, sklearn_vectors, svhn

__all__ = ["cifar", "digit_pairs", "digits", "folder", "sklearn_vectors", "svhn"]
