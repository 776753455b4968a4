"""A frozen backbone: the head alone is trained, on features of all images that are computed once.

The features a of an image are those of the network in evaluation mode for the image as it is tested,
without augmentation. The head is trained on standardised ones, as on any vectors (``data.vectors``), and
becomes the network's own head again by (2), so that images go in and classes come out.

    z = (a - m) / s,   logits = W_z z + b_z                                       (1)
    W = W_z / s,       b = b_z - W m                                              (2)

m and s are mean and standard deviation of each feature over the training images, in float64. ISDA's
W Sigma W^T is the same for a and for z.

Dimensions: N images, a features, c classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.base.memory import fitting
from ssl_isda.base.precision import Precision, autocast
from ssl_isda.base.progress import counted
from ssl_isda.data.array_cache import Arrays
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preparation import Preparation, PreparedImages
from ssl_isda.data.source import InMemory, in_order
from ssl_isda.data.vectors.standardization import statistics
from ssl_isda.models.contract import Network, linear_map
from ssl_isda.models.linear import Linear
from ssl_isda.parallel.launch import num_on_this_machine
from ssl_isda.runs import checkpoint

FILE_NAME = "backbone.pt"
CACHE_FORMAT = 1
"""To be raised whenever the same network and images would give other features."""
MOST_IMAGES, MOST_VALUES = 500, 2**24
"""Of one pass: images, and numbers in them."""


@dataclass(frozen=True)
class Backbone:
    """A network whose head alone is trained.

    network : the whole of it, in evaluation mode
    mean, std : (a,) float64 on the CPU, of the features of the training images
    """

    network: Network
    mean: Tensor
    std: Tensor

    def student(self) -> Linear:
        """The network's head as it takes standardised features: the inverse of (2)."""
        weight, bias = (each.detach().double().cpu() for each in linear_map(self.network.head))
        student = Linear(*weight.shape)
        with torch.no_grad():
            student.head.weight.copy_(weight * self.std)
            assert student.head.bias is not None
            student.head.bias.copy_(bias + weight @ self.mean)
        return student

    def whole(self, head: nn.Linear | nn.Conv2d) -> Network:
        """The network, which from here on has this head for standardised features as its own, by (2)."""
        weight, bias = (each.detach().double().cpu() for each in linear_map(head))
        weight = weight / self.std
        own_weight, own_bias = self.network.head.weight, self.network.head.bias
        assert own_bias is not None
        with torch.no_grad():
            own_weight.copy_(weight)
            own_bias.copy_(bias - weight @ self.mean)
        return self.network

    def save(self, folder: Path) -> None:
        """Keep it in the folder of a run. Raises as ``checkpoint.write``."""
        state = {"network": self.network.state_dict(), "mean": self.mean, "std": self.std}
        checkpoint.write(folder / FILE_NAME, state)


def read_backbone(folder: Path) -> dict[str, Any]:
    """What ``Backbone.save`` kept there: the network's state, mean and std.

    Raises
    ------
    UsageError
        It is not there or damaged.
    """
    try:
        return checkpoint.load(folder / FILE_NAME)
    except checkpoint.CheckpointDamaged as error:
        raise UsageError(
            f"{error}: the run cannot do without its backbone; --fresh starts over"
        ) from error


def refuse_head(network: Network, name: str) -> None:
    """Refuse a network whose head cannot be trained on features alone.

    Raises
    ------
    UsageError
        Its features are maps, or its head has no bias.
    """
    if not isinstance(network.head, nn.Linear) or network.head.bias is None:
        raise UsageError(
            f"--freeze backbone needs a network that ends in a linear layer with a bias, unlike {name}"
        )


def standardising(network: Network, train: Tensor) -> Backbone:
    """The backbone, with mean and std of the training images' features, (N, a).

    Raises
    ------
    UsageError
        A feature is not finite, or so large that its square overflows.
    """
    if not train.isfinite().all():
        raise UsageError("--freeze backbone: the network gives features that are not finite")
    arrays = statistics(InMemory(train))
    return Backbone(network, *(torch.from_numpy(arrays[name]) for name in ("mean", "std")))


def computed(network: Network, parts: Mapping[str, PreparedImages], precision: Precision) -> Arrays:
    """By the names of the parts the features of their images, (N, a) float32.

    Raises
    ------
    UsageError
        They do not fit in memory.
    """
    counts = {name: len(part.source) for name, part in parts.items()}
    width = linear_map(network.head)[0].shape[1]
    what = f"the features of {sum(counts.values()):,} images, {width:,} numbers each,"
    size = 4 * width * sum(counts.values())
    with fitting(size, what, "take a smaller network or fewer images", num_on_this_machine()):
        found = {name: np.empty((count, width), np.float32) for name, count in counts.items()}
    for name, part in parts.items():
        _fill(found[name], network.eval(), part, precision)
    return found


@torch.no_grad()
def _fill(
    features: np.ndarray, network: Network, part: PreparedImages, precision: Precision
) -> None:
    size = max(1, min(MOST_IMAGES, MOST_VALUES // max(1, int(np.prod(part.source.shape)))))
    batches = in_order(part.source, torch.arange(len(features)), size)
    device, first = next(network.parameters()).device, 0
    for images in counted(batches, len(features), "image", len):
        with autocast(device, precision):
            found = network(part.finish(images)).features
        features[first : first + len(found)] = found.float().cpu().numpy()
        first += len(found)


def key_of(
    network: Network, about: object, preparation: Preparation, data: ImageData, precision: Precision
) -> str:
    """SHA-256, hexadecimal, over all that the features depend on: weights, the network's name and
    options, preparation, images and precision."""
    digest = hashlib.sha256()
    head = {id(each) for each in network.head.state_dict(keep_vars=True).values()}
    for name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) not in head:
            _take_in(
                digest, name, tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
            )
    for name, array in sorted(preparation.arrays.items()):
        _take_in(digest, name, np.ascontiguousarray(array))
    words = [CACHE_FORMAT, repr(about), precision, preparation.name, preparation.shape]
    digest.update(json.dumps([*words, data.train.fingerprint, data.test.fingerprint]).encode())
    return digest.hexdigest()


def _take_in(digest: Any, name: str, array: np.ndarray) -> None:
    digest.update(f"{name} {array.dtype} {array.shape} ".encode())
    digest.update(array.data)


def of_features(data: ImageData, train: Tensor, test: Tensor) -> ImageData:
    """The same data set with features in the place of images: labels, names and fingerprints stay."""

    def source(features: Tensor, images: Any) -> InMemory:
        found = InMemory(features, images.labels)
        found.fingerprint = images.fingerprint
        return found

    return replace(data, train=source(train, data.train), test=source(test, data.test))
