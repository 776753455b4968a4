"""The augmentations, one file each. To add one: write its file and import it here."""

from . import autoaugment, cutout, randaugment, strong, weak

__all__ = ["autoaugment", "cutout", "randaugment", "strong", "weak"]
