"""Where images come from: the contract of every source, and the source that has all in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

Shape = tuple[int, ...]
"""Channels, height and width of one image, or (d,) of one vector."""


class DataSource(Protocol):
    """N images of one size, which are asked for by their places 0 to N - 1."""

    @property
    def shape(self) -> Shape:
        """(C, H, W), of one image, or (d,) of one vector."""

    @property
    def labels(self) -> Tensor | None:
        """(N,) int64 on the CPU, -1 where an image has none; None where labels are kept elsewhere."""

    @property
    def fingerprint(self) -> str:
        """What tells these images and labels from all others: what a split belongs to."""

    @property
    def device(self) -> torch.device:
        """Where ``fetch`` puts images."""

    @property
    def lookahead(self) -> int:
        """For how many steps ahead ``expect`` is of use; 0: for none."""

    def __len__(self) -> int: ...

    def fetch(self, indices: Tensor) -> Tensor:
        """(n, C, H, W) on the device, a copy: uint8, or float32 once ``mapped``.

        Parameters
        ----------
        indices : (n,) int64 on the CPU
        """

    def expect(self, indices: Tensor) -> None:
        """A hint that these images are asked for soon, the first ones first. It changes no image."""

    def mapped(self, function: Callable[[Tensor], Tensor]) -> DataSource:
        """The same images under a function of uint8 batches on the CPU, image by image; no labels."""

    def to(self, device: torch.device | str) -> DataSource:
        """The same images, fetched to another device."""


class InMemory:
    """All images in one tensor.

    Parameters
    ----------
    images : (N, C, H, W), uint8 or, once they are prepared, float32; or (N, d) vectors of any
        floating-point type
    labels : (N,) int64, -1 where an image has none
    """

    lookahead = 0

    def __init__(self, images: Tensor, labels: Tensor | None = None) -> None:
        self.images = images
        self.labels = labels
        self._derived: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> Shape:
        return tuple(self.images.shape[1:])

    @property
    def device(self) -> torch.device:
        return self.images.device

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, over shape, pixels and labels."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.numpy().data)
        if self.labels is not None:
            digest.update(self.labels.numpy().astype("<i8").data)
        return digest.hexdigest()

    def fetch(self, indices: Tensor) -> Tensor:
        return self.images.index_select(0, send(indices, self.device))

    def expect(self, indices: Tensor) -> None:
        pass

    def mapped(self, function: Callable[[Tensor], Tensor]) -> InMemory:
        return InMemory(function(self.images))

    def to(self, device: torch.device | str) -> InMemory:
        moved = self.images.to(device)
        return self if moved is self.images else InMemory(moved, self.labels)

    def once(self, name: str, derive: Callable[[Tensor], Tensor]) -> Tensor:
        """What ``derive`` makes of all images, computed at the first call with this name and kept."""
        if name not in self._derived:
            self._derived[name] = derive(self.images)
        return self._derived[name]


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """To the device, from page-locked memory where that lets the copy run beside the CPU."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def in_order(source: DataSource, indices: Tensor, batch_size: int) -> Iterator[Tensor]:
    """The images at these places, ``batch_size`` at a time; each batch is expected beforehand."""
    batches = indices.split(batch_size)
    for batch, following in zip(batches, [*batches[1:], indices[:0]], strict=True):
        images = source.fetch(batch)
        source.expect(following)
        yield images
