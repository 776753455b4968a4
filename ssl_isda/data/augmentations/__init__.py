"""The augmentations, one file each, and what they share. To add one, write its file, import it here."""

from ..masks import crops
from ..vectors import dropout, mixup, noise
from . import autoaugment, cutout, randaugment, strong, weak

__all__ = [
    "autoaugment",
    "crops",
    "cutout",
    "dropout",
    "mixup",
    "noise",
    "randaugment",
    "strong",
    "weak",
]
