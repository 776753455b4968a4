"""Operations on pixels, of a whole batch at once, each image with a parameter of its own.

They give what Pillow's functions give for each image alone, to the bit for grey and RGB images; where an
operation needs colour, its docstring says what it does with other numbers of channels. What Pillow
computes in C floats is computed in float32 here, its doubles in float64, its integers in integers.

Dimensions: n images, h x w pixels, c channels; images are uint8 (n, h, w, c), contiguous, and parameters
float64 (n, 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMINANCE = (19595, 38470, 7471)
"""Shares of red, green and blue in 65536ths of the luminance: ITU-R 601-2, rounded as Pillow rounds."""


def identity(images: Tensor, parameters: Tensor) -> Tensor:
    """The images."""
    return images


def invert(images: Tensor, parameters: Tensor) -> Tensor:
    """255 - x."""
    return images ^ 255


def solarize(images: Tensor, parameters: Tensor) -> Tensor:
    """255 - x where x is at least the threshold, x elsewhere."""
    values = images.flatten(1)
    at_least = values >= parameters.ceil().to(torch.int16)
    return (values ^ at_least.view(torch.uint8).neg_()).view_as(images)


def solarize_add(images: Tensor, parameters: Tensor) -> Tensor:
    """x + the addend, at most 255 and at least 0, where x is below 128; x elsewhere."""
    values = images.flatten(1)
    added = (values < 128) * parameters.to(torch.int16)
    return added.add_(values).clamp_(0, 255).to(torch.uint8).view_as(images)


def posterize(images: Tensor, parameters: Tensor) -> Tensor:
    """The upper bits of x, so many as the parameter says, 0 to 8; the others are 0."""
    lost = 2.0 ** (8 - parameters.floor().clamp_(0, 8))
    return (images.flatten(1) & (256 - lost).to(torch.uint8)).view_as(images)


def brightness(images: Tensor, parameters: Tensor) -> Tensor:
    """The factor times x: 0 is black, 1 the image."""
    return _bytes(images.flatten(1) * parameters.float()).view_as(images)


def contrast(images: Tensor, parameters: Tensor) -> Tensor:
    """From the image's mean grey (factor 0) to the image (1) and beyond.

    The grey is the mean luminance of RGB images, and the mean of all values otherwise.
    """
    values, grey = images.flatten(1).float(), images.flatten(1)
    if images.shape[-1] == 3:
        grey = luminance(values.view_as(images)).flatten(1)
    mean = (grey.mean(1, dtype=torch.float64, keepdim=True) + 0.5).floor_()
    return _blended(mean.float(), values, parameters).view_as(images)


def color(images: Tensor, parameters: Tensor) -> Tensor:
    """From the image's luminance (factor 0) to the image (1) and beyond.

    Grey images, which are their luminance, stay what they are; so do images of other than 3 channels,
    which have none.
    """
    if images.shape[-1] != 3:
        return images
    values = images.float()
    grey = luminance(values)[..., None].expand_as(values).flatten(1)
    return _blended(grey, values.flatten(1), parameters).view_as(images)


def sharpness(images: Tensor, parameters: Tensor) -> Tensor:
    """From the smoothed image (factor 0) to the image (1) and beyond.

    Smoothed is each pixel's mean with its eight neighbours, its own weight 5 of 13; pixels at the edge
    stay.
    """
    if min(images.shape[1:3]) < 3:
        return images
    values = images.float()
    sums = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    sums = sums[:, :, :-2] + sums[:, :, 1:-1] + sums[:, :, 2:] + 4 * values[:, 1:-1, 1:-1]
    smooth = values.clone()
    smooth[:, 1:-1, 1:-1] = sums.add_(6.5).div_(13).floor_()
    return _blended(smooth.flatten(1), values.flatten(1), parameters).view_as(images)


def autocontrast(images: Tensor, parameters: Tensor) -> Tensor:
    """Each channel stretched so that its darkest value is 0 and its brightest 255."""
    planes = images.permute(0, 3, 1, 2).flatten(2)  # (n, c, h w)
    low, high = planes.amin(2).double(), planes.amax(2).double()
    is_flat = high <= low
    # A number divided by a tensor would be multiplied by its reciprocal, which rounds twice.
    scale = torch.full_like(low, 255).div_((high - low).masked_fill_(is_flat, 255))
    offset = (-low * scale).masked_fill_(is_flat, 0)
    stretched = (
        images.flatten(2).double().mul_(_in_a_row(scale, images)).add_(_in_a_row(offset, images))
    )
    return stretched.to(torch.uint8).view_as(images)


def equalize(images: Tensor, parameters: Tensor) -> Tensor:
    """Each channel's values by their ranks, so that all greys occur about equally often."""
    n, channels = len(images), images.shape[-1]
    first = torch.arange(0, 256 * n * channels, 256, device=images.device).view(n, channels)
    places = (
        images.flatten(2) + _in_a_row(first, images)
    ).flatten()  # in the tables of all channels
    counts = torch.zeros(256 * n * channels, device=images.device)
    counts.scatter_add_(
        0, places, torch.ones_like(places, dtype=torch.float32)
    )  # in any order the same
    tables = _equalizing(counts.view(-1, 256).double()).flatten()
    return tables.index_select(0, places).view_as(images)


def _equalizing(counts: Tensor) -> Tensor:
    """(m, 256) uint8: the value that each value becomes, from how often it occurs. Divisions of whole
    numbers in float64, which is faster and exact."""
    below = counts.cumsum(1) - counts
    values = torch.arange(256, dtype=torch.float64, device=counts.device)
    brightest = (values * (counts > 0)).amax(1, keepdim=True)
    step = (
        below.gather(1, brightest.long()) / 255
    ).floor_()  # all but the brightest, shared by 255
    equal = ((below + (step / 2).floor_()) / step.clamp(min=1)).floor_().clamp_(max=255)
    return torch.where(step > 0, equal, values).to(torch.uint8)


def luminance(values: Tensor) -> Tensor:
    """(n, h, w, 3) float32 to (n, h, w), whole numbers; all sums are exact, being below 2^24."""
    red, green, blue = values.unbind(3)
    r, g, b = LUMINANCE
    return (red * r).add_(green * g).add_(blue * b).add_(1 << 15).div_(1 << 16).floor_()


def _in_a_row(values: Tensor, images: Tensor) -> Tensor:
    """(n, c) to (n, 1, w c), for one row of pixels: tensors whose last axis is long are fast."""
    return values.repeat(1, images.shape[2])[:, None]


def _blended(start: Tensor, values: Tensor, factors: Tensor) -> Tensor:
    """start + factor (values - start), of float32, as bytes."""
    return _bytes((values - start).mul_(factors.float()).add_(start))


def _bytes(values: Tensor) -> Tensor:
    """Cut off to 0 .. 255 and to whole numbers."""
    return values.clamp_(0, 255).to(torch.uint8)
