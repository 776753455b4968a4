"""RandAugment: Cubuk et al., RandAugment: Practical Automated Data Augmentation with a Reduced Search
Space, 2019, arXiv 1909.13719.

Each image undergoes N operations, drawn uniformly and with replacement from fourteen, all by one
magnitude M, after translation and mirroring and before Cutout (Sec. 4.1 there). M counts in tenths of
AutoAugment's ranges: 10 is all of a range, and more goes beyond it. Libraries that call the whole
range 30 mean 3 M by the same number.

N and M are not printed in the paper on ISDA. N 3 and M 5 (CIFAR-10), N 2 and M 14 (CIFAR-100) are those
that RandAugment's paper is said to use for Wide-ResNet-28-10; we could not verify them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ssl_isda.base.options import Interval
from ssl_isda.data.augmentations.policy import Policy, square_of
from ssl_isda.data.augmentations.pool import Pool
from ssl_isda.data.augmentations.ranges import SIGNED, by_level
from ssl_isda.data.augmentations.weak import Weak
from ssl_isda.data.views import AUGMENTATIONS


@dataclass(frozen=True)
class Config:
    """Options of ``randaugment``: Wide-ResNet-28-10 on CIFAR-10 (unverified)."""

    randaugment_operations: Annotated[int, Interval(ge=1)] = 3
    """N: operations on each image."""
    randaugment_magnitude: Annotated[float, Interval(ge=0, le=30)] = 5.0
    """M: how strong they are; 10 is the whole of AutoAugment's ranges."""
    randaugment_cutout: Annotated[int, Interval(ge=0)] | None = None
    """Side of the square that Cutout hides at the end, in pixels; 0: none; unset: half of the image's
    shorter side."""


FOURTEEN = ("identity", "autocontrast", "equalize", "posterize", "solarize", *SIGNED)
"""The operations of RandAugment."""


@AUGMENTATIONS.register("randaugment")
def randaugment(config: Config, *, flip: bool, max_translation: int) -> Policy:
    """The augmentation with these settings of the run."""
    level = config.randaugment_magnitude / 10
    pool = Pool(
        tuple(by_level(operation, level) for operation in FOURTEEN), config.randaugment_operations
    )
    return Policy(Weak(flip, max_translation), pool, square_of(config.randaugment_cutout))
