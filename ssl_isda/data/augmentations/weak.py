"""Random translation and horizontal flip, drawn afresh for each image and applied to all at once.

Dimensions: N images kept, B images of a batch, C channels, H x W pixels, m the largest translation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import DataSource, InMemory, send
from ssl_isda.data.views import AUGMENTATIONS


@dataclass(frozen=True)
class Weak:
    """Translation by up to ``max_translation`` pixels along each axis and, if ``flip``, mirroring."""

    flip: bool
    max_translation: int = 2

    def draw(self, n: int, step: Step, purpose: str, flips_of: str | None = None) -> Tensor:
        """(n, 2 or 3): offsets down and across, from 0 to 2m; whether the image is mirrored."""
        generator = step.generator(f"{purpose} augmentation")
        draws = [draw_offsets(n, self.max_translation, generator)]
        if self.flip:
            draws.append(draw_flips(n, step.generator(f"{flips_of or purpose} flip"))[:, None])
        return torch.cat(draws, dim=1)

    def view(self, prepared: PreparedImages, indices: Tensor, draws: Tensor) -> Tensor:
        return prepared.finish(self.moved(prepared.source, indices, draws))

    def moved(self, source: DataSource, indices: Tensor, draws: Tensor) -> Tensor:
        """(n, C, H, W) of the source's own type on its device, in channels_last order.

        One gather from all images, padded once, where they are in memory.
        """
        margin = self.max_translation
        if isinstance(source, InMemory):
            padded = source.once(f"padded by {margin}", lambda all_: reflect_pad(all_, margin))
            sent = send(torch.cat([indices[:, None], draws], dim=1), source.device)
            places, sent = sent[:, 0], sent[:, 1:]
        else:
            padded = reflect_pad(source.fetch(indices), margin)
            places, sent = (
                torch.arange(len(indices), device=padded.device),
                send(draws, padded.device),
            )
        flips = sent[:, 2].bool() if self.flip else None
        return translate_and_flip(padded, places, sent[:, :2], flips, margin)


@AUGMENTATIONS.register("weak")
def weak(config: object, *, flip: bool, max_translation: int) -> Weak:
    """The augmentation with these settings of the run."""
    return Weak(flip, max_translation)


def reflect_pad(images: Tensor, max_translation: int) -> Tensor:
    """(N, C, H, W) to (N, C, H + 2m, W + 2m): mirrored at the edge pixels, which are not repeated.

    For any dtype (``torch.nn.functional.pad`` does not take uint8 everywhere); the result lies in
    channels_last order.

    Raises
    ------
    ValueError
        ``max_translation`` is negative or not smaller than height and width.
    """
    height, width = images.shape[-2:]
    if not 0 <= max_translation < min(height, width):
        raise ValueError(
            f"max_translation must be 0 to {min(height, width) - 1} for {height} x {width} pixels, "
            f"got {max_translation}"
        )
    rows = _mirrored(height, max_translation, images.device)
    columns = _mirrored(width, max_translation, images.device)
    return images.permute(0, 2, 3, 1)[:, rows[:, None], columns].contiguous().permute(0, 3, 1, 2)


def _mirrored(length: int, margin: int, device: torch.device) -> Tensor:
    """Source positions of -margin .. length + margin - 1 under reflection at 0 and length - 1."""
    last = length - 1
    return last - (last - torch.arange(-margin, length + margin, device=device).abs()).abs()


def draw_offsets(num_images: int, max_translation: int, generator: torch.Generator) -> Tensor:
    """(B, 2) int64 in 0 .. 2m: where each window begins, down and across; m is no translation."""
    return torch.randint(2 * max_translation + 1, (num_images, 2), generator=generator)


def draw_flips(num_images: int, generator: torch.Generator) -> Tensor:
    """(B,) bool, each True with probability one half."""
    return torch.randint(2, (num_images,), generator=generator).bool()


def translate_and_flip(
    padded: Tensor, indices: Tensor, offsets: Tensor, flips: Tensor | None, max_translation: int
) -> Tensor:
    """Cut one window out of each image of a batch and mirror some of them, in a single gather.

    Parameters
    ----------
    padded : (N, C, H + 2m, W + 2m) in channels_last order, what ``reflect_pad`` gave
    indices : (B,) int64, images of the batch
    offsets : (B, 2) int64, from ``draw_offsets``
    flips : (B,) bool, or None for no flips

    Returns
    -------
    (B, C, H, W) in channels_last order, of the dtype and on the device of ``padded``, like all
    arguments
    """
    num_channels, padded_height, padded_width = padded.shape[1:]
    height, width = padded_height - 2 * max_translation, padded_width - 2 * max_translation
    pixels = padded.permute(0, 2, 3, 1).view(-1, num_channels)
    dtype = torch.int32 if len(pixels) < 2**31 else torch.int64  # half the memory is faster
    rows = torch.arange(height, device=padded.device)
    columns = torch.arange(width, device=padded.device).expand(len(indices), width)
    if flips is not None:
        columns = torch.where(flips[:, None], width - 1 - columns, columns)
    rows = indices[:, None] * padded_height + offsets[:, :1] + rows  # (B, H), of all rows kept
    firsts, columns = (
        (rows * padded_width).to(dtype),
        (offsets[:, 1:] + columns).to(dtype),
    )  # (B, W)
    positions = firsts[:, :, None] + columns[:, None, :]  # (B, H, W), of all pixels
    batch = pixels.index_select(0, positions.flatten())
    return batch.view(len(indices), height, width, num_channels).permute(0, 3, 1, 2)
