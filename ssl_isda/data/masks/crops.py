"""Random crops, scales and mirroring of images and their masks together, and changes of colour.

All that is random is drawn for the whole batch on the CPU, keyed by step and purpose; an image and its
mask see the same numbers. The recipe of the official segmentation code of ISDA and of the toolbox that it
builds on: an image is enlarged by a scale s, uniform in a range or among steps of it; a window of
``crop_size`` is cut out at a place of equal probability; where the image is smaller than the window, the
rest, below and on the right, is the mean colour and has no class; half of the windows are mirrored.
Images are interpolated bilinearly, masks take the nearest pixel.

The views of one unlabeled image show one window, so that their pixels are about the same places; and
their scale is raised until the image covers the window, since pixels that are not there have no
prediction.

Dimensions: n images, H x W pixels, h x w pixels of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ssl_isda.base.options import Interval
from ssl_isda.base.step import Step
from ssl_isda.base.void import VOID
from ssl_isda.data.augmentations.cutout import Square
from ssl_isda.data.augmentations.pool import Choice, Pool
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import DataSource, send
from ssl_isda.data.views import AUGMENTATIONS

BITS = 31
NUM_GEOMETRY = 4
"""Numbers for the geometry of one window: scale, places down and across, whether it is mirrored."""


@dataclass(frozen=True)
class Config:
    """Options of ``crops``."""

    crop_size: Annotated[int, Interval(ge=8)] | None = None
    """Height and width of a training window, in pixels; unset: those of the images."""
    smallest_scale: Annotated[float, Interval(gt=0)] = 0.75
    """Images are scaled by this factor at least."""
    largest_scale: Annotated[float, Interval(gt=0)] = 1.5
    """Images are scaled by this factor at most."""
    scale_step: Annotated[float, Interval(ge=0)] = 0.0
    """Distance between possible scales; 0: any in between."""
    color_jitter: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Brightness, contrast and colour are multiplied by factors up to this far from 1."""


@dataclass(frozen=True)
class Crops:
    """Windows, then the operations of ``pool`` and ``square``, if there are such."""

    config: Config
    flip: bool
    pool: Pool | None = None
    square: Square | None = None

    def draw(self, n: int, step: Step, purpose: str, windows_of: str | None = None) -> Tensor:
        """(n, k) int64: the numbers of the windows, those of the pool and those of the square.

        Parameters
        ----------
        windows_of : the purpose whose windows these images share; None: windows of their own
        """
        generator = step.generator(f"{windows_of or purpose} windows")
        draws = [torch.randint(1 << BITS, (n, NUM_GEOMETRY), generator=generator)]
        if self.pool:
            draws.append(self.pool.draw(n, step.generator(f"{purpose} operations")))
        if self.square:
            draws.append(self.square.draw(n, step, purpose))
        return torch.cat(draws, dim=1)

    def view(
        self, prepared: PreparedImages, indices: Tensor, draws: Tensor, *, covers: bool = False
    ) -> Tensor:
        """(n, C, h, w) float32 on the device, prepared, in channels_last order; 0 beyond the image.

        Parameters
        ----------
        indices, draws : (n,) places in the source and (n, k) numbers from ``draw``, on the CPU
        covers : whether scales are raised until the image covers the window
        """
        pixels = prepared.pixels.fetch(indices)
        windows = self.windows(draws, pixels.shape[-2:], pixels.device, covers=covers)
        cut = windows.cut(pixels)
        first = NUM_GEOMETRY + (3 * self.pool.rounds if self.pool else 0)
        if self.pool:
            cut = self.pool.apply(cut.contiguous(), draws[:, NUM_GEOMETRY:first])
        images = prepared.prepare(cut.permute(0, 3, 1, 2))
        if self.square:
            images = self.square.hide(images, draws[:, first:])
        return images if covers else windows.empty(images)

    def masks(self, source: DataSource, indices: Tensor, draws: Tensor) -> Tensor:
        """(n, h, w) int64 on the device: the classes of the same windows, ``VOID`` beyond the image."""
        masks = source.fetch(indices)[:, 0]
        return self.windows(draws, masks.shape[-2:], masks.device).cut_mask(masks).long()

    def windows(
        self,
        draws: Tensor,
        size: tuple[int, ...] | torch.Size,
        device: torch.device,
        *,
        covers: bool = False,
    ) -> Windows:
        """What the draws say of images of this height and width."""
        lengths = torch.tensor([*size])
        wanted = (
            lengths if self.config.crop_size is None else torch.tensor([self.config.crop_size] * 2)
        )
        share = draws[:, :NUM_GEOMETRY].double() / 2**BITS
        scales = self._scales(share[:, :1])
        if covers:
            scales = scales.maximum((wanted / lengths).amax())
        scaled = (scales * lengths).round().long().clamp(min=1)  # (n, 2)
        if covers:
            scaled = scaled.maximum(wanted)
        room = (scaled - wanted).clamp(min=0) + 1
        first = (share[:, 1:3] * room).long()
        mirrored = (share[:, 3:4] < 0.5).long() * self.flip
        numbers = send(torch.cat([scaled, first, mirrored], 1), device)
        return Windows(
            numbers, (int(lengths[0]), int(lengths[1])), (int(wanted[0]), int(wanted[1]))
        )

    def _scales(self, share: Tensor) -> Tensor:
        low, high, step = (
            *(self.config.smallest_scale, self.config.largest_scale, self.config.scale_step),
        )
        if step:
            number = int((high - low) / step + 1e-9) + 1
            return low + step * (share * number).floor()
        return low + (high - low) * share


