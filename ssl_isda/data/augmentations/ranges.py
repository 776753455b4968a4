"""How strong an operation is at a level of AutoAugment's ranges: Cubuk et al., AutoAugment: Learning
Augmentation Policies from Data, CVPR 2019, arXiv 1805.09501, Table 6."""

from __future__ import annotations

from ssl_isda.data.augmentations.pool import Choice

SIGNED = {
    "rotate": (30.0, 0.0),
    "shear_x": (0.3, 0.0),
    "shear_y": (0.3, 0.0),
    "translate_x": (150 / 331, 0.0),
    "translate_y": (150 / 331, 0.0),
    "brightness": (0.9, 1.0),
    "color": (0.9, 1.0),
    "contrast": (0.9, 1.0),
    "sharpness": (0.9, 1.0),
}
"""The largest amount of each operation whose sign is drawn, and what it is added to."""


def by_level(operation: str, level: float, probability: float = 1.0) -> Choice:
    """An operation at ``level`` 0 to 1 of AutoAugment's range, or beyond."""
    if operation in SIGNED:
        largest, around = SIGNED[operation]
        amount = largest * level
        return Choice(operation, amount, around=around, signed=True, probability=probability)
    amounts = {"posterize": float(round(8 - 4 * level)), "solarize": 256 * (1 - level)}
    return Choice(operation, amounts.get(operation, 0.0), probability=probability)
