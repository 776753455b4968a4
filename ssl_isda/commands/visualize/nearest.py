"""The training images nearest to pictures, in pixels and in features: a generator that only remembers
would show here (Fig. 14).

Shape key: n pictures, N training images, d pixels, a features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_isda.commands.visualize.trained_run import TrainedRun
from ssl_isda.generators.contract import images_of

AT_ONCE = 128 * 2**20
"""Bytes of the training images, or of their features, that are compared at a time."""
NUM_NEAREST = 5


class Nearest(NamedTuple):
    """Of each picture the places of the nearest training images, (n, 5), and their distances."""

    places: Tensor
    distances: Tensor


def nearest_in_pixels(run: TrainedRun, images: Tensor, most: int = NUM_NEAREST) -> Nearest:
    """By the Euclidean distance of ``images`` (n, C, H, W), pixels from -1 to 1."""

    def read(part: Tensor) -> Tensor:
        return images_of(torch.from_numpy(run.train_pixels(part.tolist()))).flatten(1)

    return _nearest(images.cpu().flatten(1), read, len(run.train_classes), most)


def nearest_in_features(run: TrainedRun, features: Tensor, most: int = NUM_NEAREST) -> Nearest:
    """By the Euclidean distance of ``features`` (n, a)."""

    def read(part: Tensor) -> Tensor:
        return run.train_features[part].double()

    return _nearest(features.double().cpu(), read, len(run.train_classes), most)


def _nearest(rows: Tensor, read: Callable[[Tensor], Tensor], count: int, most: int) -> Nearest:
    """Of each row (d,), among ``count`` others that are read a part at a time."""
    best = Nearest(torch.empty(len(rows), 0).long(), torch.empty(len(rows), 0, dtype=rows.dtype))
    at_once = max(1, AT_ONCE // (rows.element_size() * rows.shape[1]))
    for part in torch.arange(count).split(at_once):
        distances = torch.cdist(rows, read(part), compute_mode="donot_use_mm_for_euclid_dist")
        best = _merged(best, Nearest(part.expand(len(rows), -1), distances), most)
    return best


def _merged(first: Nearest, second: Nearest, most: int) -> Nearest:
    """The nearest of both; of equally near ones that which came first."""
    places = torch.cat([first.places, second.places], 1)
    distances = torch.cat([first.distances, second.distances], 1)
    order = distances.sort(dim=1, stable=True).indices[:, :most]
    return Nearest(places.gather(1, order), distances.gather(1, order))
