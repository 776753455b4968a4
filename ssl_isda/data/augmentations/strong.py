"""Strong augmentation: Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and
Confidence, NeurIPS 2020, arXiv 2001.07685, with RandAugment.

Each image is translated and mirrored as a weak view is. Then N operations are drawn for it, uniformly and
with replacement from fourteen; each acts with a probability, by an amount that is uniform over its whole
range. At the end Cutout hides a square.

| operation | amount |
| --- | --- |
| brightness, color, contrast, sharpness | factor 0.05 to 0.95 |
| rotate | -30 to 30 degrees |
| shear_x, shear_y | -0.3 to 0.3 pixels for each pixel |
| translate_x, translate_y | -0.3 to 0.3 of the width or height |
| posterize | 4 to 7 bits kept |
| solarize | threshold 0 to 256 |
| identity, autocontrast, equalize | none |

Public codes differ in N, the probability and the ranges. google-research/fixmatch has N 2, probability
0.5 and nine levels of other ranges; TorchSSL has N 3 and probability 1 with the ranges above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ssl_isda.base.options import Interval
from ssl_isda.data.augmentations.policy import Policy, square_of
from ssl_isda.data.augmentations.pool import Choice, Pool
from ssl_isda.data.augmentations.weak import Weak
from ssl_isda.data.views import AUGMENTATIONS


@dataclass(frozen=True)
class Config:
    """Options of ``strong``."""

    strong_operations: Annotated[int, Interval(ge=1)] = 2
    """N: operations that are drawn for each image."""
    strong_probability: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Probability with which each of them acts."""
    strong_cutout: Annotated[int, Interval(ge=0)] | None = None
    """Side of the square that Cutout hides at the end, in pixels; 0: none; unset: half of the image's
    shorter side."""


FACTORS = ("brightness", "color", "contrast", "sharpness")
SIGNED = {"rotate": 30.0, "shear_x": 0.3, "shear_y": 0.3, "translate_x": 0.3, "translate_y": 0.3}


def fourteen(probability: float) -> tuple[Choice, ...]:
    """The pool of FixMatch, by the ranges above."""
    others = (
        *(
            Choice(name, probability=probability)
            for name in ("identity", "autocontrast", "equalize")
        ),
        Choice("posterize", 4.0, 8.0, probability=probability),
        Choice("solarize", 0.0, 256.0, probability=probability),
    )
    factors = (Choice(name, 0.05, 0.95, probability=probability) for name in FACTORS)
    signed = (
        Choice(name, 0.0, largest, signed=True, probability=probability)
        for name, largest in SIGNED.items()
    )
    return (*others, *factors, *signed)


@AUGMENTATIONS.register("strong")
def strong(config: Config, *, flip: bool, max_translation: int) -> Policy:
    """The augmentation with these settings of the run."""
    pool = Pool(fourteen(config.strong_probability), config.strong_operations)
    return Policy(Weak(flip, max_translation), pool, square_of(config.strong_cutout))
