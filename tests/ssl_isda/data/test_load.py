from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.data.facts import FACTS, dataset_names
from ssl_isda.data.image_data import DATASETS, ImageData
from ssl_isda.data.load import load


def test_every_name_of_the_catalog_has_a_loader() -> None:
    assert sorted(DATASETS) == sorted(dataset_names())


def test_unknown_name_and_foreign_options(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'cifar10'"):
        load("cifar-10", tmp_path)
    with pytest.raises(UsageError, match="'svhn' only"):
        load("digits", tmp_path, svhn_extra=True)
    with pytest.raises(UsageError, match="'folder' only"):
        load("digits", tmp_path, image_size=32)


def test_digits_is_what_the_catalog_says(tmp_path: Path) -> None:
    data = load("digits", tmp_path / "absent")
    facts = FACTS["digits"]
    shape = (facts.num_train_images, facts.channels, facts.image_size, facts.image_size)
    assert data.train_images.shape == shape
    assert data.train_images.dtype == torch.uint8
    assert len(data.class_names) == facts.num_classes
    assert torch.bincount(data.train_labels).min() == facts.fewest_per_class
    assert torch.bincount(data.test_labels).tolist() == [45] * 10
    assert data.train_images.is_contiguous()


def test_digits_golden_checksum(tmp_path: Path) -> None:
    """The same pixels and division on every machine, whatever its numpy."""
    digest = "285d292f2fbae3fb24102fc630f29dbb23facf7156f0beaf1af3667a57271cec"
    assert load("digits", tmp_path).checksum == digest


def test_digits_use_every_image_once(tmp_path: Path) -> None:
    data = load("digits", tmp_path)
    assert len(data.train_images) + len(data.test_images) == 1797
    assert data.train_images.max() == 255


def test_enlarge_is_bilinear() -> None:
    from ssl_isda.datasets.digits import enlarge

    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4), np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images)[:, None].double(), scale_factor=2, mode="bilinear"
    )[:, 0]
    assert np.abs(enlarge(images) - expected.numpy()).max() <= 0.5


def test_checksum_sees_pixels_labels_and_shape() -> None:
    def checksum(images: np.ndarray, labels: list[int]) -> str:
        part = (images, np.array(labels))
        return ImageData.from_arrays("x", ["a"], part, part).checksum

    images = np.zeros((2, 1, 2, 4), np.uint8)
    changed = images.copy()
    changed[1, 0, 1, 3] = 1
    digests = {
        checksum(images, [0, 0]),
        checksum(changed, [0, 0]),
        checksum(images, [0, -1]),
        checksum(images.reshape(2, 1, 4, 2), [0, 0]),
    }
    assert len(digests) == 4
