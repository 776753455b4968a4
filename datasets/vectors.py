"""A user's own vectors, such as embeddings or the columns of a table: a file that ``--data-dir`` names.

``ssl_isda.data.vectors.files`` says which files there are. Rows without a label (-1, or an empty cell)
are trained on as unlabeled ones. Without a part to test on, a share of each class's labeled rows is held
out, the same ones whatever the seed; ``split.json`` in the run's folder keeps which.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ssl_isda.base.options import Interval
from ssl_isda.data.facts import VectorFiles
from ssl_isda.data.folder.listing import ListingOptions
from ssl_isda.data.images.image_data import DATASETS
from ssl_isda.data.vectors.files import read_vectors
from ssl_isda.data.vectors.vector_data import VectorData

FACTS = {"vectors": VectorFiles()}


@dataclass(frozen=True)
class Config:
    """Options of ``vectors``."""

    label_column: str = "label"
    """Of a CSV or Parquet table: the column with the labels; all others are numbers of the rows."""
    test_fraction: Annotated[float, Interval(gt=0, lt=1)] | None = None
    """Share of each class's labeled rows to test on, where there is no part for that; unset: a fifth."""


@DATASETS.register("vectors")
def vectors(config: Config, data_dir: Path) -> VectorData:
    """The rows of the file ``data_dir``.

    Raises
    ------
    UsageError
        What ``read_vectors`` refuses.
    """
    table = read_vectors(data_dir, ListingOptions.of(vars(config)))
    return VectorData.from_table("vectors", table)
