"""A user's folder of tiny images, a small data set in memory, and the same set streamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_isda import plugins
from ssl_isda.data.images.image_data import DATASETS, ImageData
from ssl_isda.data.source import InMemory
from ssl_isda.data.streaming import Streaming

MakeFolder = Callable[..., Path]
plugins.load()


def load(name: str, data_dir: Path, **options: object) -> ImageData:
    """A data set by name, with its options."""
    return DATASETS[name](DATASETS.config(name)(**options), data_dir)


def save_image(path: Path, seed: int) -> None:
    """8 x 8 random colours."""
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Writes train, test and unlabeled PNG images of 8 x 8 pixels; returns the data folder."""

    def make(
        classes: tuple[str, ...] = ("cat", "dog"), per_class: int = 3, unlabeled: int = 2
    ) -> Path:
        root = tmp_path / "images"
        seed = 0
        for part, count in (("train", per_class), ("test", 1)):
            for name in classes:
                for k in range(count):
                    seed += 1
                    save_image(root / part / name / f"{k}.png", seed)
        for k in range(unlabeled):
            save_image(root / "unlabeled" / f"{k}.png", 100 + k)
        return root

    return make


@pytest.fixture
def data() -> ImageData:
    """60 random training images of 3 x 8 x 8, 20 test images, 4 classes; every sixth is unlabeled."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 4
    labels[::6] = -1
    return ImageData.from_arrays(
        "tiny",
        ["a", "b", "c", "d"],
        (rng.integers(0, 256, (60, 3, 8, 8), np.uint8), labels),
        (rng.integers(0, 256, (20, 3, 8, 8), np.uint8), np.arange(20) % 4),
    )


def streamed(data: ImageData, most_kept: int = 15) -> ImageData:
    """The same images, of which few are kept at once."""

    def source(images: InMemory) -> Streaming:
        assert images.labels is not None
        decode = [image.numpy() for image in images.images].__getitem__
        made = Streaming(decode, images.shape, images.labels, images.fingerprint)
        made.most_kept = most_kept
        return made

    assert isinstance(data.train, InMemory) and isinstance(data.test, InMemory)
    return ImageData(data.name, data.class_names, source(data.train), source(data.test))


def pixels_of(source: object) -> torch.Tensor:
    """All images of a source in memory."""
    assert isinstance(source, InMemory)
    return source.images
