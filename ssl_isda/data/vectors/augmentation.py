"""What an augmentation of vectors is: unlike one of images it draws numbers where the rows are.

A method needs nothing of this: it names views, and the batches make them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.data.vectors.prepared import PreparedVectors
from ssl_isda.parallel.distributed import part, whole


class VectorAugmentation(ABC):
    """A random change of standardised rows that keeps their classes."""

    @abstractmethod
    def rows(self, prepared: PreparedVectors, indices: Tensor, step: Step, purpose: str) -> Tensor:
        """(n, d) float32 on the device: this process's part of a view of the rows at ``indices``.

        Every process draws the numbers of all rows alike, and takes those of its own part.

        Parameters
        ----------
        indices : (N,) int64 on the CPU, places of the rows of all processes
        purpose : what the rows are for, such as "view 1": with the step it keys every draw
        """


def drawn_normal(rows: Tensor, step: Step, purpose: str) -> Tensor:
    """Standard normal numbers, one for each of these rows' numbers."""
    generator = step.generator(f"{purpose} augmentation", rows.device)
    return part(torch.randn(whole(rows.shape), generator=generator, device=rows.device))


def drawn_uniform(rows: Tensor, step: Step, purpose: str) -> Tensor:
    """Numbers of [0, 1), one for each of these rows' numbers."""
    generator = step.generator(f"{purpose} augmentation", rows.device)
    return part(torch.rand(whole(rows.shape), generator=generator, device=rows.device))
