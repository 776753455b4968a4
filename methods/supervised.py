"""Supervised training: labeled images alone, the baseline of every comparison.

    L_reg = 0

With ISDA the cross-entropy becomes its Prop. 1 bound. No unlabeled image is loaded, so there is no
Prop. 2 term either.

What BatchNorm sees: the labeled images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ssl_isda.training.method import METHODS, Method, Network, Step


@dataclass(frozen=True)
class Config:
    """No options."""


@METHODS.register("supervised")
@final
class Supervised(Method):
    """No views, and therefore no term."""

    views = ()
    dense = True

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()

    def weight(self, step: Step) -> float:
        return 0.0
