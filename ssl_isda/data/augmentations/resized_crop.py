"""Random resized crops, the placement of images of 64 pixels and more.

Szegedy et al., Going Deeper with Convolutions, CVPR 2015, Sec. 6, as torchvision's ``RandomResizedCrop``
makes them.

A window of the image is drawn: its share of the area uniformly between the smallest and 1, the logarithm
of its width by its height uniformly between those of 3/4 and 4/3, its place uniformly where it fits. A
window that is larger than the image is drawn anew, ten times in all; then it is the largest one in the
middle. It is resized to the image's size, bilinearly, and mirrored as a translated image is. A window is
never larger than the result, so that antialiasing would change nothing; of ``OwnSizes``, where it may be,
Pillow's filter is antialiased.

Dimensions: n images, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, is_dataclass, replace
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.data.augmentations.cutout import Cutout
from ssl_isda.data.augmentations.policy import Policy
from ssl_isda.data.augmentations.weak import Weak, draw_flips
from ssl_isda.data.images.own_sizes import Box, OwnSizes, Seen
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import DataSource, send
from ssl_isda.data.views import AnyAugmentation

BITS, TRIES = 31, 10
"""A window is drawn as numbers of so many bits, before the size of the images is known; so many times."""
SLIMMEST, WIDEST = 3 / 4, 4 / 3
"""Width by height."""


@dataclass(frozen=True)
class ResizedCrop:
    """A window of at least ``smallest`` of the image's area, resized, and mirrored if ``flip``."""

    flip: bool
    smallest: float = 0.08

    def draw(self, n: int, step: Step, purpose: str, flips_of: str | None = None) -> Tensor:
        """(n, 22 or 23): areas, shapes and place of the windows; whether the image is mirrored."""
        generator = step.generator(f"{purpose} resized crop")
        draws = [torch.randint(1 << BITS, (n, 2 * TRIES + 2), generator=generator)]
        if self.flip:
            draws.append(draw_flips(n, step.generator(f"{flips_of or purpose} flip"))[:, None])
        return torch.cat(draws, dim=1)

    def view(self, prepared: PreparedImages, indices: Tensor, draws: Tensor) -> Tensor:
        """Pixels are resized before they are whitened or normalized."""
        return prepared.prepare(self.moved(prepared.pixels, indices, draws))

    def moved(self, source: DataSource, indices: Tensor, draws: Tensor) -> Tensor:
        """(n, C, H, W) of the source's own type on its device, in channels_last order."""
        if isinstance(source, OwnSizes):
            return source.windows(indices, self._seen(draws))
        height, width = source.shape[-2:]
        drawn = windows(draws[:, : 2 * TRIES + 2], height, width, self.smallest)
        flips = draws[:, -1:] if self.flip else torch.zeros_like(draws[:, :1])
        sent = send(torch.cat([drawn, flips], dim=1), source.device)
        return resized(source.fetch(indices), sent[:, :4], sent[:, 4].bool())

    def expect(self, source: OwnSizes, indices: Tensor, draws: Tensor) -> None:
        """A hint that ``moved`` is asked for with these arguments soon."""
        source.expect_windows(indices, self._seen(draws))

    def _seen(self, draws: Tensor) -> Seen:
        boxes = [partial(window, row, self.smallest) for row in draws.tolist()]
        mirrored = draws[:, -1].tolist() if self.flip else [False] * len(draws)
        return Seen(boxes, mirrored, draws.numpy().tobytes())


def window(numbers: list[int], smallest: float, height: int, width: int) -> Box:
    """Of one image, what ``windows`` gives of many that are equally large."""
    down, across = (number / 2**BITS for number in numbers[2 * TRIES : 2 * TRIES + 2])
    for share, shape in zip(numbers[:TRIES], numbers[TRIES : 2 * TRIES], strict=True):
        area = height * width * (smallest + (1 - smallest) * share / 2**BITS)
        ratio = SLIMMEST * (WIDEST / SLIMMEST) ** (shape / 2**BITS)
        high, wide = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < high <= height and 0 < wide <= width:
            return int(down * (height - high + 1)), int(across * (width - wide + 1)), high, wide
    high, wide = _in_the_middle(height, width)
    return (height - high) // 2, (width - wide) // 2, high, wide


