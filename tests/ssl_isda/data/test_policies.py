"""RandAugment, AutoAugment and Cutout against the tables of torchvision, and where they act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_isda.base.step import Step
from ssl_isda.data.augmentations.policy import Policy
from ssl_isda.data.augmentations.pool import Choice
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.preprocessing import PREPROCESSINGS, prepare
from ssl_isda.data.views import AUGMENTATIONS
from tests.ssl_isda.data.conftest import pixels_of, streamed

STEP = Step(3, num_steps=10, steps_per_epoch=5)
INDICES = torch.tensor([5, 1, 7, 7, 0, 59, 12, 30])


def policy(name: str, *, flip: bool = False, max_translation: int = 0, **options: Any) -> Policy:
    config = AUGMENTATIONS.config(name)(**options)
    made = AUGMENTATIONS[name](config, flip=flip, max_translation=max_translation)
    assert isinstance(made, Policy)
    return made


def torchvisions(name: str, magnitude: float, is_signed: bool) -> tuple[str, float, bool]:
    """What one of its table entries is here."""
    name = {"AutoContrast": "autocontrast"}.get(name) or "".join(
        f"_{letter.lower()}" if letter.isupper() else letter for letter in name
    ).strip("_")
    factors = ("brightness", "color", "contrast", "sharpness")
    amount = {"solarize": magnitude / 255 * 256, "translate_x": magnitude / 32}.get(name, magnitude)
    amount = magnitude / 32 if name == "translate_y" else amount
    return name, amount + (name in factors), is_signed


def entry(choice: Choice) -> tuple[str, float, bool]:
    return choice.operation, choice.low + choice.around, choice.signed


def same(one: tuple[str, float, bool], other: tuple[str, float, bool]) -> bool:
    return one[::2] == other[::2] and abs(one[1] - other[1]) < 1e-5


def test_autoaugment_has_the_25_sub_policies_of_torchvision() -> None:
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy

    theirs = AutoAugment(AutoAugmentPolicy.CIFAR10)
    space = theirs._augmentation_space(10, (32, 32))
    pool = policy("autoaugment").pool
    expected = [each for sub_policy in theirs.policies for each in sub_policy]
    assert (pool.rounds, pool.together, len(pool.choices)) == (2, 2, 50)
    for choice, (name, probability, level) in zip(pool.choices, expected, strict=True):
        magnitudes, is_signed = space[name]
        magnitude = float(magnitudes[level]) if level is not None else 0.0
        assert same(entry(choice), torchvisions(name, magnitude, is_signed))
        assert choice.probability == probability


@pytest.mark.parametrize("magnitude", [0, 5, 10])
def test_randaugment_has_the_fourteen_operations_of_torchvision(magnitude: int) -> None:
    from torchvision.transforms import RandAugment

    space = RandAugment()._augmentation_space(11, (32, 32))  # 11 bins are the paper's scale
    pool = policy("randaugment", randaugment_magnitude=float(magnitude)).pool
    expected = {
        torchvisions(name, float(m[magnitude]) if m.ndim else 0.0, is_signed)
        for name, (m, is_signed) in space.items()
    }
    assert len(pool.choices) == len(expected) == 14
    assert all(any(same(entry(c), each) for each in expected) for c in pool.choices)


def test_randaugment_beyond_the_range() -> None:
    """M 14 of the paper: what no library's table has."""
    config = {"randaugment_operations": 2, "randaugment_magnitude": 14.0}
    pool = policy("randaugment", **config).pool
    found = {choice.operation: choice.low for choice in pool.choices}
    assert pool.rounds == 2 and found["rotate"] == pytest.approx(42) and found["posterize"] == 2
    assert found["brightness"] == pytest.approx(1.26) and found["solarize"] < 0
    images = torch.arange(14 * 48, dtype=torch.int64).view(14, 4, 4, 3).to(torch.uint8)
    draws = torch.tensor([[place, place, 0, 0, 1, 1] for place in range(14)])
    assert pool.apply(images, draws).shape == images.shape


@pytest.mark.parametrize("name", ["autoaugment", "randaugment"])
@pytest.mark.parametrize("preparation", sorted(PREPROCESSINGS))
def test_operations_see_pixels_and_the_square_is_the_last(
    name: str, preparation: str, data: ImageData, tmp_path: Path
) -> None:
    """Pixels, then their preparation, then the square, each image as if it were alone in memory."""
    made, bare = policy(name), policy(name, **{f"{name}_cutout": 0})
    draws = made.draw(len(INDICES), STEP, "view 0")
    prepared, _, fitted = prepare(preparation, data, tmp_path)
    count = 3 * made.pool.rounds
    pixels = pixels_of(data.train)[INDICES].permute(0, 2, 3, 1).contiguous()
    pixels = made.pool.apply(pixels, draws[:, :count]).permute(0, 3, 1, 2)
    expected = fitted(pixels.contiguous())
    without = torch.cat([draws[:, :count], draws[:, count + 2 :]], dim=1)
    torch.testing.assert_close(bare.view(prepared, INDICES, without), expected)
    found = made.view(prepared, INDICES, draws)
    hidden = (found == 0).all(1)
    torch.testing.assert_close(found, torch.where(hidden[:, None], 0, expected))
    assert (hidden.flatten(1).sum(1) <= 16).all() and hidden.sum() > 40  # 4 of 8 pixels a side
    if preparation != "zca":
        other = prepare(preparation, streamed(data), tmp_path).train
        assert torch.equal(made.view(other, INDICES, draws), found)


def test_without_a_policy_no_pixels_are_kept_for_it(data: ImageData, tmp_path: Path) -> None:
    """Those of the data set serve; nothing is copied or padded before a policy asks."""
    prepared = prepare("zca", data, tmp_path).train
    weak = AUGMENTATIONS["weak"](None, flip=True, max_translation=2)
    weak.view(prepared, INDICES, weak.draw(len(INDICES), STEP, "view 0"))
    raw = prepared.raw
    assert raw is not None and raw.labels is None
    assert pixels_of(raw).data_ptr() == pixels_of(data.train).data_ptr()
    assert "pixels" not in vars(prepared)


def test_prepared_numbers_are_no_pixels(data: ImageData) -> None:
    floats = PreparedImages(data.train.mapped(lambda images: images.float()))
    made = policy("randaugment")
    with pytest.raises(ValueError, match="pixels of 0 to 255"):
        made.view(floats, INDICES, made.draw(len(INDICES), STEP, "view 0"))


@pytest.mark.parametrize(("side", "expected"), [(32, 16), (96, 48), (9, 4), (1, 1)])
def test_the_square_grows_with_the_image(side: int, expected: int) -> None:
    square = policy("autoaugment").square
    assert square is not None
    images = torch.ones(1, 2, side, side + 3).to(memory_format=torch.channels_last)
    square.hide(images, torch.full((1, 2), 1 << 30))
    assert (images == 0).sum() == 2 * expected**2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["autoaugment", "randaugment"])
def test_a_gpu_gives_the_same_and_is_never_waited_for(name: str, data: ImageData, tmp_path) -> None:
    made, prepared = policy(name, flip=True, max_translation=2), prepare("scale", data, tmp_path)
    there = prepared.train.to("cuda")
    draws = [made.draw(8, Step(k, 10, 5), "view 0") for k in range(9)]
    made.view(there, INDICES, draws[0])
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [made.view(there, INDICES, each) for each in draws]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for each, result in zip(draws, found, strict=True):
        torch.testing.assert_close(result.cpu(), made.view(prepared.train, INDICES, each))
