"""SVHN (Netzer et al., 2011): 73,257 + 26,032 house-number digits of 32 x 32 pixels, in colour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_isda.data.download import DataFile, provide
from ssl_isda.data.facts import DatasetFacts
from ssl_isda.data.images.image_data import DATASETS, ImageData

FACTS = {
    "svhn": DatasetFacts(
        10,
        73_257,
        4_659,
        32,
        3,
        num_extra_images=531_131,
        per_class=(4_948, 13_861, 10_585, 8_497, 7_458, 6_882, 5_727, 5_595, 5_045, 4_659),
    )
}


@dataclass(frozen=True)
class Config:
    """Options of ``svhn``."""

    svhn_extra: bool = False
    """Join its 531,131 extra images, without their labels."""


@DATASETS.register("svhn")
def svhn(config: Config, data_dir: Path) -> ImageData:
    """SVHN from ``data_dir/{train,test,extra}_32x32.mat``, downloaded where they are missing.

    With ``config.svhn_extra`` the 531,131 extra images follow the training images as truly unlabeled ones
    (label -1), as in temporal ensembling's and Mean Teacher's SVHN-with-extra experiments.
    """
    from torchvision.datasets import SVHN

    parts = ["train", "test", *(["extra"] if config.svhn_extra else [])]
    published = [SVHN.split_list[part] for part in parts]
    provide("svhn", data_dir, [DataFile(name, md5, url) for url, name, md5 in published])
    images, labels = _read(SVHN, data_dir, "train")
    if config.svhn_extra:
        extra_images, _ = _read(SVHN, data_dir, "extra")
        images = np.concatenate([images, extra_images])
        labels = np.concatenate([labels, np.full(len(extra_images), -1)])
    class_names = [str(digit) for digit in range(10)]
    test = _read(SVHN, data_dir, "test")
    return ImageData.from_arrays("svhn", class_names, (images, labels), test)


def _read(dataset_class: Any, data_dir: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """(N, C, H, W) uint8 and (N,) labels; torchvision has turned the file's 10 into digit 0."""
    dataset = dataset_class(data_dir, split=part, download=False)
    return dataset.data, dataset.labels