def windows(draws: Tensor, height: int, width: int, smallest: float) -> Tensor:
    """(n, 4) int64 of (n, 22) draws: row and column of the corner, height and width."""
    shares, shapes, places = (draws.double() / 2**BITS).split([TRIES, TRIES, 2], dim=1)
    area = height * width * (smallest + (1 - smallest) * shares)
    shape = SLIMMEST * (WIDEST / SLIMMEST) ** shapes
    high, wide = (area / shape).sqrt().round().long(), (area * shape).sqrt().round().long()
    fits = (high > 0) & (high <= height) & (wide > 0) & (wide <= width)
    first = fits.to(torch.int8).argmax(1, keepdim=True)  # of equal values argmax gives the first
    middle = torch.tensor(_in_the_middle(height, width))
    sizes = torch.cat([high.gather(1, first), wide.gather(1, first)], dim=1)
    sizes = torch.where(fits.any(1, keepdim=True), sizes, middle)
    room = torch.tensor([height, width]) - sizes
    corners = (places * (room + 1)).long()
    return torch.cat([torch.where(fits.any(1, keepdim=True), corners, room // 2), sizes], dim=1)


def _in_the_middle(height: int, width: int) -> tuple[int, int]:
    """Height and width of the largest window of an allowed shape."""
    return min(height, round(width / SLIMMEST)), min(width, round(height * WIDEST))


def resized(images: Tensor, windows: Tensor, flips: Tensor) -> Tensor:
    """Each image's window at the size of the image, mirrored where ``flips`` says so.

    Parameters
    ----------
    images : (n, C, H, W), uint8 or float32
    windows : (n, 4) int64: row and column of the corner, height and width
    flips : (n,) bool

    Returns
    -------
    (n, C, H, W) in channels_last order, of the dtype and on the device of ``images``, like all arguments
    """
    height, width = images.shape[-2:]
    rows = _places(height, windows[:, 0], windows[:, 2])[:, :, None].expand(-1, -1, width)
    across = _places(width, windows[:, 1], windows[:, 3])
    columns = torch.where(flips[:, None], across.flip(1), across)[:, None].expand(-1, height, -1)
    grid = torch.stack([columns, rows], dim=-1)
    result = F.grid_sample(images.float(), grid, mode="bilinear", align_corners=False)
    if images.dtype == torch.uint8:
        result = result.round_().to(torch.uint8)
    return result.contiguous(memory_format=torch.channels_last)


def _places(length: int, firsts: Tensor, sizes: Tensor) -> Tensor:
    """(n, length) float32: where the middle of each pixel of the result lies in the image.

    From -1 at one edge of the image to 1 at the other; never beyond the middles of the window's outer
    pixels.
    """
    middles = (torch.arange(length, device=firsts.device) + 0.5) / length
    inside = (middles * sizes[:, None]).clamp(min=0.5)
    inside = torch.minimum(inside, sizes[:, None] - 0.5)
    return (inside + firsts[:, None]) * (2 / length) - 1


def cropped(augmentation: AnyAugmentation, smallest: float) -> AnyAugmentation | None:
    """The same with resized crops in place of translation; None if it does not begin with ``Weak``."""
    weak = augmentation if isinstance(augmentation, Weak) else getattr(augmentation, "weak", None)
    if not isinstance(weak, Weak):
        return None
    crop = ResizedCrop(weak.flip, smallest)
    if weak is augmentation:
        return crop
    assert is_dataclass(augmentation)
    return cast(AnyAugmentation, replace(augmentation, weak=crop))


def crop_of(augmentation: AnyAugmentation, draws: Tensor) -> tuple[ResizedCrop, Tensor] | None:
    """The resized crop that an augmentation begins with, and its numbers among ``draws``; None: there is
    none."""
    if isinstance(augmentation, ResizedCrop):
        return augmentation, draws
    weak = getattr(augmentation, "weak", None)
    if not isinstance(weak, ResizedCrop):
        return None
    assert isinstance(augmentation, (Policy, Cutout))
    return weak, augmentation.of_weak(draws)