@dataclass(frozen=True)
class Windows:
    """Where each image of a batch is looked at.

    numbers : (n, 5) int64: scaled height and width, first row and column in them, whether mirrored
    size : height and width of the images
    wanted : of the windows
    """

    numbers: Tensor
    size: tuple[int, int]
    wanted: tuple[int, int]

    def _places(self, axis: int) -> tuple[Tensor, Tensor]:
        """(n, l) float32 places in the image along one axis, pixel centres at whole numbers; and
        whether they lie in it."""
        scaled, first = self.numbers[:, axis, None], self.numbers[:, 2 + axis, None]
        along = torch.arange(self.wanted[axis], device=self.numbers.device).expand(len(scaled), -1)
        if axis == 1:
            along = torch.where(self.numbers[:, 4:5] > 0, self.wanted[1] - 1 - along, along)
        along = along + first
        places = (2 * along + 1).double() * self.size[axis] / (2 * scaled) - 0.5
        return places.float(), along < scaled

    def cut(self, pixels: Tensor) -> Tensor:
        """(n, h, w, C) uint8 from (n, C, H, W) uint8, bilinear; edges are repeated beyond the image."""
        (rows, _), (columns, _) = self._places(0), self._places(1)
        top, bottom, down = _neighbours(rows, self.size[0])
        left, right, across = _neighbours(columns, self.size[1])
        images = pixels.permute(0, 2, 3, 1)
        places = torch.arange(len(pixels), device=pixels.device)[:, None, None]

        def at(row: Tensor, column: Tensor) -> Tensor:
            return images[places, row[:, :, None], column[:, None, :]].float()

        down, across = down[:, :, None, None], across[:, None, :, None]
        upper = torch.lerp(at(top, left), at(top, right), across)
        lower = torch.lerp(at(bottom, left), at(bottom, right), across)
        return torch.lerp(upper, lower, down).round().clamp(0, 255).to(torch.uint8)

    def cut_mask(self, masks: Tensor) -> Tensor:
        """(n, h, w) from (n, H, W) classes, the nearest; ``VOID`` beyond the image."""
        (rows, has_row), (columns, has_column) = self._places(0), self._places(1)
        rows, columns = (
            (places + 0.5).floor().long().clamp(0, length - 1)
            for places, length in zip((rows, columns), self.size, strict=True)
        )
        places = torch.arange(len(masks), device=masks.device)[:, None, None]
        found = masks[places, rows[:, :, None], columns[:, None, :]]
        return found.where(has_row[:, :, None] & has_column[:, None, :], VOID)

    def empty(self, images: Tensor) -> Tensor:
        """(n, C, h, w) prepared windows with 0 beyond the image."""
        has_row, has_column = self._places(0)[1], self._places(1)[1]
        return images * (has_row[:, None, :, None] & has_column[:, None, None, :])


def _neighbours(places: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels on both sides of each place, and how far it is on the way to the second."""
    places = places.clamp(0, length - 1)
    before = places.floor()
    first = before.long()
    return first, (first + 1).clamp(max=length - 1), places - before


def jitter(amount: float) -> Pool | None:
    """Brightness, contrast and colour, one after the other; None: nothing."""
    names = ("brightness", "contrast", "color")
    choices = tuple(Choice(name, 0.0, amount, around=1.0, signed=True) for name in names)
    return Pool(choices, len(choices), together=len(choices)) if amount else None


@AUGMENTATIONS.register("crops")
def crops(config: Config, *, flip: bool, max_translation: int = 0) -> Crops:
    """The augmentation with these settings of the run."""
    return Crops(config, flip, jitter(config.color_jitter))
