"""How an image is brought to the size that a network takes, in words that a run keeps.

"bilinear" stretches the whole image by Pillow's filter of that name. "bilinear 256" keeps its
proportions: the shorter side becomes 256 pixels long, and the middle is cut out, as ImageNet's
evaluation has it. Filters are antialiased.
"""

from __future__ import annotations

from typing import Any


def of_size(image: Any, size: tuple[int, int], how: str) -> Any:
    """A Pillow image at (width, height).

    Parameters
    ----------
    how : name of the filter, as Pillow has it, and the length of the shorter side, if proportions stay
    """
    name, _, shorter = how.partition(" ")
    return _middle(image, size, name, int(shorter)) if shorter else stretched(image, size, name)


def in_words(how: str) -> str:
    """What ``of_size`` does, for people."""
    name, _, shorter = how.partition(" ")
    if not shorter:
        return f"stretched to the size by Pillow's antialiased {name} filter"
    return (
        f"the shorter side brought to {shorter} pixels by Pillow's antialiased {name} filter, and the "
        "middle cut out"
    )


def stretched(image: Any, size: tuple[int, int], name: str) -> Any:
    """To (width, height), by the filter ``name``; as it is where it has the size already."""
    from PIL import Image

    if image.size == size:
        return image
    return image.resize(size, Image.Resampling[name.upper()])


def _middle(image: Any, size: tuple[int, int], name: str, shorter: int) -> Any:
    """As torchvision's ``Resize(shorter)`` and ``CenterCrop`` have it."""
    width, height = image.size
    smaller = min(width, height)
    image = stretched(image, (shorter * width // smaller, shorter * height // smaller), name)
    left, top = (
        round((length - wanted) / 2) for length, wanted in zip(image.size, size, strict=True)
    )
    return image.crop((left, top, left + size[0], top + size[1]))
