"""A small folder of images with masks: two coloured squares on grey noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ((90, 90, 90), (200, 60, 60), (60, 60, 220))


def example(rng: np.random.Generator, side: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """(side, side, 3) pixels and (side, side) classes; the first row has none."""
    mask = np.zeros((side, side), np.uint8)
    for c in (1, 2):
        top, left = rng.integers(1, side - 8, 2)
        mask[top : top + 8, left : left + 8] = c
    pixels = np.array(COLOURS)[mask] + rng.integers(-30, 30, (side, side, 3))
    mask[0] = 255
    return pixels.clip(0, 255).astype(np.uint8), mask


def make(root: Path, *, train: int = 6, test: int = 3, unlabeled: int = 2, side: int = 24) -> Path:
    """The folder; images are called 0.png and so on."""
    rng = np.random.default_rng(0)
    for part, number in (("train", train), ("test", test)):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
        for k in range(number):
            pixels, mask = example(rng, side)
            Image.fromarray(pixels).save(root / part / "images" / f"{k}.png")
            Image.fromarray(mask).save(root / part / "masks" / f"{k}.png")
    (root / "unlabeled").mkdir()
    for k in range(unlabeled):
        Image.fromarray(example(rng, side)[0]).save(root / "unlabeled" / f"{k}.png")
    return root
