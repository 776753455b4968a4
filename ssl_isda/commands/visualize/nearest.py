"""The training images nearest to pictures, in pixels and in features: a generator that only remembers
would show here (Fig. 14).

Shape key: n pictures, N training images, d pixels, a features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ssl_isda.commands.visualize.trained_run import TrainedRun
from ssl_isda.generators.contract import images_of

AT_ONCE = 2_000
NUM_NEAREST = 5


class Nearest(NamedTuple):
    """Of each picture the places of the nearest training images, (n, 5), and their distances."""

    places: Tensor
    distances: Tensor


def nearest_in_pixels(run: TrainedRun, images: Tensor, most: int = NUM_NEAREST) -> Nearest:
    """By the Euclidean distance of ``images`` (n, C, H, W), pixels from -1 to 1; training images are read
    a few thousand at a time."""
    best = Nearest(torch.empty(len(images), 0).long(), torch.empty(len(images), 0))
    rows = images.cpu().flatten(1)
    for part in torch.arange(len(run.train_classes)).split(AT_ONCE):
        others = images_of(torch.from_numpy(run.train_pixels(part.tolist()))).flatten(1)
        best = _merged(best, Nearest(part.expand(len(rows), -1), _distances(rows, others)), most)
    return best


def nearest_in_features(run: TrainedRun, features: Tensor, most: int = NUM_NEAREST) -> Nearest:
    """By the Euclidean distance of ``features`` (n, a)."""
    distances = _distances(features.double().cpu(), run.train_features)
    places = torch.arange(distances.shape[1]).expand(len(distances), -1)
    return _merged(Nearest(places, distances), Nearest(places[:, :0], distances[:, :0]), most)


def _distances(rows: Tensor, others: Tensor) -> Tensor:
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")


def _merged(first: Nearest, second: Nearest, most: int) -> Nearest:
    """The nearest of both; of equally near ones that which came first."""
    places = torch.cat([first.places, second.places], 1)
    distances = torch.cat([first.distances, second.distances], 1)
    order = distances.sort(dim=1, stable=True).indices[:, :most]
    return Nearest(places.gather(1, order), distances.gather(1, order))
