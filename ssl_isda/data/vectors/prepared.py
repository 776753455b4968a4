"""Rows in memory, and the step of their preparation that each batch undergoes when it is fetched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preparation import Preparation, PreparedImages
from ssl_isda.data.source import DataSource, InMemory, send
from ssl_isda.data.vectors.standardization import standardized, statistics
from ssl_isda.data.vectors.vector_data import VectorData

SMALL = 2**26
"""Bytes of rows that are kept standardised beside what they came as."""


@dataclass(frozen=True)
class PreparedVectors(PreparedImages):
    """Rows as they came, (N, d) of any floating-point type, and what standardises a batch of them.

    scale, shift : (d,) float64, the standard deviations and the means
    """

    def finish(self, batch: Tensor) -> Tensor:
        """Fetched (n, d) rows as float32, standardised."""
        return standardized(batch, cast(Tensor, self.shift), cast(Tensor, self.scale))

    def rows(self, indices: Tensor) -> Tensor:
        """(n, d) float32 on the device, standardised: the rows at these places. Small sets are
        standardised as a whole, once, which gives the same numbers."""
        source = self.source
        if isinstance(source, InMemory) and source.images.nbytes <= SMALL:
            rows = source.once("standardised", self.finish)
            return rows.index_select(0, send(indices, source.device))
        return self.finish(source.fetch(indices))


def prepare_vectors(
    name: str, data: ImageData
) -> tuple[PreparedVectors, PreparedVectors, Preparation]:
    """Training and test rows, and the preparation ``normalize``, fitted to the training rows alone.

    Raises
    ------
    UsageError
        Another preprocessing is asked for, which is made for images.
    """
    if name != "normalize":
        raise UsageError(
            f"--preprocessing {name} is made for images: vectors take normalize, which brings each of "
            "their numbers to mean 0 and variance 1"
        )
    arrays = statistics(data.train)
    preparation = Preparation(name, data.train.shape, data.class_names, arrays)
    if isinstance(data, VectorData):
        preparation = replace(preparation, columns=data.columns, label_column=data.label_column)
    std, mean = torch.from_numpy(arrays["std"]), torch.from_numpy(arrays["mean"])
    train, test = (PreparedVectors(_bare(part), std, mean) for part in (data.train, data.test))
    return train, test, preparation


def _bare(source: DataSource) -> DataSource:
    """The same rows without their labels."""
    return source.mapped(lambda rows: rows)
