"""Rotation, shear and translation of a whole batch, each image by an amount of its own.

As Pillow's ``Image.rotate`` and ``Image.transform`` with the nearest pixel: for each pixel of the result
its place in the image is computed in 65536ths of a pixel. What lies outside is filled with grey.
Height and width together are at most 16,000 pixels.

Dimensions: n images, h x w pixels, c channels, as in ``operations``. A warp's parameters
are (n, 6) float64: xx, xy, x0, yx, yy, y0 in 65536ths, so that result pixel (x, y) is image pixel
(x0 + xx x + xy y, y0 + yx x + yy y), rounded down.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FILL = 128
ONE = 65536
"""One pixel."""


def warp(images: Tensor, parameters: Tensor) -> Tensor:
    """(n, h, w, c) uint8 to the same, by ``parameters``."""
    n, height, width, channels = images.shape
    framed = images.new_full((n, height + 2, width + 2, channels), FILL)
    framed[:, 1:-1, 1:-1] = images
    xx, xy, x0, yx, yy, y0 = parameters.to(torch.int32)[:, :, None, None].unbind(1)
    x, y = (_count(length, images.device) for length in (width, height))
    column = (xx * x + (xy * y[:, None] + x0)) >> 16
    row = (yx * x + (yy * y[:, None] + y0)) >> 16
    column.clamp_(-1, width).add_(1)
    row.clamp_(-1, height).add_(1).mul_(width + 2).add_(column)
    row += _count(n, images.device)[:, None, None] * ((height + 2) * (width + 2))
    return framed.view(-1, channels).index_select(0, row.flatten()).view_as(images)


def _count(length: int, device: torch.device) -> Tensor:
    """int32, which takes half the time of PyTorch's usual indices."""
    return torch.arange(length, dtype=torch.int32, device=device)


def rotation(degrees: Tensor, height: int, width: int) -> Tensor:
    """(n,) counterclockwise to (n, 6): about the middle of the image."""
    radians = -(degrees % 360) * (math.pi / 180)
    cosine, sine = (_rounded(f(radians)) for f in (torch.cos, torch.sin))
    x, y = width / 2, height / 2
    return _fixed(
        *(cosine, sine, x - (cosine * x + sine * y)),
        *(-sine, cosine, y - (cosine * y - sine * x)),
    )


def shear_x(amount: Tensor, height: int, width: int) -> Tensor:
    """(n,) to (n, 6): row y is taken from ``amount`` times y to the right."""
    one, zero = torch.ones_like(amount), torch.zeros_like(amount)
    return _fixed(one, amount, zero, zero, one, zero)


def shear_y(amount: Tensor, height: int, width: int) -> Tensor:
    """(n,) to (n, 6): column x is taken from ``amount`` times x below."""
    one, zero = torch.ones_like(amount), torch.zeros_like(amount)
    return _fixed(one, zero, zero, amount, one, zero)


def translation_x(share: Tensor, height: int, width: int) -> Tensor:
    """(n,) to (n, 6): taken from this share of the width to the right, to the nearest pixel."""
    one, zero = torch.ones_like(share), torch.zeros_like(share)
    return _fixed(one, zero, (share * width + 0.5).floor(), zero, one, zero)


def translation_y(share: Tensor, height: int, width: int) -> Tensor:
    """(n,) to (n, 6): taken from this share of the height below, to the nearest pixel."""
    one, zero = torch.ones_like(share), torch.zeros_like(share)
    return _fixed(one, zero, zero, zero, one, (share * height + 0.5).floor())


def _rounded(values: Tensor) -> Tensor:
    """To 15 places, as Pillow does before it goes on."""
    return values.round(decimals=15)


def _fixed(xx: Tensor, xy: Tensor, x0: Tensor, yx: Tensor, yy: Tensor, y0: Tensor) -> Tensor:
    """In 65536ths; places are those of the pixels' middles."""
    x0, y0 = x0 + (xx + xy) * 0.5, y0 + (yx + yy) * 0.5
    return (torch.stack([xx, xy, x0, yx, yy, y0], dim=1) * ONE + 0.5).floor()
