"""What a view of an image is: an augmentation, and what it shares with other views."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """One augmented view of each unlabeled image."""

    augmentation: str | None = None
    """Its name in ``AUGMENTATIONS``; None: the one that the run trains with."""
    same_flip_as: int | None = None
    """The view whose flips it shares; None: flips of its own."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise on it, in units of prepared pixels."""
