"""How a whole image passes a network of limited size: in windows, at several scales, mirrored too.

Logits, not probabilities, are averaged, as in the official evaluation of a single scale. Beyond it, each
pass's logits are brought back to the size of the image, and mirrored passes are mirrored back along their
width, before they are averaged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.models.contract import Prediction


@dataclass(frozen=True)
class Passes:
    """Called with a network and (n, C, H, W) images, it gives logits (n, c, H, W).

    window : side of the windows, in pixels; None: the image as a whole. An image that is smaller is
        filled up with the mean colour below and on the right
    overlap : share of a window that the next one covers too, at least
    scales : factors by which images are enlarged
    flip : whether they pass mirrored, too

    Raises
    ------
    ValueError
        There is no scale, or one is not positive.
    """

    window: int | None = None
    overlap: float = 0.3333
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(
                f"evaluation_scales are positive factors, one or more; got {self.scales}"
            )

    def __call__(self, network: nn.Module, images: Tensor) -> Prediction:
        """Logits at the size of the images; features of the network's own size where an image passes
        once and whole, else none."""
        size = (images.shape[2], images.shape[3])
        if self.window is None and self.scales == (1.0,) and not self.flip:
            logits, features = network(images)
            return Prediction(resized(logits, size), features)
        found = [
            self._mirrored(network, self._scaled(images, scale), size, flip)
            for scale in self.scales
            for flip in ([False, True] if self.flip else [False])
        ]
        logits = torch.stack(found).mean(0) if len(found) > 1 else found[0]
        return Prediction(logits, logits.new_empty(len(logits), 0, 1, 1))

    def _scaled(self, images: Tensor, scale: float) -> Tensor:
        if scale == 1.0:
            return images
        size = [max(1, round(length * scale)) for length in images.shape[2:]]
        return F.interpolate(images, size, mode="bilinear", align_corners=True)

    def _mirrored(
        self, network: nn.Module, images: Tensor, size: tuple[int, int], flip: bool
    ) -> Tensor:
        found = self._in_windows(network, images.flip(3) if flip else images)
        return resized(found.flip(3) if flip else found, size)

    def _in_windows(self, network: nn.Module, images: Tensor) -> Tensor:
        """Logits at the size of these images: the mean over the windows that cover a pixel."""
        height, width = images.shape[2:]
        if self.window is None:
            return resized(network(images)[0], (height, width))
        filled = F.pad(images, (0, max(0, self.window - width), 0, max(0, self.window - height)))
        total: Tensor | None = None
        counts = filled.new_zeros(filled.shape[2:])
        for top in self._starts(filled.shape[2]):
            for left in self._starts(filled.shape[3]):
                place = (..., slice(top, top + self.window), slice(left, left + self.window))
                found = resized(network(filled[place])[0], (self.window, self.window))
                if total is None:
                    total = found.new_zeros(len(found), found.shape[1], *filled.shape[2:])
                total[place] += found
                counts[place] += 1
        assert total is not None
        return (total / counts)[..., :height, :width]

    def _starts(self, length: int) -> list[int]:
        """Where windows begin along one axis: evenly, the last one at the end."""
        assert self.window is not None
        stride = max(1, math.ceil(self.window * (1 - self.overlap)))
        number = math.ceil((length - self.window) / stride) + 1
        return [min(k * stride, length - self.window) for k in range(number)]


def resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinearly, corners on corners."""
    if tuple(logits.shape[2:]) == size:
        return logits
    return F.interpolate(logits.float(), size, mode="bilinear", align_corners=True)
