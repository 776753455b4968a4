"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): 50,000 + 10,000 colour images of 32 x 32 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ssl_isda.data.download import DataFile, provide
from ssl_isda.data.facts import DatasetFacts
from ssl_isda.data.images.image_data import DATASETS, ImageData

FACTS = {
    "cifar10": DatasetFacts(10, 50_000, 5_000, 32, 3),
    "cifar100": DatasetFacts(100, 50_000, 500, 32, 3),
}


@DATASETS.register("cifar10")
def cifar10(config: object, data_dir: Path) -> ImageData:
    """CIFAR-10 from ``data_dir/cifar-10-batches-py``, from the archive beside it, or downloaded."""
    from torchvision.datasets import CIFAR10

    return _cifar("cifar10", CIFAR10, data_dir)


@DATASETS.register("cifar100")
def cifar100(config: object, data_dir: Path) -> ImageData:
    """CIFAR-100, fine labels, from ``data_dir/cifar-100-python``, its archive, or downloaded."""
    from torchvision.datasets import CIFAR100

    return _cifar("cifar100", CIFAR100, data_dir)


def _cifar(name: str, dataset_class: Any, data_dir: Path) -> ImageData:
    folder, meta = dataset_class.base_folder, dataset_class.meta
    published = [
        *dataset_class.train_list,
        *dataset_class.test_list,
        (meta["filename"], meta["md5"]),
    ]
    files = [DataFile(f"{folder}/{file_name}", md5) for file_name, md5 in published]
    archive = DataFile(dataset_class.filename, dataset_class.tgz_md5, dataset_class.url)
    provide(name, data_dir, files, archive)
    train = dataset_class(data_dir, train=True, download=False)
    test = dataset_class(data_dir, train=False, download=False)
    return ImageData.from_arrays(name, train.classes, _arrays(train), _arrays(test))


def _arrays(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """torchvision keeps (N, H, W, C); we keep (N, C, H, W)."""
    return dataset.data.transpose(0, 3, 1, 2), np.asarray(dataset.targets)
