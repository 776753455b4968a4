"""Images of a folder that are decoded when a step needs them, against torchvision's DataLoader.

Both stretch JPEGs of 500 x 375 pixels to 224 x 224 by Pillow's antialiased bilinear filter, translate
them by up to 8 pixels with reflection, mirror half of them, and normalize. Ours gives the batches of a
run, on ``NUM_WORKERS`` threads; the reference is a DataLoader over ``datasets.ImageFolder`` with as
many worker processes, which stay alive from pass to pass. No image is kept from one pass to the next.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.data import streaming
from ssl_isda.data.augmentations.weak import Weak
from ssl_isda.data.batches import TwoStreamBatches
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.splits import Split
from ssl_isda.datasets.folder import Config, folder
from tests.benchmarks.measurement import Row, Settings, interleaved

TARGET = 1.0
NUM_IMAGES, BATCH, SIDE, MARGIN = 512, 64, 224, 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NUM_WORKERS = streaming.NUM_THREADS


def measure(settings: Settings, num_images: int = NUM_IMAGES, batch: int = BATCH) -> list[Row]:
    """One row: seconds of a pass through a folder of ``num_images`` images."""
    settings = dataclasses.replace(settings, whole_processes=True, seconds=0)
    with tempfile.TemporaryDirectory() as place:
        make_folder(Path(place), num_images)
        calls = {"ours": _ours(Path(place), batch), "reference": _reference(Path(place), batch)}
        seconds = interleaved(calls, settings)
    case = f"{SIDE} px from JPEG, {NUM_WORKERS} workers each"
    images = num_images // batch * batch
    return [Row("loader", case, seconds["ours"], seconds["reference"], TARGET, images)]


def make_folder(place: Path, num_images: int, num_test: int = 4) -> None:
    """``train/a``, ``train/b`` and ``test`` with JPEGs of smooth noise, about 60 kB each."""
    from PIL import Image

    draws = np.random.default_rng(0)
    for part, count in (("train", num_images), ("test", num_test)):
        for k in range(count):
            coarse = Image.fromarray(draws.integers(0, 256, (47, 63, 3), np.uint8))
            image = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC)).astype(int)
            image += draws.integers(-12, 13, image.shape)
            path = place / part / "ab"[k % 2] / f"{k}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path, quality=85)


def _ours(place: Path, batch: int) -> Callable[[], Tensor]:
    data = folder(Config(image_size=SIDE, streaming=True), place)
    assert isinstance(data.train, streaming.Streaming) and data.train.labels is not None
    data.train.most_kept = 4 * batch
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    prepared = PreparedImages(data.train, 1 / (255 * std), -mean / std)
    batches = TwoStreamBatches(
        prepared,
        data.train.labels,
        Split("folder", "", 0, labeled=(0, 1)),
        labeled_batch_size=1,
        unlabeled_batch_size=batch,
        seed=0,
        augmentation=Weak(flip=True, max_translation=MARGIN),
    )
    epochs = itertools.count()

    def call() -> Tensor:
        first = next(epochs) * batches.steps_per_epoch
        steps = range(first, first + batches.steps_per_epoch)
        views = [batches.batch(Step(k, 1 << 40, batches.steps_per_epoch)).views[0] for k in steps]
        return views[-1]

    return call


def _reference(place: Path, batch: int) -> Callable[[], Tensor]:
    from torchvision import datasets, transforms

    transform = transforms.Compose(
        [
            transforms.Resize((SIDE, SIDE)),
            transforms.RandomCrop(SIDE, padding=MARGIN, padding_mode="reflect"),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    return passes_of(datasets.ImageFolder(str(place / "train"), transform), batch)


def passes_of(data: torch.utils.data.Dataset[Any], batch: int) -> Callable[[], Tensor]:
    """A call for each pass of a DataLoader through the data; gives the last images."""
    loader = torch.utils.data.DataLoader(
        data,
        *(batch, True),
        num_workers=NUM_WORKERS,
        persistent_workers=True,
        drop_last=True,
    )

    def passes() -> Iterator[Tensor]:
        while True:
            yield [images for images, _ in loader][-1]

    going = passes()
    return lambda: next(going)
