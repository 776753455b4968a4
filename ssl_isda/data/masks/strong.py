"""The strong view of a window: changes of colour alone, since its pixels must stay where they are."""

from __future__ import annotations

from ssl_isda.data.augmentations.policy import square_of
from ssl_isda.data.augmentations.pool import Pool
from ssl_isda.data.augmentations.strong import FACTORS, fourteen
from ssl_isda.data.augmentations.strong import Config as StrongConfig
from ssl_isda.data.masks.crops import Config, Crops

OF_COLOUR = {*FACTORS, "identity", "autocontrast", "equalize", "posterize", "solarize"}
"""FixMatch's operations that move no pixel."""


def strong_crops(config: Config, strong: StrongConfig, *, flip: bool) -> Crops:
    """FixMatch's strong augmentation on a window, without its rotations, shears and translations.

    The square of Cutout hides part of the strong view alone: its pixels are learned from what is around.
    """
    choices = tuple(c for c in fourteen(strong.strong_probability) if c.operation in OF_COLOUR)
    pool = Pool(choices, strong.strong_operations)
    return Crops(config, flip, pool, square_of(strong.strong_cutout))
