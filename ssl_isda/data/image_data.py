"""A whole data set in memory, and the table of functions that load one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssl_isda.base.registry import Registry


@dataclass(frozen=True)
class ImageData:
    """Training and test images on the CPU, contiguous.

    train_images, test_images : (N, C, H, W), uint8
    train_labels, test_labels : (N,), int64; -1 for a training image that truly has no label
    checksum : SHA-256, hexadecimal, over training images and labels: what a split belongs to
    """

    name: str
    class_names: tuple[str, ...]
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    checksum: str

    @classmethod
    def from_arrays(
        cls,
        name: str,
        class_names: Sequence[str],
        train: tuple[np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray],
    ) -> ImageData:
        """From (images, labels) of both parts; images (N, C, H, W) uint8, labels (N,) integers."""
        train_images, train_labels = _contiguous(*train)
        test_images, test_labels = _contiguous(*test)
        return cls(
            name=name,
            class_names=tuple(class_names),
            train_images=torch.from_numpy(train_images),
            train_labels=torch.from_numpy(train_labels),
            test_images=torch.from_numpy(test_images),
            test_labels=torch.from_numpy(test_labels),
            checksum=_checksum(train_images, train_labels),
        )


DATASETS: Registry[Callable[..., ImageData]] = Registry("data set")
"""Every loader by name: takes the data folder and its own options, returns the data."""


def _contiguous(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    assert images.dtype == np.uint8 and images.ndim == 4 and len(images) == len(labels)
    return np.ascontiguousarray(images), np.ascontiguousarray(labels, dtype=np.int64)


def _checksum(images: np.ndarray, labels: np.ndarray) -> str:
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(images.data)
    digest.update(labels.astype("<i8").data)
    return digest.hexdigest()
