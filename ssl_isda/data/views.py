"""What a view of an image is, and the augmentations that make one.

Numbers are drawn on the CPU for the whole batch, by every process alike; pixels are made on the
device, for the rows of this process alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ssl_isda.base.registry import Registry
from ssl_isda.base.step import Step
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import DataSource
from ssl_isda.data.vectors.augmentation import VectorAugmentation


@dataclass(frozen=True)
class View:
    """One augmented view of each unlabeled image."""

    augmentation: str | None = None
    """Its name in ``AUGMENTATIONS``; None: the one that the run trains with."""
    same_flip_as: int | None = None
    """The view whose flips it shares; None: flips of its own."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise on it, in units of prepared pixels."""


class Augmentation(Protocol):
    """A random change of images that keeps their classes."""

    def draw(self, n: int, step: Step, purpose: str, flips_of: str | None = None) -> Tensor:
        """(n, k) int64: all that is random about a view of n images, k numbers for each.

        Parameters
        ----------
        purpose : what the images are for, such as "view 1": with the step it keys every draw
        flips_of : the purpose whose flips these images share; None: flips of their own
        """

    def view(self, prepared: PreparedImages, indices: Tensor, draws: Tensor) -> Tensor:
        """(n, C, H, W) float32 on the device, prepared, in channels_last order.

        Parameters
        ----------
        indices, draws : (n,) places in the source and (n, k) numbers from ``draw``, on the CPU
        """


class Placement(Augmentation, Protocol):
    """Where an image lies in its view: what policies begin with, translation or a resized crop."""

    def moved(self, source: DataSource, indices: Tensor, draws: Tensor) -> Tensor:
        """(n, C, H, W) of the source's own type on its device, in channels_last order."""


AnyAugmentation = Augmentation | VectorAugmentation
AUGMENTATIONS: Registry[Callable[..., AnyAugmentation]] = Registry("augmentation")
"""Every augmentation by name; built as ``AUGMENTATIONS[name](config, flip=..., max_translation=...)``."""


def names_for_vectors() -> list[str]:
    """The augmentations that are made for vectors, and so not for images."""
    made = {
        name: AUGMENTATIONS[name](AUGMENTATIONS.config(name)(), flip=False, max_translation=0)
        for name in AUGMENTATIONS
    }
    return sorted(name for name, each in made.items() if isinstance(each, VectorAugmentation))
