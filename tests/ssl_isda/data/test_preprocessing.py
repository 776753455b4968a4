from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_isda.base.errors import UsageError
from ssl_isda.data import whitening
from ssl_isda.data.images.decoding import decode
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preparation import FILE_NAME, Preparation, PreparedImages
from ssl_isda.data.preprocessing import PREPROCESSINGS, prepare
from ssl_isda.data.source import InMemory
from ssl_isda.data.whitening import fit_whitening
from tests.ssl_isda.data.conftest import pixels_of, streamed

NAMES = ["zca", "standardize", "scale", "normalize"]


def values(prepared: PreparedImages) -> np.ndarray:
    return prepared.finish(pixels_of(prepared.source)).double().numpy()


def with_constant_image(data: ImageData) -> ImageData:
    images = pixels_of(data.train).clone()
    images[0] = 200
    return replace(data, train=InMemory(images, data.train.labels))


def test_names() -> None:
    assert sorted(PREPROCESSINGS) == ["imagenet", "normalize", "scale", "standardize", "zca"]
    with pytest.raises(UsageError, match="did you mean 'normalize'"):
        prepare("normalise", None, Path())  # type: ignore[arg-type]


def test_zca_is_the_formula(data: ImageData, tmp_path: Path) -> None:
    train, test, _ = prepare("zca", data, tmp_path)
    x = pixels_of(data.train).flatten(1).numpy() / 255.0
    mean = x.mean(0)
    s, u = np.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    w = u @ np.diag(1 / np.sqrt(s + 1e-5)) @ u.T
    assert np.allclose(values(train).reshape(60, -1), (x - mean) @ w, atol=1e-3)
    y = pixels_of(data.test).flatten(1).numpy() / 255.0
    expected = (y - mean) @ w
    assert np.abs(values(test).reshape(20, -1) - expected).max() < 1e-5 * np.abs(expected).max()
    assert pixels_of(train.source).dtype == torch.float32 and train.scale is None


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
    whole = fit_whitening(pixels_of(data.train))
    monkeypatch.setattr(whitening, "CHUNK_IMAGES", 7)
    parts = fit_whitening(pixels_of(data.train))
    assert torch.allclose(whole.matrix, parts.matrix, atol=1e-7)
    expected, found = whole.apply(pixels_of(data.test)), parts.apply(pixels_of(data.test))
    assert torch.allclose(expected, found, rtol=0, atol=1e-3)


def test_zca_float32_product_is_close_to_float64(data: ImageData) -> None:
    fitted = fit_whitening(pixels_of(data.train))
    exact = (pixels_of(data.test).flatten(1).double() / 255 - fitted.mean) @ fitted.matrix
    error = (fitted.apply(pixels_of(data.test)).flatten(1) - exact).abs().max()
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
    for before, now in zip(first[:2], second[:2], strict=True):
        assert torch.equal(pixels_of(before.source), pixels_of(now.source))
    assert capfd.readouterr().err == ""


def test_zca_with_other_test_images_is_applied_again(
    data: ImageData, tmp_path: Path, capfd
) -> None:
    _, before, _ = prepare("zca", data, tmp_path)
    other = replace(data, test=InMemory(255 - pixels_of(data.test), data.test.labels))
    _, found, _ = prepare("zca", other, tmp_path)
    expected = fit_whitening(pixels_of(data.train)).apply(pixels_of(other.test))
    assert torch.equal(pixels_of(found.source), expected) and not torch.equal(
        pixels_of(found.source), pixels_of(before.source)
    )
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
    for before, now in zip(first[:2], second[:2], strict=True):
        assert torch.equal(pixels_of(before.source), pixels_of(now.source))
    assert capfd.readouterr().err.count("fitting") == fitted


def test_zca_refuses_large_images(tmp_path: Path) -> None:
    images = np.zeros((2, 3, 65, 65), np.uint8)
    part = (images, np.zeros(2))
    large = ImageData.from_arrays("large", ["a"], part, part)
    with pytest.raises(UsageError, match="at most 12288 values"):
        prepare("zca", large, tmp_path)


