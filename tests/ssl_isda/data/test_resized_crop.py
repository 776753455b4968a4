"""Random resized crops against torchvision's, image by image, and in policies that begin with them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.data.augmentations.resized_crop import TRIES, ResizedCrop, cropped, resized, windows
from ssl_isda.data.augmentations.weak import Weak
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preprocessing import prepare
from ssl_isda.data.source import InMemory
from ssl_isda.data.views import AUGMENTATIONS
from tests.ssl_isda.data.conftest import streamed

STEP = Step(3, num_steps=10, steps_per_epoch=5)
INDICES = torch.tensor([5, 1, 7, 7, 0, 59, 12, 30])


def torchvisions(image: Tensor, window: list[int], flip: bool) -> Tensor:
    from torchvision.transforms.functional import hflip, resized_crop

    crop = resized_crop(image, *window, list(image.shape[-2:]), antialias=True)
    return hflip(crop) if flip else crop


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 64, 96), (4, 70, 33)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_like_torchvision_image_by_image(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    crop = ResizedCrop(flip=True)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (40, *shape), generator=generator).to(dtype)
    indices, draws = torch.arange(40).flip(0), crop.draw(40, STEP, "view 0")
    found = crop.moved(InMemory(images), indices, draws)
    drawn = windows(draws[:, :-1], *shape[1:], crop.smallest).tolist()
    flips = draws[:, -1].bool().tolist()
    pairs = zip(images.flip(0).float(), drawn, flips, strict=True)
    expected = torch.stack([torchvisions(*each) for each in pairs])
    assert found.dtype == dtype and found.is_contiguous(memory_format=torch.channels_last)
    if dtype == torch.float32:
        assert (found - expected).abs().max() < 0.01
        return
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.51)  # to the nearest level
    theirs = torch.stack(
        [torchvisions(*each) for each in zip(images.flip(0), drawn, flips, strict=True)]
    )
    assert (found.float() - theirs.float()).abs().max() <= 1


def test_the_whole_image_stays_as_it_is() -> None:
    images = torch.randint(256, (2, 3, 9, 7), dtype=torch.uint8)
    whole, flips = torch.tensor([[0, 0, 9, 7]]).expand(2, 4), torch.tensor([False, True])
    assert torch.equal(resized(images, whole, flips), torch.stack([images[0], images[1].flip(2)]))


def one_window(numbers: list[float], height: int, width: int, smallest: float) -> list[int]:
    """As torchvision's ``RandomResizedCrop.get_params`` does with numbers below 1."""
    *tries, down, across = numbers
    for share, shape in zip(tries[:TRIES], tries[TRIES:], strict=True):
        area = height * width * (smallest + (1 - smallest) * share)
        ratio = math.exp(math.log(3 / 4) + shape * (math.log(4 / 3) - math.log(3 / 4)))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            return [int(down * (height - h + 1)), int(across * (width - w + 1)), h, w]
    h, w = height, width
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * (4 / 3))
    return [(height - h) // 2, (width - w) // 2, h, w]


@pytest.mark.parametrize("size", [(64, 64), (96, 32), (32, 96), (64, 80)])
@pytest.mark.parametrize("smallest", [0.08, 1.0])
def test_windows_are_drawn_as_torchvision_draws_them(size, smallest: float) -> None:
    draws = ResizedCrop(flip=False).draw(300, STEP, "view 0")
    expected = [one_window((row / 2**31).tolist(), *size, smallest) for row in draws.double()]
    assert windows(draws, *size, smallest).tolist() == expected
    draws[:5] = 2**31 - 1
    top, left, high, wide = windows(draws[:5], *size, smallest).unbind(1)
    assert (top + high <= size[0]).all() and (left + wide <= size[1]).all()


@pytest.mark.parametrize("name", ["weak", "cutout", "strong", "autoaugment"])
@pytest.mark.parametrize("preparation", ["normalize", "zca"])
def test_policies_begin_with_the_crop(
    name: str, preparation: str, data: ImageData, tmp_path: Path
) -> None:
    """As if the images had been cropped before they were prepared; streamed as in memory."""
    made = AUGMENTATIONS[name](AUGMENTATIONS.config(name)(), flip=True, max_translation=2)
    with_crop, crop = cropped(made, 0.3), ResizedCrop(True, 0.3)
    draws = with_crop.draw(len(INDICES), STEP, "view 0")
    before, own, after = draws.split(
        {"cutout": [0, 23, 2], "weak": [0, 23, 0]}.get(name, [8, 23, 0]), 1
    )
    moved = InMemory(crop.moved(data.train, INDICES, own).contiguous())
    prepared, _, fitted = prepare(preparation, data, tmp_path)
    still = Weak(flip=False, max_translation=0)
    plain = still if name == "weak" else replace(made, weak=still)
    draws_of_rest = torch.cat([before, torch.zeros_like(own[:, :2]), after], dim=1)
    expected = plain.view(fitted.of(moved), torch.arange(len(INDICES)), draws_of_rest)
    found = with_crop.view(prepared, INDICES, draws)
    torch.testing.assert_close(found, expected)
    if preparation == "normalize":
        other = prepare(preparation, streamed(data), tmp_path).train
        assert torch.equal(with_crop.view(other, INDICES, draws), found)


def test_what_does_not_translate_is_left_alone() -> None:
    config = AUGMENTATIONS.config("vector_noise")()
    assert cropped(AUGMENTATIONS["vector_noise"](config, flip=True, max_translation=0), 0.1) is None
