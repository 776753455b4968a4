"""Vectors that come with scikit-learn: always there, and small.

| name | rows | numbers | classes | |
| --- | --- | --- | --- | --- |
| digits_vectors | 1,797 | 64 | 10 | grey values of 8 x 8 pixels (Alpaydin and Kaynak, 1998) |
| wine | 178 | 13 | 3 | chemical analyses of wines of three cultivars (Aeberhard and Forina, 1991) |
| breast_cancer | 569 | 30 | 2 | measurements of cell nuclei (Wolberg et al., 1995) |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ssl_isda.data.facts import DatasetFacts
from ssl_isda.data.images.image_data import DATASETS
from ssl_isda.data.vectors.vector_data import VectorData

FACTS = {
    "digits_vectors": DatasetFacts(
        10, 1_347, 129, 8, 1, per_class=(133, 137, 132, 138, 136, 137, 136, 134, 129, 135)
    ),
    "wine": DatasetFacts(3, 135, 36, 1, 13, per_class=(45, 54, 36)),
    "breast_cancer": DatasetFacts(2, 427, 159, 1, 30, per_class=(159, 268)),
}
TEST_SHARE = 0.25


@DATASETS.register("digits_vectors")
def digits_vectors(config: object, data_dir: Path) -> VectorData:
    """1,347 training and 450 test rows, those of ``digits``; ``data_dir`` is not read."""
    from sklearn.datasets import load_digits

    return _divided("digits_vectors", load_digits, [45] * 10)


@DATASETS.register("wine")
def wine(config: object, data_dir: Path) -> VectorData:
    """135 training and 43 test rows; ``data_dir`` is not read."""
    from sklearn.datasets import load_wine

    return _divided("wine", load_wine)


@DATASETS.register("breast_cancer")
def breast_cancer(config: object, data_dir: Path) -> VectorData:
    """427 training and 142 test rows; ``data_dir`` is not read."""
    from sklearn.datasets import load_breast_cancer

    return _divided("breast_cancer", load_breast_cancer)


def _divided(name: str, load: Callable[[], Any], num_test: list[int] | None = None) -> VectorData:
    """Of each class so many rows, or a quarter of them, are to test on, evenly spread over the file."""
    raw = load()
    rows, labels = raw.data.astype(np.float32), raw.target.astype(np.int64)
    places = [np.flatnonzero(labels == c) for c in range(len(raw.target_names))]
    counts = num_test or [int(TEST_SHARE * len(each)) for each in places]
    test = np.sort(
        np.concatenate([p[np.arange(n) * len(p) // n] for p, n in zip(places, counts, strict=True)])
    )
    train = np.setdiff1d(np.arange(len(labels)), test)
    return VectorData.from_arrays(
        name,
        [str(each) for each in raw.target_names],
        (rows[train], labels[train]),
        (rows[test], labels[test]),
    )
