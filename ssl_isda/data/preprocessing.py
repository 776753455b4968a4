"""From bytes to the network's input: named ways that are fitted to the training images alone, and the one
that a network's weights were trained with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import counted
from ssl_isda.base.registry import Registry
from ssl_isda.base.words import unknown_name
from ssl_isda.data.array_cache import cached_arrays
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preparation import Preparation, PreparedImages
from ssl_isda.data.source import DataSource, InMemory, in_order
from ssl_isda.data.vectors.prepared import prepare_vectors
from ssl_isda.data.whitening import cached_whitened


class Prepared(NamedTuple):
    """A data set ready for the network, and how it became so."""

    train: PreparedImages
    test: PreparedImages
    preparation: Preparation


OF_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of red, green and blue, from 0 to 1, as torchvision has them."""
PREPROCESSINGS: Registry[Callable[[ImageData, Path], Prepared]] = Registry("preprocessing")


def prepare(name: str, data: ImageData, cache_dir: Path) -> Prepared:
    """Training and test images under the preprocessing ``name``; fits are kept in ``cache_dir``.

    Raises
    ------
    UsageError
        Unknown name; images too large for ``zca``, or streamed; vectors, but for ``normalize``.
    """
    if name not in PREPROCESSINGS:
        raise UsageError(unknown_name("preprocessing", name, sorted(PREPROCESSINGS)))
    if len(data.train.shape) == 1:
        return Prepared(*prepare_vectors(name, data))
    prepared = PREPROCESSINGS[name](data, Path(cache_dir))
    return _as_decoded(prepared, data)


def prepare_by(
    mean: Sequence[float], std: Sequence[float], data: ImageData, name: str = "network"
) -> Prepared:
    """(x / 255 - mean) / std, with ``mean`` and ``std`` of each channel; where the images have another
    number of channels, all have the means over the channels."""
    channels = data.train.shape[0]
    centre, spread = (torch.tensor(each, dtype=torch.float64) * 255 for each in (mean, std))
    if len(centre) != channels:
        centre, spread = (each.mean().expand(channels) for each in (centre, spread))
    return _as_decoded(_pointwise(name, data, centre, spread), data)


def prepare_like(kept: Preparation, data: ImageData) -> Prepared:
    """By the numbers of another preparation.

    Raises
    ------
    UsageError
        They were made for images of other channels, or of another size where that matters.
    """
    shape = data.train.shape
    compared = slice(None) if "matrix" in kept.arrays or len(shape) == 1 else slice(1)
    if len(kept.shape) != len(shape) or kept.shape[compared] != shape[compared]:
        raise UsageError(
            f"the weights were trained with images of {_size(kept.shape)}, prepared by {kept.name}, "
            f"which does not fit those of {_size(shape)} here: choose a --preprocessing"
        )
    if len(shape) == 1:
        raise UsageError("--preprocessing network is for images: vectors take normalize")
    here = replace(kept, shape=shape, class_names=data.class_names, digest="")
    return _as_decoded(_prepared(here, data), data)


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _as_decoded(prepared: Prepared, data: ImageData) -> Prepared:
    """With what later files are decoded by."""
    how = replace(prepared.preparation, bits=data.bits, interpolation=data.interpolation)
    return prepared._replace(preparation=how)


@PREPROCESSINGS.register("zca")
def zca(data: ImageData, cache_dir: Path) -> Prepared:
    """ZCA whitening with the training images' mean and matrix; see ``ssl_isda.data.whitening``."""
    if not (isinstance(data.train, InMemory) and isinstance(data.test, InMemory)):
        raise UsageError(
            "zca keeps all whitened images in memory, which streamed images may not fit into; choose "
            "--preprocessing normalize, scale or standardize, or --no-streaming"
        )
    whitening, train, test = cached_whitened(data.train, data.test, cache_dir)
    arrays = {"mean": whitening.mean.numpy(), "matrix": whitening.matrix.float().numpy()}
    preparation = Preparation("zca", data.train.shape, data.class_names, arrays)
    of_train = preparation.kept(InMemory(train), data.train)
    return Prepared(of_train, preparation.kept(InMemory(test), data.test), preparation)


@PREPROCESSINGS.register("standardize")
def standardize(data: ImageData, cache_dir: Path) -> Prepared:
    """Each image to mean 0 and variance 1 over all its values; an image of one colour to 0."""
    return _prepared(Preparation("standardize", data.train.shape, data.class_names), data)


@PREPROCESSINGS.register("scale")
def scale(data: ImageData, cache_dir: Path) -> Prepared:
    """(x - 127.5) / 255, in [-0.5, 0.5]: the units of VAT's epsilon on SVHN."""
    channels = data.train.shape[0]
    return _pointwise("scale", data, torch.full((channels,), 127.5), torch.full((channels,), 255.0))


@PREPROCESSINGS.register("normalize")
def normalize(data: ImageData, cache_dir: Path) -> Prepared:
    """(x - mean) / std with mean and std of each channel over all training images; of streamed ones they
    are kept in ``cache_dir``."""
    if isinstance(data.train, InMemory):
        return _pointwise("normalize", data, *_channel_statistics(data.train))
    kept = cached_arrays(
        Path(cache_dir) / ".cache" / "channels",
        data.train.fingerprint,
        lambda: dict(
            zip(("mean", "std"), map(Tensor.numpy, _channel_statistics(data.train)), strict=True)
        ),
    )
    return _pointwise("normalize", data, *(torch.from_numpy(kept[n]) for n in ("mean", "std")))


@PREPROCESSINGS.register("imagenet")
def imagenet(data: ImageData, cache_dir: Path) -> Prepared:
    """(x / 255 - mean) / std by the constants of RGB that networks for ImageNet are trained with."""
    return prepare_by(*OF_IMAGENET, data, "imagenet")


def _pointwise(name: str, data: ImageData, centre: Tensor, spread: Tensor) -> Prepared:
    arrays = {
        "scale": (1 / spread).float().view(-1, 1, 1).numpy(),
        "shift": (-centre / spread).float().view(-1, 1, 1).numpy(),
    }
    return _prepared(Preparation(name, data.train.shape, data.class_names, arrays), data)


def _prepared(preparation: Preparation, data: ImageData) -> Prepared:
    return Prepared(preparation.of(data.train), preparation.of(data.test), preparation)


def _channel_statistics(source: DataSource) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, (C,) float64, exact: from how often each byte value occurs."""
    counts = torch.zeros(source.shape[0], 256, dtype=torch.float64)
    images = in_order(source, torch.arange(len(source)), batch_size=100)
    for part in counted(images, len(source), "image", len):
        for channel, values in enumerate(part.unbind(1)):
            counts[channel] += torch.bincount(values.flatten(), minlength=256)
    values = torch.arange(256, dtype=torch.float64)
    means, stds = [], []
    for occurring in counts:
        mean = (occurring @ values) / occurring.sum()
        means.append(mean)
        stds.append(((occurring @ (values - mean) ** 2) / occurring.sum()).sqrt())
    std = torch.stack(stds)
    return torch.stack(means), std.masked_fill(std == 0, 1.0)
