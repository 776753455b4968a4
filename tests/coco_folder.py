"""A folder in COCO's layout without a download: noughts and ones, cut out by their masks, on photographs.

Both come with scikit-learn. Nothing of the training images is in the test images: see
``datasets/photo_digits.py``, whose parts these are, larger here and with a box and a mask for each digit.

    python -m tests.coco_folder digits_coco 60 40
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssl_isda.datasets.photo_digits import _digits, _photographs

SIDE, NUM_DIGITS = 64, 2
FOLDERS = ("train2017", "val2017")


def write(folder: Path, num_train: int, num_test: int) -> Path:
    """The folder, whose category 10 (k + 1) is the digit k."""
    photographs, (digits, labels) = _photographs(), _digits()
    digits, labels = digits[labels < NUM_DIGITS], labels[labels < NUM_DIGITS]
    is_test = np.arange(len(labels)) % 4 == 3
    (folder / "annotations").mkdir(parents=True)
    for name, number, chosen in zip(
        FOLDERS, (num_train, num_test), (~is_test, is_test), strict=True
    ):
        (folder / name).mkdir()
        rng = np.random.default_rng(FOLDERS.index(name))
        images, annotations = [], []
        for image in range(1, number + 1):
            pixels = _ground(photographs, name, rng)
            masks = _laid(pixels, digits[chosen], labels[chosen], rng)
            for digit, mask in masks:
                annotations.append(_annotation(len(annotations) + 1, image, digit, mask))
            file = f"{image:06d}.png"
            Image.fromarray(pixels).save(folder / name / file)
            images.append({"id": image, "file_name": file, "height": SIDE, "width": SIDE})
        categories = [{"id": 10 * (k + 1), "name": str(k)} for k in range(NUM_DIGITS)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"annotations/instances_{name}.json").write_text(json.dumps(content))
    return folder


def _ground(photographs: list[np.ndarray], name: str, rng: np.random.Generator) -> np.ndarray:
    """A window of a photograph: of its left two thirds for training."""
    photo = photographs[rng.integers(len(photographs))]
    split = int(photo.shape[1] * 2 / 3)
    part = photo[:, :split] if name == FOLDERS[0] else photo[:, split:]
    top, left = (int(rng.integers(length - SIDE + 1)) for length in part.shape[:2])
    return part[top : top + SIDE, left : left + SIDE].astype(np.uint8)


def _laid(
    pixels: np.ndarray, digits: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[int, np.ndarray]]:
    """One or two digits, none over another, each in its own colour on ``pixels``; and their masks."""
    free = np.ones((SIDE, SIDE), bool)
    for _ in range(rng.integers(1, 3)):
        which, times = int(rng.integers(len(digits))), int(rng.integers(2, 4))
        grey = digits[which].repeat(times, 0).repeat(times, 1)
        top, left = rng.integers(SIDE - len(grey) + 1, size=2)
        place = (slice(top, top + len(grey)), slice(left, left + len(grey)))
        if not free[place].all():
            continue
        free[place] = False
        colour = rng.integers(256, size=3)
        amount = grey[:, :, None]
        pixels[place] = (pixels[place] * (16 - amount) + colour * amount) // 16
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[place] = grey > 4
        yield int(labels[which]), mask


def _annotation(number: int, image: int, digit: int, mask: np.ndarray) -> dict[str, Any]:
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = [columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
    flat = mask.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *ends, flat.size]).tolist()
    return {
        "id": number,
        "image_id": image,
        "category_id": 10 * (digit + 1),
        "bbox": [int(each) for each in box],
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": {"size": [SIDE, SIDE], "counts": [0] * int(flat[0]) + lengths},
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
