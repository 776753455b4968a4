"""Rows to mean 0 and variance 1 of each of their numbers, fitted to the training rows alone.

    z_j = (x_j - m_j) / s_j,    m_j and s_j over all training rows, unlabeled ones included

It is computed in float64, so that large offsets are harmless and the result does not depend on the
type in which rows are stored.

Dimensions: N rows, n rows of a batch, d numbers each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.data.source import DataSource, in_order

ROWS_AT_ONCE = 4_096


def standardized(rows: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(n, d) of any floating-point type to float32: ``(rows - mean) / std``, both (d,) float64."""
    return rows.double().sub(mean).div_(std).float()


def statistics(source: DataSource) -> dict[str, np.ndarray]:
    """``mean`` and ``std``, (d,) float64, of the rows of a source; a constant number has std 1.

    Raises
    ------
    UsageError
        Numbers are so large that their squares overflow.
    """
    mean = torch.zeros(source.shape, dtype=torch.float64)
    for part in _chunks(source):
        mean += part.sum(0) / len(source)
    variance = torch.zeros_like(mean)
    for part in _chunks(source):
        variance += part.sub_(mean).square_().sum(0) / len(source)
    std = variance.sqrt()
    if not std.isfinite().all():
        column = int((~std.isfinite()).nonzero()[0])
        raise UsageError(f"X has numbers in column {column} that are too large to be standardised")
    return {"mean": mean.numpy(), "std": std.masked_fill(std == 0, 1.0).numpy()}


def _chunks(source: DataSource) -> Iterator[Tensor]:
    for part in in_order(source, torch.arange(len(source)), ROWS_AT_ONCE):
        yield part.double()
