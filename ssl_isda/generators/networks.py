"""The convolutional networks of all pairs: those of DCGAN, of any depth.

Radford, Metz & Chintala, Unsupervised representation learning with deep convolutional generative
adversarial networks, ICLR 2016, arXiv:1511.06434.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.generators.contract import NUM_NOISE, Generator

SMALLEST_MAP = 4
"""Pixels of the shorter side below which maps are not halved further."""
LEAK = 0.2


def num_doublings(shape: tuple[int, ...]) -> int:
    """How often the first maps are doubled until they have the size of an image (C, H, W).

    Raises
    ------
    ValueError
        Both sides must be even, and the shorter one larger than 4.
    """
    if len(shape) != 3:
        raise ValueError(f"a generator makes images, and the data set has vectors of {shape[0]}")
    _, height, width = shape
    times = 0
    while min(height, width) > SMALLEST_MAP and height % 2 == width % 2 == 0:
        height, width, times = height // 2, width // 2, times + 1
    if not times:
        raise ValueError(
            f"a generator needs images with even sides of more than {SMALLEST_MAP} pixels, and these "
            f"have {shape[1]} x {shape[2]}"
        )
    return times


class ConvolutionalGenerator(Generator):
    """Transposed convolutions that double the maps, with BatchNorm and ReLU; tanh at the end.

    Parameters
    ----------
    shape : (C, H, W) of an image
    num_classes : of which one, as a one-hot vector, stands behind z; 0: none
    num_code : numbers from -1 to 1 behind the noise
    channels : of the last but one map; each one before has twice as many
    """

    def __init__(
        self, shape: tuple[int, ...], *, channels: int, num_classes: int = 0, num_code: int = 0
    ) -> None:
        super().__init__()
        self.num_classes, self.num_code = num_classes, num_code
        self.knows_classes = num_classes > 0
        times = num_doublings(shape)
        widths = [channels * 2**k for k in reversed(range(times))]
        height, width = (side // 2**times for side in shape[1:])
        self.first_map = (widths[0], height, width)
        inputs = NUM_NOISE + num_code + num_classes
        self.first = nn.Linear(inputs, widths[0] * height * width, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for before, after in pairwise(widths):
            layers += [_doubling(before, after, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, _doubling(widths[-1], shape[0], bias=True), nn.Tanh())
        self.apply(initialise)

    def forward(self, z: Tensor, classes: Tensor) -> Tensor:
        if self.num_classes:
            z = torch.cat([z, F.one_hot(classes, self.num_classes).to(z.dtype)], 1)
        images: Tensor = self.layers(self.first(z).unflatten(1, self.first_map))
        return images


class Body(nn.Module):
    """Strided convolutions that halve the maps, with leaky ReLU: images to (n, ``num_features``).

    Parameters
    ----------
    batchnorm : between them, but for the first
    num_planes : further channels of the input, as for classes
    """

    def __init__(
        self, shape: tuple[int, ...], *, channels: int, batchnorm: bool, num_planes: int = 0
    ) -> None:
        super().__init__()
        times = num_doublings(shape)
        widths = [shape[0] + num_planes, *(channels * 2**k for k in range(times))]
        layers: list[nn.Module] = []
        for k, (before, after) in enumerate(pairwise(widths)):
            normalised = batchnorm and k > 0
            layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=not normalised))
            layers += [nn.BatchNorm2d(after)] * normalised
            layers.append(nn.LeakyReLU(LEAK))
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.num_features = widths[-1] * (shape[1] // 2**times) * (shape[2] // 2**times)
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)
        return features


class ClassGenerators(Generator):
    """One generator for each class."""

    knows_classes = True

    def __init__(self, generators: list[Generator]) -> None:
        super().__init__()
        self.of = nn.ModuleList(generators)

    def forward(self, z: Tensor, classes: Tensor) -> Tensor:
        return by_class(self.of, classes, z)


def by_class(networks: nn.ModuleList, classes: Tensor, *inputs: Tensor) -> Tensor:
    """Each row through the network of its class; the rows' order stays."""
    present = classes.unique().tolist()
    places = [(classes == c).nonzero().flatten() for c in present]
    parts = [
        networks[c](*(each[rows] for each in inputs), classes[rows])
        for c, rows in zip(present, places, strict=True)
    ]
    return torch.cat(parts)[torch.cat(places).argsort()]


def initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02^2), those of BatchNorm about 1, as in DCGAN; no bias."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def _doubling(before: int, after: int, *, bias: bool) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)
