"""Images and masks that are decoded when a step needs them, for sets that are larger than the memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from ssl_isda.base.void import VOID
from ssl_isda.data.folder.walk import shown
from ssl_isda.data.masks.decoding import Size
from ssl_isda.data.streaming import Streaming


def streamed_pairs(
    root: Path,
    pairs: Sequence[tuple[Path, Path | None]],
    labels: Tensor,
    size: Size,
    image_of: Callable[[Path, Size], np.ndarray],
    mask_of: Callable[[Path, Size], np.ndarray],
) -> tuple[Streaming, Streaming]:
    """The images, (3, h, w), and the masks, (1, h, w); all void where a pair has no mask.

    Parameters
    ----------
    pairs : an image, and its mask or None
    labels : (N,) int64, 0 where an image has a mask and -1 where it has none
    image_of, mask_of : decode a file to the size
    """
    masks = [mask for _, mask in pairs]

    def mask_at(place: int) -> np.ndarray:
        path = masks[place]
        found = np.full(size, VOID, np.uint8) if path is None else mask_of(path, size)
        return found[None]

    images = Streaming(
        lambda place: image_of(pairs[place][0], size),
        (3, *size),
        labels,
        _fingerprint(root, [image for image, _ in pairs]),
        name=lambda place: shown(pairs[place][0]),
    )
    of_masks = _fingerprint(root, [mask for mask in masks if mask is not None])
    return images, Streaming(
        mask_at,
        (1, *size),
        labels,
        of_masks,
        name=lambda place: shown(masks[place] or pairs[place][0]),
    )


def _fingerprint(root: Path, paths: Sequence[Path]) -> str:
    """SHA-256 over names and sizes of files whose content is published and does not change."""
    entries = [[path.relative_to(root).as_posix(), os.stat(path).st_size] for path in paths]
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()
