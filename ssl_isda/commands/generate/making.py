"""Images that a generator makes, batch by batch, and a picture of some."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ssl_isda.base import randomness
from ssl_isda.base.words import printed
from ssl_isda.generators.contract import Generator, pixels_of
from ssl_isda.results.mosaic import Row, mosaic

AT_ONCE = 500
ACROSS, MOST_ROWS = 16, 20
"""Images in a row of the picture, and rows."""


@torch.no_grad()
def make(generator: Generator, classes: Tensor, seed: int, device: torch.device) -> Tensor:
    """(n, C, H, W) uint8 on the CPU, of these classes (n,); the same for the same seed."""
    made, training = [], generator.training
    generator.eval()
    for number, of_batch in enumerate(classes.split(AT_ONCE)):
        z = generator.draw(len(of_batch), randomness.generator(seed, number, "samples"))
        made.append(pixels_of(generator(z.to(device), of_batch.to(device))).cpu())
    generator.train(training)
    return torch.cat(made)


def picture(generator: Generator, class_names: Sequence[str], device: torch.device) -> bytes:
    """A row of images for each class, if the generator knows classes; else some rows."""
    count = len(class_names) if generator.knows_classes else 8
    rows = torch.arange(min(count, MOST_ROWS))
    images = make(generator, rows.repeat_interleave(ACROSS), 0, device).numpy()
    words = [printed(class_names[k])[:16] if generator.knows_classes else "" for k in rows]
    return mosaic([Row(w, list(p)) for w, p in zip(words, in_rows(images), strict=True)])


def in_rows(images: np.ndarray) -> np.ndarray:
    """(n, ...) as (n / ACROSS, ACROSS, ...)."""
    return images.reshape(-1, ACROSS, *images.shape[1:])
