"""Images of sizes of their own, decoded when a step needs them and seen through windows.

A window is drawn in the size of its own image, as ImageNet's recipes have it: nothing is stretched to a
square first. The threads cut and resize it; what the next steps will see is made while this one runs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssl_isda.data.source import Shape, send
from ssl_isda.data.streaming import Streaming

AT_ONCE = 8
"""Images that a thread takes together: handing over a single small one would cost as much as it does."""
MOST_EXPECTED = 16
"""Batches that are made ahead, of all views together, unless one says that its steps have more."""

Box = tuple[int, int, int, int]
"""Of a window: row and column of its corner, height and width."""
ChooseBox = Callable[[int, int], Box]
"""The window in an image of this height and width."""


class Seen(NamedTuple):
    """The windows of one batch.

    boxes : for each image, what chooses the window
    mirrored : for each, whether it is mirrored
    key : what tells these windows from all others
    """

    boxes: Sequence[ChooseBox]
    mirrored: Sequence[bool]
    key: bytes


class _Coming(NamedTuple):
    pixels: np.ndarray
    parts: list[Future[None]]


class OwnSizes(Streaming):
    """As ``Streaming``, which ``fetch`` gives whole images of, as an evaluation sees them.

    Parameters
    ----------
    decode : gives image k as an evaluation sees it, (C, H, W) uint8
    window : gives the window of image k that the second argument chooses, resized, (H, W, C) uint8
    """

    def __init__(
        self,
        decode: Callable[[int], np.ndarray],
        window: Callable[[int, ChooseBox], np.ndarray],
        shape: Shape,
        labels: Tensor,
        fingerprint: str,
        name: Callable[[int], str] = "image {}".format,
    ) -> None:
        super().__init__(decode, shape, labels, fingerprint, name)
        self.most_expected = MOST_EXPECTED
        self._window = window
        self._coming: OrderedDict[bytes, _Coming] = OrderedDict()

    def expect_windows(self, indices: Tensor, seen: Seen) -> None:
        """A hint that ``windows`` is asked for these soon. It changes no image."""
        if seen.key not in self._coming:
            self._coming[seen.key] = self._begun(indices.tolist(), seen)
        self._coming.move_to_end(seen.key)
        while len(self._coming) > self.most_expected:
            for part in self._coming.popitem(last=False)[1].parts:
                part.cancel()

    def windows(self, indices: Tensor, seen: Seen) -> Tensor:
        """(n, C, H, W) on the device in channels_last order: uint8, or float32 once ``mapped``.

        Raises
        ------
        UsageError
            What ``window`` says of a file that cannot be read, or nothing is read any more.
        """
        coming = self._coming.pop(seen.key, None) or self._begun(indices.tolist(), seen)
        for k, part in enumerate(coming.parts):
            self._awaited(int(indices[k * AT_ONCE]), part)
        images = torch.from_numpy(coming.pixels).permute(0, 3, 1, 2)
        for function in self._functions:
            images = function(images)
        return send(images, self.device)

    def _begun(self, places: list[int], seen: Seen) -> _Coming:
        channels, height, width = self.shape
        pixels = np.empty((len(places), height, width, channels), np.uint8)

        def fill(first: int) -> None:
            for k in range(first, min(first + AT_ONCE, len(places))):
                found = self._window(places[k], seen.boxes[k])
                pixels[k] = found[:, ::-1] if seen.mirrored[k] else found

        firsts = range(0, len(places), AT_ONCE)
        return _Coming(pixels, [self._threads.submit(fill, first) for first in firsts])
