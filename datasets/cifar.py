"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): 50,000 + 10,000 colour images of 32 x 32 pixels."""

from __future__ import annotations

import shutil
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ssl_isda.base.errors import OutputFailed, UsageError
from ssl_isda.data.download import DataFile, fetch, is_intact, provide
from ssl_isda.data.image_data import DATASETS, ImageData


@DATASETS.register("cifar10")
def cifar10(data_dir: Path) -> ImageData:
    """CIFAR-10 from ``data_dir/cifar-10-batches-py``, from the archive beside it, or downloaded."""
    from torchvision.datasets import CIFAR10

    return _cifar("cifar10", CIFAR10, data_dir)


@DATASETS.register("cifar100")
def cifar100(data_dir: Path) -> ImageData:
    """CIFAR-100, fine labels, from ``data_dir/cifar-100-python``, its archive, or downloaded."""
    from torchvision.datasets import CIFAR100

    return _cifar("cifar100", CIFAR100, data_dir)


def _cifar(name: str, dataset_class: Any, data_dir: Path) -> ImageData:
    folder = data_dir / dataset_class.base_folder
    published = [*dataset_class.train_list, *dataset_class.test_list]
    published.append([dataset_class.meta["filename"], dataset_class.meta["md5"]])
    files = [DataFile(folder / file_name, md5) for file_name, md5 in published]
    provide(name, data_dir, files, partial(_unpack, name, dataset_class, data_dir))
    train = dataset_class(data_dir, train=True, download=False)
    test = dataset_class(data_dir, train=False, download=False)
    return ImageData.from_arrays(name, train.classes, _arrays(train), _arrays(test))


def _arrays(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """torchvision keeps (N, H, W, C); we keep (N, C, H, W)."""
    return dataset.data.transpose(0, 3, 1, 2), np.asarray(dataset.targets)


def _unpack(
    name: str, dataset_class: Any, data_dir: Path, workspace: Path, wanted: list[DataFile]
) -> None:
    """Copy the wanted members out of the archive; nothing else in it is touched."""
    archive = DataFile(data_dir / dataset_class.filename, dataset_class.tgz_md5)
    if not is_intact(archive):
        archive = DataFile(workspace / dataset_class.filename, dataset_class.tgz_md5)
        fetch(name, dataset_class.url, archive, data_dir)
    try:
        with tarfile.open(archive.path, "r:gz") as members:
            for file in wanted:
                _copy_member(members, f"{dataset_class.base_folder}/{file.path.name}", workspace)
    except (KeyError, tarfile.TarError) as error:
        raise UsageError(f"{archive.path} is not the archive of {name}: {error}") from error


def _copy_member(members: tarfile.TarFile, member: str, workspace: Path) -> None:
    source = members.extractfile(member)
    if source is None:
        raise KeyError(f"{member} is not a file")
    target = workspace / Path(member).name
    try:
        with source, open(target, "wb") as file:
            shutil.copyfileobj(source, file)
    except OSError as error:
        raise OutputFailed(f"cannot write {target}: {error.strerror or error}") from error
