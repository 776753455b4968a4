"""The augmentations, one file each. To add one: write its file and import it here."""

from . import autoaugment, cutout, randaugment, weak
from .vectors import noise

__all__ = ["autoaugment", "cutout", "noise", "randaugment", "weak"]
