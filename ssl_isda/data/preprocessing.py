"""From bytes to the network's input: four named ways, fitted to the training images alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.base.registry import Registry
from ssl_isda.base.words import unknown_name
from ssl_isda.data.image_data import ImageData
from ssl_isda.data.whitening import cached_whitened

CHUNK_IMAGES = 5_000


@dataclass(frozen=True)
class PreparedImages:
    """Images and the pointwise step that is left for the batch: ``images.float() * scale + shift``.

    images : (N, C, H, W), uint8 or float32
    scale, shift : (C, 1, 1) float32, or None where the images are prepared already
    """

    images: Tensor
    scale: Tensor | None = None
    shift: Tensor | None = None

    def to(self, device: torch.device | str) -> PreparedImages:
        """The same on another device."""
        scale = None if self.scale is None else self.scale.to(device)
        shift = None if self.shift is None else self.shift.to(device)
        return PreparedImages(self.images.to(device), scale, shift)

    def chosen(self, indices: Tensor) -> PreparedImages:
        """Some of them, as a copy."""
        return PreparedImages(self.images[indices], self.scale, self.shift)

    def finish(self, batch: Tensor) -> Tensor:
        """Gathered (B, C, H, W) images as float32 in channels_last order, the last step applied."""
        values = batch.to(torch.float32, memory_format=torch.channels_last)
        if self.scale is None or self.shift is None:
            return values
        return torch.addcmul(self.shift, values, self.scale)


Prepared = tuple[PreparedImages, PreparedImages]
PREPROCESSINGS: Registry[Callable[[ImageData, Path], Prepared]] = Registry("preprocessing")


def prepare(name: str, data: ImageData, cache_dir: Path) -> Prepared:
    """Training and test images under the preprocessing ``name``; fits are kept in ``cache_dir``.

    Raises
    ------
    UsageError
        Unknown name, or images too large for ``zca``.
    """
    if name not in PREPROCESSINGS:
        raise UsageError(unknown_name("preprocessing", name, sorted(PREPROCESSINGS)))
    return PREPROCESSINGS[name](data, Path(cache_dir))


@PREPROCESSINGS.register("zca")
def zca(data: ImageData, cache_dir: Path) -> Prepared:
    """ZCA whitening with the training images' mean and matrix; see ``ssl_isda.data.whitening``."""
    train, test = cached_whitened(data, cache_dir)
    return PreparedImages(train), PreparedImages(test)


@PREPROCESSINGS.register("standardize")
def standardize(data: ImageData, cache_dir: Path) -> Prepared:
    """Each image to mean 0 and variance 1 over all its values; an image of one colour to 0."""
    train, test = _standardized(data.train_images), _standardized(data.test_images)
    return PreparedImages(train), PreparedImages(test)


@PREPROCESSINGS.register("scale")
def scale(data: ImageData, cache_dir: Path) -> Prepared:
    """(x - 127.5) / 255, in [-0.5, 0.5]: the units of VAT's epsilon on SVHN."""
    channels = data.train_images.shape[1]
    return _pointwise(data, torch.full((channels,), 127.5), torch.full((channels,), 255.0))


@PREPROCESSINGS.register("normalize")
def normalize(data: ImageData, cache_dir: Path) -> Prepared:
    """(x - mean) / std with mean and std of each channel over all training images."""
    mean, std = _channel_statistics(data.train_images)
    return _pointwise(data, mean, std)


def _pointwise(data: ImageData, centre: Tensor, spread: Tensor) -> Prepared:
    factor = (1 / spread).float().view(-1, 1, 1)
    shift = (-centre / spread).float().view(-1, 1, 1)
    return (
        PreparedImages(data.train_images, factor, shift),
        PreparedImages(data.test_images, factor, shift),
    )


def _standardized(images: Tensor) -> Tensor:
    result = torch.empty(images.shape, dtype=torch.float32)
    for part, target in zip(images.split(CHUNK_IMAGES), result.split(CHUNK_IMAGES), strict=True):
        values = part.float()
        std, mean = torch.std_mean(values, dim=(1, 2, 3), correction=0, keepdim=True)
        target.copy_((values - mean) / std.masked_fill(std == 0, 1.0))
    return result


def _channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, (C,) float64, exact: from how often each byte value occurs."""
    values = torch.arange(256, dtype=torch.float64)
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = torch.zeros(256, dtype=torch.float64)
        for part in images[:, channel].split(CHUNK_IMAGES):
            counts += torch.bincount(part.flatten(), minlength=256)
        mean = (counts @ values) / counts.sum()
        means.append(mean)
        stds.append(((counts @ (values - mean) ** 2) / counts.sum()).sqrt())
    std = torch.stack(stds)
    return torch.stack(means), std.masked_fill(std == 0, 1.0)
