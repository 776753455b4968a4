"""The augmentations, one file each. To add one: write its file and import it here."""

from . import autoaugment, cutout, randaugment, strong, weak
from .vectors import dropout, mixup, noise

__all__ = ["autoaugment", "cutout", "dropout", "mixup", "noise", "randaugment", "strong", "weak"]
