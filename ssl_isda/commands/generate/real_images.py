"""The real images of each step of a generator's training: a pure function of the step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.base.step import Step
from ssl_isda.data.samplers import LabeledUnlabeledSampler
from ssl_isda.data.source import DataSource, send
from ssl_isda.generators.contract import Draw, Generator, images_of


class RealImages:
    """Batches of training images with their labels, pass after pass, each in a fresh order.

    Parameters
    ----------
    places : of the images among those of ``source``
    each_class : every batch is of one class, in turn
    critic_steps : batches in a step
    """

    def __init__(
        self,
        source: DataSource,
        places: Tensor,
        class_names: Sequence[str],
        *,
        batch_size: int,
        seed: int,
        each_class: bool,
        critic_steps: int,
        device: torch.device,
    ) -> None:
        assert source.labels is not None
        self._source, self._labels = source.to(device), source.labels
        self.num_classes, self.device = len(class_names), device
        self.batch_size, self.critic_steps, self.each_class = batch_size, critic_steps, each_class
        groups = [places]
        if each_class:
            groups = [places[self._labels[places] == c] for c in range(self.num_classes)]
            empty = [
                name for name, group in zip(class_names, groups, strict=True) if not len(group)
            ]
            if empty:
                raise UsageError(
                    f"--each-class: no image to learn belongs to the class {empty[0]!r}; give more "
                    "--labels, or leave --each-class out"
                )
        self._samplers = [
            LabeledUnlabeledSampler(
                *(group, group),
                labeled_batch_size=batch_size,
                unlabeled_batch_size=len(group),
                seed=seed,
            )
            for group in groups
        ]

    def class_of(self, step: Step) -> int | None:
        """The one class of a step, where each has a pair of its own."""
        return step.index % self.num_classes if self.each_class else None

    def batch(self, step: Step, number: int) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W) from -1 to 1 and labels (n,): the ``number``-th batch of a step."""
        turn, group = divmod(step.index, len(self._samplers))
        places = self._samplers[group].labeled(turn * self.critic_steps + number)
        images = images_of(self._source.fetch(places))
        return images, send(self._labels[places].clamp(min=0), self.device)

    def draw(self, step: Step, purpose: str, generator: Generator) -> Draw:
        """What is random about as many generated images."""
        keyed, n = step.generator(purpose), self.batch_size
        z = generator.draw(n, keyed)
        classes = torch.randint(self.num_classes, (n,), generator=keyed)
        one = self.class_of(step)
        if one is not None:
            classes = torch.full((n,), one)
        mixture = torch.rand(n, 1, 1, 1, generator=keyed)
        return Draw(z, classes, mixture).to(self.device)
