"""Every operation against Pillow's own result, image by image, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from ssl_isda.data.augmentations.pool import OPERATIONS, Choice, Pool

N = 24


def affine(*matrix: float) -> Callable[[Any], Any]:
    return lambda image: image.transform(
        image.size, Image.Transform.AFFINE, matrix, fillcolor=grey(image)
    )


def grey(image: Any) -> int | tuple[int, ...]:
    return 128 if image.mode == "L" else (128, 128, 128)


def raised(image: Any, addend: float) -> Any:
    """Pillow has no function for it."""
    return image.point(
        [min(255, max(0, x + int(addend))) if x < 128 else x for x in range(256)]
        * len(image.getbands())
    )


PILLOW: dict[str, Callable[[Any, float], Any]] = {
    "identity": lambda image, _: image,
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "invert": lambda image, _: ImageOps.invert(image),
    "posterize": lambda image, bits: ImageOps.posterize(image, int(bits)),
    "solarize": ImageOps.solarize,
    "solarize_add": raised,
    "brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "color": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    "rotate": lambda image, degrees: image.rotate(degrees, fillcolor=grey(image)),
    "shear_x": lambda image, amount: affine(1, amount, 0, 0, 1, 0)(image),
    "shear_y": lambda image, amount: affine(1, 0, 0, amount, 1, 0)(image),
    "translate_x": lambda image, share: affine(1, 0, share * image.width, 0, 1, 0)(image),
    "translate_y": lambda image, share: affine(1, 0, 0, 0, 1, share * image.height)(image),
}
RANGES = {
    "posterize": (1, 8.999),
    "solarize": (-20, 256),
    "solarize_add": (-110, 110),
    **dict.fromkeys(("brightness", "color", "contrast", "sharpness"), (-0.3, 2.3)),
    "rotate": (-200, 200),
    **dict.fromkeys(("shear_x", "shear_y", "translate_x", "translate_y"), (-0.6, 0.6)),
}


def pictures(channels: int, height: int, width: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(len(kind) + channels)
    shape = (N, height, width, channels)
    if kind == "flat":
        return np.broadcast_to(rng.integers(0, 256, (N, 1, 1, channels)), shape).astype(np.uint8)
    if kind == "dull":
        low, high = np.sort(rng.integers(0, 256, (2, N, 1, 1, channels)), axis=0)
        return rng.integers(low, high + 1, shape).astype(np.uint8)
    return rng.integers(0, 256, shape).astype(np.uint8)


def amounts(name: str) -> np.ndarray:
    """Random ones, and the round ones of tables."""
    low, high = RANGES.get(name, (0, 0))
    drawn = np.random.default_rng(0).uniform(low, high, N)
    drawn[::2] = np.round(drawn[::2], 1)
    drawn[:4] = {"rotate": [0, 90, 180, -45]}.get(name, drawn[:4])
    return np.trunc(drawn) if name in ("solarize_add",) else drawn


def ours(name: str, images: np.ndarray, values: np.ndarray) -> np.ndarray:
    """As a pool applies it."""
    pool = Pool(tuple(Choice(name, float(value)) for value in values), rounds=1)
    draws = torch.tensor([[place, 0, 0] for place in range(len(values))])
    return pool.apply(torch.from_numpy(images), draws).numpy()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_pillows(name: str, channels: int) -> None:
    values, changed = amounts(name), False
    for height, width, kind in ((32, 32, "noise"), (9, 14, "dull"), (5, 4, "flat"), (2, 1, "dull")):
        images = pictures(channels, height, width, kind)
        found = ours(name, images, values)
        changed |= not np.array_equal(found, images)
        for image, value, result in zip(images, values, found, strict=True):
            pillow = Image.fromarray(image if channels == 3 else image[..., 0])
            expected = np.asarray(PILLOW[name](pillow, float(value))).reshape(image.shape)
            assert np.array_equal(result, expected), (name, value, height, width)
    assert changed or name == "identity" or (name, channels) == ("color", 1)


@pytest.mark.parametrize("channels", [2, 4, 7])
@pytest.mark.parametrize("name", OPERATIONS)
def test_other_numbers_of_channels(name: str, channels: int) -> None:
    """As of each channel alone, but for contrast, which has one mean, and color, which needs three."""
    images, values = pictures(channels, 8, 6, "dull"), amounts(name)
    found = ours(name, images, values)
    if name == "contrast":
        mean = np.floor(images.mean((1, 2, 3)) + 0.5).reshape(N, 1, 1, 1)
        expected = mean + values.reshape(N, 1, 1, 1) * (images - mean)
        assert np.abs(found - np.clip(np.trunc(expected), 0, 255)).max() <= 1
    elif name == "color":
        assert np.array_equal(found, images)
    else:
        alone = [ours(name, images[..., c : c + 1].copy(), values) for c in range(channels)]
        assert np.array_equal(found, np.concatenate(alone, axis=3))


def test_each_image_has_its_own_operations_in_its_own_order() -> None:
    """All images at once, as one image after the other."""
    images = torch.from_numpy(pictures(3, 12, 10, "noise"))
    names = ("equalize", "rotate", "identity", "shear_x", "color", "posterize")
    pool = Pool(
        tuple(Choice(name, 0.3, 4.0, signed=name == "rotate", probability=0.7) for name in names),
        rounds=4,
    )
    kept, draws = images.clone(), pool.draw(N, torch.Generator().manual_seed(1))
    found = pool.apply(images, draws)
    assert torch.equal(images, kept)
    for k in range(N):
        alone = images[k : k + 1]
        for r in range(4):
            alone = Pool(pool.choices, rounds=1).apply(alone, draws[k : k + 1, [r, 4 + r, 8 + r]])
        assert torch.equal(found[k], alone[0])


def test_amounts_signs_and_coins_are_fair() -> None:
    n = 40_000
    choice = Choice("translate_x", 0.1, 0.4, around=1.0, signed=True, probability=0.75)
    pool = Pool((choice, Choice("identity")), rounds=1)
    draws = pool.draw(n, torch.Generator().manual_seed(0))
    ((operation, amount),) = pool._drawn(draws)
    done = operation == list(OPERATIONS).index("translate_x")
    assert abs(done.double().mean() - 0.375) < 0.012
    distance = (amount - 1)[done]
    assert distance.abs().min() >= 0.1 and distance.abs().max() < 0.4
    assert abs((distance > 0).double().mean() - 0.5) < 0.02
    assert abs(distance.abs().mean() - 0.25) < 0.003
    assert pool.apply(torch.zeros(0, 4, 4, 3, dtype=torch.uint8), draws[:0]).shape == (0, 4, 4, 3)
