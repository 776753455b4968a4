"""Whether images fit into memory: told in one line before they are allocated."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

from ssl_isda.base.memory import available_bytes, fitting
from ssl_isda.parallel.launch import num_on_this_machine

SMALLEST = 8
"""Pixels a side, below which no image size is advised."""


def room_for_files(count: int, image_size: int) -> AbstractContextManager[None]:
    """The block that decodes so many colour images of a folder. Raises as ``fitting``."""
    advice = "--streaming decodes images when a step needs them"
    free = available_bytes()
    if free is not None and count:
        side = math.isqrt(free // num_on_this_machine() // (3 * count))
        advice += f", or --image-size {side} fits" * (SMALLEST <= side < image_size)
    what = f"{count:,} images of {image_size} x {image_size} pixels"
    return fitting(3 * count * image_size**2, what, advice, num_on_this_machine())


def room_for_numbers(
    count: int, shape: tuple[int, ...], preprocessing: str
) -> AbstractContextManager[None]:
    """The block that makes float32 numbers of so many images. Raises as ``fitting``."""
    advice = "--preprocessing normalize or scale keeps them as bytes, a quarter of that"
    if preprocessing != "zca":
        advice += "; of a folder, --streaming or a smaller --image-size fits"
    size = " x ".join(map(str, shape))
    what = f"{count:,} images of {size} values, prepared by {preprocessing},"
    return fitting(4 * count * math.prod(shape), what, advice, num_on_this_machine())


def room_for_data(dataset: str, num_bytes: int) -> AbstractContextManager[None]:
    """The block that loads a data set of about so many bytes, 0 where nobody knows. Raises as
    ``fitting``."""
    advice = "give the program more, or take a smaller data set"
    return fitting(num_bytes, f"the images of {dataset}", advice, num_on_this_machine())
