"""Images of augmented features: step I, then step II along Sigma_y and along random directions.

Shape key: n images, k draws for each, a features.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_isda.base import randomness
from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import bar, duration, show
from ssl_isda.base.words import printed
from ssl_isda.commands.visualize.differentiable import seeing
from ssl_isda.commands.visualize.trained_run import TrainedRun
from ssl_isda.generators.contract import images_of
from ssl_isda.generators.mapping import Descent, Regained, See, Target, regain
from ssl_isda.generators.saved import Saved
from ssl_isda.isda.draws import root

RATE_I, RATE_II = 10.0, 1.0
SEMANTIC, RANDOM = "semantic", "random"
KINDS = (SEMANTIC, RANDOM)
FACTORS = (1, 2, 4, 8, 16)
"""Lengths of the step, as multiples, at which the features themselves are looked at."""


@dataclass(frozen=True)
class How:
    """lambda of the draws, draws for each image, eta, iterations of each step, images at once, seed."""

    strength: float
    draws: int
    eta: float
    iterations: int
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Mapped:
    """Everything that was computed of n images.

    places : among the test images, or among the training images where there is no test part
    pixels : (n, C, H, W) uint8
    classes : (n,) their labels, whose covariances are drawn from
    answers : (n,) the class that the network gives the originals
    reconstructed : step I
    augmented : step II by kind, of n k images, draw by draw
    steps : (n k, a) by kind: what was added to the features
    """

    places: list[int]
    pixels: Tensor
    classes: Tensor
    answers: Tensor
    features: Tensor
    reconstructed: Regained
    augmented: dict[str, Regained]
    steps: dict[str, Tensor]


def mapped(run: TrainedRun, saved: Saved, places: list[int], how: How) -> Mapped:
    """Both steps for these images."""
    see, where = seeing(run.network, run.preparation), run.device
    pixels, classes = run.shown_images(places)
    x, y = images_of(pixels), classes.to(where)
    with torch.no_grad():
        features = torch.cat([see(part.to(where)) for part in x.split(how.batch_size)])
    start = saved.generator.draw(len(x), randomness.generator(how.seed, 0, "start")).to(where)
    descents = 1 + len(KINDS) * how.draws
    with bar(how.iterations * descents * -(-len(x) // how.batch_size), "iteration") as shown:
        descend = Descending(saved, see, how, shown, descents * len(x))
        first = descend("step I", Target(features, y, x, how.eta), start, RATE_I)
        steps = steps_of(run, features, classes, how)
        z, y_of_draws = first.z.repeat(how.draws, 1), y.repeat(how.draws)
        augmented = {
            kind: descend(
                f"step II, {kind}",
                Target(features.repeat(how.draws, 1) + step, y_of_draws),
                *(z, RATE_II),
            )
            for kind, step in steps.items()
        }
    answers = head(run, features).argmax(1)
    return Mapped(places, pixels, classes, answers, features, first, augmented, steps)


class Descending:
    """``regain`` for any number of images, ``how.batch_size`` at once: only these are on the device, and
    the images that they become are on the CPU."""

    def __init__(self, saved: Saved, see: See, how: How, shown: Any, num_images: int) -> None:
        self._saved, self._see, self._how, self._shown = saved, see, how, shown
        self._num_images, self._num_done, self._began = num_images, 0, time.monotonic()

    def __call__(self, name: str, target: Target, start: Tensor, rate: float) -> Regained:
        size, descent = self._how.batch_size, Descent(rate, self._how.iterations)
        advance = (lambda: None) if self._shown is None else self._shown.update
        found = []
        for first in range(0, len(start), size):
            rows = slice(first, first + size)
            images = None if target.images is None else target.images[rows].to(start.device)
            part = Target(target.features[rows], target.classes[rows], images, target.eta)
            regained = regain(self._saved.generator, self._see, part, start[rows], descent, advance)
            found.append(regained._replace(images=regained.images.cpu()))
            self._tell(name, regained, first, len(start))
        return Regained(*(torch.cat(column) for column in zip(*found, strict=True)))

    def _tell(self, name: str, regained: Regained, first: int, num_images: int) -> None:
        """A line for these images, with the time that all others will take."""
        self._num_done += len(regained.z)
        seconds = (time.monotonic() - self._began) / self._num_done
        left = duration(seconds * (self._num_images - self._num_done))
        errors = f"{regained.before.mean():.3g} -> {regained.after.mean():.3g}"
        place = f"{first + len(regained.z):,}/{num_images:,} images"
        show(f"{name}: {place}  feature error {errors}  {left} left", self._shown)


def steps_of(run: TrainedRun, features: Tensor, classes: Tensor, how: How) -> dict[str, Tensor]:
    """(n k, a) by kind: draws from N(0, lambda Sigma_y), and random directions of the same lengths.

    Raises
    ------
    UsageError
        A class has no covariance.
    """
    shape = (how.draws * len(classes), features.shape[1])
    noise = torch.randn(shape, generator=randomness.generator(how.seed, 0, "augmentation"))
    other = torch.randn(shape, generator=randomness.generator(how.seed, 0, "random directions"))
    repeated, semantic = classes.repeat(how.draws), torch.empty(shape)
    for c in classes.unique().tolist():
        sigma = run.covariances.of(c)
        if not bool(sigma.diagonal().sum() > 0):
            raise UsageError(
                f"{printed(run.path)}: the covariance of class {printed(run.class_names[c])} is zero, so "
                "that it has no direction"
            )
        rows = repeated == c
        drawn = noise[rows].double() @ root(sigma[None])[0].T
        semantic[rows] = (how.strength**0.5 * drawn).float()
    lengths = semantic.norm(dim=1, keepdim=True)
    random = other / other.norm(dim=1, keepdim=True) * lengths
    return {SEMANTIC: semantic.to(features.device), RANDOM: random.to(features.device)}


@torch.no_grad()
def head(run: TrainedRun, features: Tensor) -> Tensor:
    """The network's logits of features."""
    logits: Tensor = run.network.head(features)  # type: ignore[operator]
    return logits


def kept_by_features(run: TrainedRun, found: Mapped, kind: str, factor: float = 1) -> list[bool]:
    """Whether each augmented feature, its step made ``factor`` times as long, is still of the class that
    the network gave the original."""
    step = found.steps[kind]
    times = len(step) // len(found.answers)
    moved = found.features.repeat(times, 1) + factor * step
    same: list[bool] = (head(run, moved).argmax(1) == found.answers.repeat(times)).tolist()
    return same


def kept_by_pictures(run: TrainedRun, found: Mapped, regained: Regained) -> list[bool]:
    """Whether the network gives each regained picture the class that it gave the original."""
    times = len(regained.features) // len(found.answers)
    same: list[bool] = (
        head(run, regained.features).argmax(1) == found.answers.repeat(times)
    ).tolist()
    return same
