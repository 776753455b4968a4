"""The augmentations, one file each. To add one: write its file and import it here."""

from . import cutout, weak

__all__ = ["cutout", "weak"]
