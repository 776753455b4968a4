"""Vectors that a trained network is to judge: the rows of an array or of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import printed
from ssl_isda.data.images.paths import TABLES
from ssl_isda.data.inputs import Inputs, array_in
from ssl_isda.data.preparation import Preparation
from ssl_isda.data.vectors.rows import numbers
from ssl_isda.data.vectors.tables import read_columns

MOST_TOLD = 4


class Vectors(Inputs):
    """Rows (n, d) of raw numbers, which the run's own preparation standardises.

    entries : (n,) what a table has as their labels; None where it says nothing

    Raises
    ------
    UsageError
        The rows are no numbers, have another length than those of training, or one of them is NaN or
        infinite.
    """

    def __init__(
        self, given: Any, prepare: Preparation, name: str = "X", entries: Any = None
    ) -> None:
        array = given.detach().cpu().numpy() if isinstance(given, Tensor) else given
        self._rows, self._prepare = numbers(array, name), prepare
        self.entries = entries
        count, wanted = self._rows.shape[1], prepare.shape[0]
        if count != wanted:
            raise UsageError(
                f"{name} has {count} numbers in a row, and the run was trained on {wanted}"
            )
        super().__init__([f"{name}[{place}]" for place in range(len(self._rows))])

    def _stored(self, batch_size: int) -> Iterator[Tensor]:
        for start in range(0, len(self._rows), batch_size):
            yield torch.from_numpy(np.array(self._rows[start : start + batch_size], order="C"))

    def batches(
        self, prepare: Preparation, batch_size: int, device: torch.device, skip_unreadable: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Places (n,) and standardised rows (n, d), in order."""
        parts = torch.arange(len(self.names)).split(batch_size)
        for places, rows in zip(parts, self._stored(batch_size), strict=True):
            yield places, prepare(rows, device)

    def picture(self, place: int, side: int) -> None:
        """A vector cannot be seen."""

    def told(self, place: int) -> list[str]:
        """The numbers of the row that are farthest from their means: name, value and how far it is."""
        row = self._rows[place].astype(np.float64)
        far = (row - self._prepare.arrays["mean"]) / self._prepare.arrays["std"]
        names = self._prepare.columns
        if len(names) != len(row):
            names = tuple(f"number {k}" for k in range(len(row)))
        order = np.argsort(-np.abs(far), kind="stable")[:MOST_TOLD]
        return [f"{names[k]}: {row[k]:.4g} ({far[k]:+.1f} σ)" for k in order]


def vectors_in(path: Path, prepare: Preparation) -> Vectors:
    """The rows of a ``.npy``, ``.npz``, CSV or Parquet file.

    Raises
    ------
    UsageError
        It cannot be read, lacks a column, or has other rows than ``Vectors`` takes.
    """
    name = printed(path)
    if path.suffix.lower() not in TABLES:
        return Vectors(array_in(path, "X"), prepare, name)
    label = prepare.label_column or "label"
    read = read_columns(path, label, wanted=prepare.columns, needs_label=False)
    return Vectors(read.rows, prepare, name, read.labels)
