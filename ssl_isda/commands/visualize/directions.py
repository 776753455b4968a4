"""The directions of a class: what its features vary along, and the images that lie furthest along them.

Shape key: n images, a features, d directions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SMALLEST_SHARE = 1e-9
"""Of the total variance; a direction with less is rounding."""


class Directions(NamedTuple):
    """(d, a) unit vectors, (d,) variances along them, and (d,) shares of the whole variance."""

    vectors: Tensor
    variances: Tensor
    shares: Tensor


def principal(sigma: Tensor, most: int) -> Directions:
    """The eigenvectors of ``sigma`` (a, a) with the largest eigenvalues, of which 0 is none.

    Of the two signs a vector has the one by which its largest number is positive.
    """
    values, columns = torch.linalg.eigh((sigma + sigma.T) / 2)
    total = values.clamp(min=0).sum()
    values, vectors = values.flip(0)[:most], columns.T.flip(0)[:most]
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = vectors * largest.sign()
    kept = values > SMALLEST_SHARE * total
    return Directions(vectors[kept], values[kept], values[kept] / total)


class Furthest(NamedTuple):
    """Places among the n features, the furthest first, and how far, in standard deviations."""

    below: list[int]
    above: list[int]
    distances_below: list[float]
    distances_above: list[float]


def furthest(features: Tensor, direction: Tensor, most: int) -> Furthest:
    """Of ``features`` (n, a), those that lie furthest from their mean each way along ``direction`` (a,).

    No image is among both: of few, each way gets half.
    """
    along = (features - features.mean(0)) @ direction
    deviation = along.square().mean().sqrt().clamp(min=torch.finfo(along.dtype).tiny)
    order = torch.sort(along, stable=True).indices
    count = min(most, len(along) // 2)
    below, above = order[:count], order.flip(0)[:count]
    return Furthest(
        *(below.tolist(), above.tolist()),
        *((along[each] / deviation).tolist() for each in (below, above)),
    )