def test_standardize(data: ImageData, tmp_path: Path) -> None:
    data = with_constant_image(data)
    train, test, _ = prepare("standardize", data, tmp_path)
    x = pixels_of(data.train)[1:].numpy().astype(np.float64)
    axes = {"axis": (1, 2, 3), "keepdims": True}
    expected = (x - x.mean(**axes)) / x.std(**axes)
    assert np.allclose(values(train)[1:], expected, atol=1e-5)
    assert (values(train)[0] == 0).all()
    assert np.abs(values(test).mean((1, 2, 3))).max() < 1e-5


def test_scale(data: ImageData, tmp_path: Path) -> None:
    train, test, _ = prepare("scale", data, tmp_path)
    assert pixels_of(train.source).dtype == torch.uint8
    for prepared, images in ((train, pixels_of(data.train)), (test, pixels_of(data.test))):
        assert np.allclose(values(prepared), (images.numpy() - 127.5) / 255, atol=1e-6)


def test_normalize(data: ImageData, tmp_path: Path) -> None:
    train, test, _ = prepare("normalize", data, tmp_path)
    x = pixels_of(data.train).numpy().astype(np.float64)
    mean, std = x.mean((0, 2, 3), keepdims=True), x.std((0, 2, 3), keepdims=True)
    assert pixels_of(train.source).dtype == torch.uint8
    assert np.allclose(values(train), (x - mean) / std, atol=1e-5)
    assert np.allclose(values(test), (pixels_of(data.test).numpy() - mean) / std, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_black_images_stay_finite(name: str, tmp_path: Path) -> None:
    part = (np.zeros((4, 1, 4, 4), np.uint8), np.zeros(4))
    train, _, _ = prepare(name, ImageData.from_arrays("black", ["a"], part, part), tmp_path)
    assert np.isfinite(values(train)).all()


def test_zca_refuses_streamed_images(data: ImageData, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose --preprocessing normalize"):
        prepare("zca", streamed(data), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_kept_preparation_gives_the_bits_of_training(
    name: str, data: ImageData, tmp_path: Path
) -> None:
    """However few images it is called with, and of another size as of files of that size."""
    prepared = prepare(name, data, tmp_path / "cache")
    prepared.preparation.save(tmp_path / FILE_NAME)
    kept = Preparation.read(tmp_path)
    assert (kept.name, kept.shape, kept.class_names) == (name, (3, 8, 8), ("a", "b", "c", "d"))
    images = pixels_of(data.test)
    expected = prepared.test.finish(pixels_of(prepared.test.source))
    for size in (20, 7, 2, 1):
        found = torch.cat([kept(part) for part in images.split(size)])
        assert torch.equal(found, expected)
    assert kept(images[:0]).shape == (0, 3, 8, 8)
    large = torch.randint(256, (1, 3, 20, 11), dtype=torch.uint8)
    Image.fromarray(large[0].permute(1, 2, 0).numpy()).save(tmp_path / "large.png")
    file = torch.from_numpy(decode(tmp_path / "large.png", 8).copy())[None]
    assert torch.equal(kept(large), kept(file))
    grey = kept(images[:, :1])
    assert torch.equal(grey, kept(images[:, :1].expand(-1, 3, -1, -1).contiguous()))
    with pytest.raises(ValueError, match="must be torch"):
        kept(expected)


def test_a_preparation_that_is_missing_or_damaged_is_one_line(
    data: ImageData, tmp_path: Path, monkeypatch
) -> None:
    with pytest.raises(UsageError, match=r"version 0\.1: it needs its data once"):
        Preparation.read(tmp_path)
    prepare("scale", data, tmp_path).preparation.save(tmp_path / FILE_NAME)
    content = (tmp_path / FILE_NAME).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    for damaged in (b"", content[:-40], b"text"):
        (tmp_path / FILE_NAME).write_bytes(damaged)
        with pytest.raises(UsageError, match="cannot be read"):
            Preparation.read(tmp_path)
    monkeypatch.setattr("ssl_isda.data.preparation.FORMAT_VERSION", 2)
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(UsageError, match="its version is not 2"):
        Preparation.read(tmp_path)
