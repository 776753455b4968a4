"""AutoAugment: Cubuk et al., AutoAugment: Learning Augmentation Policies from Data, CVPR 2019,
arXiv 1805.09501.

Each image undergoes one of the 25 sub-policies that were found for CIFAR-10 (Table 7 there), after
translation and mirroring and before Cutout; the paper on ISDA uses them for CIFAR-100, too. The table is
that of the authors' code, tensorflow/models, research/autoaugment (Apache License 2.0).

It differs from the code of ISDA, whose table is that of DeepVoltaire/AutoAugment (MIT), where that
differs from the authors': the second operation of sub-policy 17 has probability 0.6, not 0.8; rotations
have either sign; sheared pixels are the nearest, not interpolated; Cutout hides with the mean grey, not
black. As there, what a warp brings in from outside is grey, 128.

The policy was learned with all labels of CIFAR-10. With few labels it brings knowledge from the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ssl_isda.base.options import Interval
from ssl_isda.data.augmentations.policy import Policy, square_of
from ssl_isda.data.augmentations.pool import Pool
from ssl_isda.data.augmentations.ranges import by_level
from ssl_isda.data.augmentations.weak import Weak
from ssl_isda.data.views import AUGMENTATIONS


@dataclass(frozen=True)
class Config:
    """Options of ``autoaugment``."""

    autoaugment_cutout: Annotated[int, Interval(ge=0)] | None = None
    """Side of the square that Cutout hides at the end, in pixels; 0: none; unset: half of the image's
    shorter side, 16 for CIFAR."""


CIFAR10 = """
invert 0.1 7, contrast 0.2 6
rotate 0.7 2, translate_x 0.3 9
sharpness 0.8 1, sharpness 0.9 3
shear_y 0.5 8, translate_y 0.7 9
autocontrast 0.5 8, equalize 0.9 2
shear_y 0.2 7, posterize 0.3 7
color 0.4 3, brightness 0.6 7
sharpness 0.3 9, brightness 0.7 9
equalize 0.6 5, equalize 0.5 1
contrast 0.6 7, sharpness 0.6 5
color 0.7 7, translate_x 0.5 8
equalize 0.3 7, autocontrast 0.4 8
translate_y 0.4 3, sharpness 0.2 6
brightness 0.9 6, color 0.2 8
solarize 0.5 2, invert 0.0 3
equalize 0.2 0, autocontrast 0.6 0
equalize 0.2 8, equalize 0.6 4
color 0.9 9, equalize 0.6 6
autocontrast 0.8 4, solarize 0.2 8
brightness 0.1 3, color 0.7 0
solarize 0.4 5, autocontrast 0.9 3
translate_y 0.9 9, translate_y 0.7 9
autocontrast 0.9 2, solarize 0.8 3
equalize 0.8 8, invert 0.1 3
translate_y 0.7 9, autocontrast 0.9 1
"""
"""A sub-policy a line: two operations, each with its probability and its magnitude, 0 to 9."""


def sub_policies(table: str) -> Pool:
    """The pool that draws one line of such a table for each image."""
    words = [each.split() for each in table.strip().replace("\n", ",").split(",")]
    choices = (
        by_level(operation, int(magnitude) / 9, float(probability))
        for operation, probability, magnitude in words
    )
    return Pool(tuple(choices), rounds=2, together=2)


@AUGMENTATIONS.register("autoaugment")
def autoaugment(config: Config, *, flip: bool, max_translation: int) -> Policy:
    """The augmentation with these settings of the run."""
    square = square_of(config.autoaugment_cutout)
    return Policy(Weak(flip, max_translation), sub_policies(CIFAR10), square)
