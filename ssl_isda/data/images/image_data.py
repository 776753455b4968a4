"""A whole data set, and the table of functions that load one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ssl_isda.base.registry import Registry
from ssl_isda.data.identity import digest_of
from ssl_isda.data.source import DataSource, InMemory

if TYPE_CHECKING:
    from ssl_isda.data.preparation import Preparation


@dataclass(frozen=True)
class ImageData:
    """Training and test images with their labels.

    train, test : sources of uint8 images on the CPU; the label of a training image that truly has
        none is -1
    """

    name: str
    class_names: tuple[str, ...]
    train: DataSource
    test: DataSource
    notes: tuple[str, ...] = ()
    """What a person should know of the images before a run begins, one line each."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """The images that were left out because they cannot be read: name and reason."""
    bits: int = 16
    """Of images of 16 bits, how many they use."""
    interpolation: str = "bilinear"
    """How files were brought to the size, as ``image_sizes.of_size`` takes it."""
    drawn_test: tuple[int, ...] | None = None
    """Where a fraction of the labeled images was drawn to test on: their places among all labeled
    images, in order of their names if they have any."""
    labeled: tuple[int, ...] | None = None
    """The images whose labels a run uses, ascending, where the data set says which; else the seed draws
    them."""

    @classmethod
    def from_arrays(
        cls,
        name: str,
        class_names: Sequence[str],
        train: tuple[np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray],
    ) -> ImageData:
        """From (images, labels) of both parts; images (N, C, H, W) uint8, labels (N,) integers."""
        return cls(name, tuple(class_names), _in_memory(*train), _in_memory(*test))

    @property
    def is_dense(self) -> bool:
        """Whether each pixel has a class."""
        return False

    @property
    def num_label_groups(self) -> int:
        """Groups of which labeled images are drawn: the classes."""
        return len(self.class_names)

    @property
    def train_targets(self) -> Tensor | DataSource:
        """What training images are to be judged by: classes (N,), or the source of their masks."""
        return _labels(self.train)

    @property
    def test_targets(self) -> Tensor | DataSource:
        """The same of the test images."""
        return _labels(self.test)

    def completed(self, preparation: Preparation) -> Preparation:
        """With what predictions need beside it, such as colours of classes."""
        return preparation

    @property
    def digest(self) -> str:
        """What tells these images, their labels and the names of the classes from all others."""
        return digest_of(self.class_names, self.train.fingerprint, self.test.fingerprint)

    @property
    def digests(self) -> tuple[str, ...]:
        """The same in every version; the one without a number knows the training images alone."""
        return self.digest, self.train.fingerprint


def _labels(source: DataSource) -> Tensor:
    assert source.labels is not None
    return source.labels


DATASETS: Registry[Callable[..., ImageData]] = Registry("data set")
"""Every data set by name; loaded as ``DATASETS[name](config, data_dir)``."""


def _in_memory(images: np.ndarray, labels: np.ndarray) -> InMemory:
    assert images.dtype == np.uint8 and images.ndim == 4 and len(images) == len(labels)
    return InMemory(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int64)),
    )
