from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.data import whitening
from ssl_isda.data.image_data import ImageData
from ssl_isda.data.preprocessing import PREPROCESSINGS, PreparedImages, prepare
from ssl_isda.data.whitening import fit_whitening


def values(prepared: PreparedImages) -> np.ndarray:
    return prepared.finish(prepared.images).double().numpy()


def with_constant_image(data: ImageData) -> ImageData:
    images = data.train_images.numpy().copy()
    images[0] = 200
    train = (images, data.train_labels.numpy())
    test = (data.test_images.numpy(), data.test_labels.numpy())
    return ImageData.from_arrays("tiny", data.class_names, train, test)


def test_names() -> None:
    assert sorted(PREPROCESSINGS) == ["normalize", "scale", "standardize", "zca"]
    with pytest.raises(UsageError, match="did you mean 'normalize'"):
        prepare("normalise", None, Path())  # type: ignore[arg-type]


def test_zca_is_the_formula(data: ImageData, tmp_path: Path) -> None:
    train, test = prepare("zca", data, tmp_path)
    x = data.train_images.flatten(1).numpy() / 255.0
    mean = x.mean(0)
    s, u = np.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    w = u @ np.diag(1 / np.sqrt(s + 1e-5)) @ u.T
    assert np.allclose(values(train).reshape(60, -1), (x - mean) @ w, atol=1e-3)
    y = data.test_images.flatten(1).numpy() / 255.0
    expected = (y - mean) @ w
    assert np.abs(values(test).reshape(20, -1) - expected).max() < 1e-5 * np.abs(expected).max()
    assert train.images.dtype == torch.float32 and train.scale is None


def test_zca_whitens() -> None:
    """More images than values: the covariance of the result is the identity, up to epsilon."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (5000, 1, 4, 4), generator=generator, dtype=torch.uint8)
    images[:, :, 1:] = images[:, :, 1:] // 2 + images[:, :, :-1] // 2
    flat = fit_whitening(images).apply(images).flatten(1).double()
    covariance = flat.T @ flat / len(flat)
    assert (covariance - torch.eye(16)).abs().max() < 2e-3
    assert flat.mean(0).abs().max() < 1e-5


def test_zca_chunks_do_not_show(data: ImageData, monkeypatch) -> None:
    whole = fit_whitening(data.train_images)
    monkeypatch.setattr(whitening, "CHUNK_IMAGES", 7)
    parts = fit_whitening(data.train_images)
    assert torch.allclose(whole.matrix, parts.matrix, atol=1e-7)
    expected, found = whole.apply(data.test_images), parts.apply(data.test_images)
    assert torch.allclose(expected, found, rtol=0, atol=1e-3)


def test_zca_float32_product_is_close_to_float64(data: ImageData) -> None:
    fitted = fit_whitening(data.train_images)
    exact = (data.test_images.flatten(1).double() / 255 - fitted.mean) @ fitted.matrix
    error = (fitted.apply(data.test_images).flatten(1) - exact).abs().max()
    assert error < 1e-5 * exact.abs().max()


def test_zca_is_fitted_and_applied_once_and_says_so(
    data: ImageData, tmp_path: Path, capfd, monkeypatch
) -> None:
    first = prepare("zca", data, tmp_path / "cache")
    assert "fitting ZCA whitening to 60 images of 192 values" in capfd.readouterr().err

    def must_not(*images: torch.Tensor) -> None:
        raise AssertionError("again")

    monkeypatch.setattr(whitening, "fit_whitening", must_not)
    with pytest.raises(AssertionError, match="again"):
        prepare("zca", with_constant_image(data), tmp_path / "cache")
    capfd.readouterr()
    monkeypatch.setattr(whitening.Whitening, "apply", must_not)
    second = prepare("zca", data, tmp_path / "cache")
    for before, now in zip(first, second, strict=True):
        assert torch.equal(before.images, now.images)
    assert capfd.readouterr().err == ""


def test_zca_with_other_test_images_is_applied_again(
    data: ImageData, tmp_path: Path, capfd
) -> None:
    _, before = prepare("zca", data, tmp_path)
    other = replace(data, test_images=255 - data.test_images)
    _, found = prepare("zca", other, tmp_path)
    expected = fit_whitening(data.train_images).apply(other.test_images)
    assert torch.equal(found.images, expected) and not torch.equal(found.images, before.images)
    assert capfd.readouterr().err.count("fitting") == 1


@pytest.mark.parametrize(("pattern", "fitted"), [("*", 2), ("zca-images-*", 1)])
def test_zca_from_a_damaged_cache_is_computed_again(
    data: ImageData, tmp_path: Path, capfd, pattern: str, fitted: int
) -> None:
    first = prepare("zca", data, tmp_path)
    for path in tmp_path.glob(f"{pattern}/*.npy"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    second = prepare("zca", data, tmp_path)
    for before, now in zip(first, second, strict=True):
        assert torch.equal(before.images, now.images)
    assert capfd.readouterr().err.count("fitting") == fitted


def test_zca_refuses_large_images(tmp_path: Path) -> None:
    images = np.zeros((2, 3, 65, 65), np.uint8)
    part = (images, np.zeros(2))
    large = ImageData.from_arrays("large", ["a"], part, part)
    with pytest.raises(UsageError, match="at most 12288 values"):
        prepare("zca", large, tmp_path)


def test_standardize(data: ImageData, tmp_path: Path) -> None:
    data = with_constant_image(data)
    train, test = prepare("standardize", data, tmp_path)
    x = data.train_images[1:].numpy().astype(np.float64)
    axes = {"axis": (1, 2, 3), "keepdims": True}
    expected = (x - x.mean(**axes)) / x.std(**axes)
    assert np.allclose(values(train)[1:], expected, atol=1e-5)
    assert (values(train)[0] == 0).all()
    assert np.abs(values(test).mean((1, 2, 3))).max() < 1e-5


def test_scale(data: ImageData, tmp_path: Path) -> None:
    train, test = prepare("scale", data, tmp_path)
    assert train.images.dtype == torch.uint8
    for prepared, images in ((train, data.train_images), (test, data.test_images)):
        assert np.allclose(values(prepared), (images.numpy() - 127.5) / 255, atol=1e-6)


def test_normalize(data: ImageData, tmp_path: Path) -> None:
    train, test = prepare("normalize", data, tmp_path)
    x = data.train_images.numpy().astype(np.float64)
    mean, std = x.mean((0, 2, 3), keepdims=True), x.std((0, 2, 3), keepdims=True)
    assert train.images.dtype == torch.uint8
    assert np.allclose(values(train), (x - mean) / std, atol=1e-5)
    assert np.allclose(values(test), (data.test_images.numpy() - mean) / std, atol=1e-5)


@pytest.mark.parametrize("name", ["zca", "standardize", "scale", "normalize"])
def test_black_images_stay_finite(name: str, tmp_path: Path) -> None:
    part = (np.zeros((4, 1, 4, 4), np.uint8), np.zeros(4))
    train, _ = prepare(name, ImageData.from_arrays("black", ["a"], part, part), tmp_path)
    assert np.isfinite(values(train)).all()
