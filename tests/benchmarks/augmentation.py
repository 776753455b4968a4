"""Augmentation and preparation of a whole batch against the usual transforms, image by image."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.data import augmentations as augmentations
from ssl_isda.data.augmentations.weak import (
    draw_flips,
    draw_offsets,
    reflect_pad,
    translate_and_flip,
)
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import InMemory
from ssl_isda.data.views import AUGMENTATIONS
from tests.benchmarks.measurement import Row, Settings, interleaved

TARGET = 1 / 20
NUM_IMAGES, BATCH_SIZE, MARGIN = 2_000, 128, 2
NUM_STRONG, OPERATIONS = 448, 2
"""FixMatch's unlabeled batch, 7 times 64, and operations on each image."""
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def measure(settings: Settings) -> list[Row]:
    """Two rows; both sides on the CPU, where the images of every usual loader are.

    Raises
    ------
    AssertionError
        The same draws do not give the same images.
    """
    images = torch.randint(256, (NUM_IMAGES, 3, 32, 32), dtype=torch.uint8)
    ours, reference = _batched(images), _per_image(images)
    _check_agreement(images)
    weak = f"translate, flip, normalize {BATCH_SIZE} images"
    strong = f"RandAugment and Cutout too, {NUM_STRONG} images"
    cases = (
        (weak, BATCH_SIZE, {"ours": ours, "reference": reference}),
        (
            strong,
            NUM_STRONG,
            {"ours": _policy(images), "reference": _per_image(images, strong=True)},
        ),
    )
    on_cpu = dataclasses.replace(settings, device=torch.device("cpu"))
    return [
        Row("augmentation", case, seconds["ours"], seconds["reference"], TARGET, number)
        for case, number, sides in cases
        for seconds in [interleaved(sides, on_cpu)]
    ]


def _batched(images: Tensor) -> Callable[[], Tensor]:
    padded = reflect_pad(images, MARGIN)
    prepared = _prepared(images)
    generator = torch.Generator()

    def call() -> Tensor:
        indices = torch.randint(NUM_IMAGES, (BATCH_SIZE,), generator=generator)
        offsets = draw_offsets(BATCH_SIZE, MARGIN, generator)
        flips = draw_flips(BATCH_SIZE, generator)
        return prepared.finish(translate_and_flip(padded, indices, offsets, flips, MARGIN))

    return call


def _policy(images: Tensor) -> Callable[[], Tensor]:
    config = AUGMENTATIONS.config("randaugment")(randaugment_operations=OPERATIONS)
    made = AUGMENTATIONS["randaugment"](config, flip=True, max_translation=MARGIN)
    prepared, steps = _prepared(images), itertools.count()

    def call() -> Tensor:
        indices = torch.randint(NUM_IMAGES, (NUM_STRONG,))
        draws = made.draw(NUM_STRONG, Step(next(steps), 1 << 40, 100), "view 0")
        return made.view(prepared, indices, draws)

    return call


def _per_image(images: Tensor, *, strong: bool = False) -> Callable[[], Tensor]:
    from PIL import Image
    from torchvision import transforms

    arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=MARGIN, padding_mode="reflect"),
            transforms.RandomHorizontalFlip(),
            *([transforms.RandAugment(OPERATIONS, 5, 11)] if strong else []),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
            *([transforms.RandomErasing(1, (0.25, 0.25), (1, 1))] if strong else []),
        ]
    )
    number = NUM_STRONG if strong else BATCH_SIZE

    def call() -> Tensor:
        indices = torch.randint(NUM_IMAGES, (number,)).tolist()
        return torch.stack([transform(Image.fromarray(arrays[i])) for i in indices])

    return call


def _check_agreement(images: Tensor) -> None:
    """Ours for four draws, and torchvision's functions given the same draws."""
    from torchvision.transforms import functional as F

    offsets, flips = torch.tensor([[0, 4], [2, 2], [3, 1], [4, 0]]), torch.tensor([0, 1, 1, 0]) > 0
    padded = reflect_pad(images[:4], MARGIN)
    ours = _prepared(images).finish(
        translate_and_flip(padded, torch.arange(4), offsets, flips, MARGIN)
    )
    for image, (top, left), flip, result in zip(
        images, offsets.tolist(), flips, ours, strict=False
    ):
        crop = F.crop(F.pad(F.to_pil_image(image), MARGIN, 0, "reflect"), top, left, 32, 32)
        crop = F.hflip(crop) if flip else crop
        torch.testing.assert_close(result, F.normalize(F.to_tensor(crop), MEAN, STD))


def _prepared(images: Tensor) -> PreparedImages:
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return PreparedImages(InMemory(images), 1 / (255 * std), -mean / std)
