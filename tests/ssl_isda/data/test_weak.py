from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_isda.data.augmentations.weak import (
    draw_flips,
    draw_offsets,
    reflect_pad,
    translate_and_flip,
)


def one_by_one(
    images: np.ndarray, indices: list[int], offsets: list[list[int]], flips: list[bool], m: int
) -> np.ndarray:
    """The obvious way: pad one image, cut one window, mirror it."""
    height, width = images.shape[-2:]
    results = []
    for index, (down, across), flip in zip(indices, offsets, flips, strict=True):
        padded = np.pad(images[index], ((0, 0), (m, m), (m, m)), mode="reflect")
        window = padded[:, down : down + height, across : across + width]
        results.append(window[:, :, ::-1] if flip else window)
    return np.stack(results)


@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.sampled_from([1, 3]),
    height=st.integers(4, 9),
    width=st.integers(4, 9),
    m=st.integers(0, 3),
    dtype=st.sampled_from([torch.uint8, torch.float32]),
)
@settings(max_examples=60, deadline=None)
def test_like_one_image_after_the_other(
    seed: int, channels: int, height: int, width: int, m: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (6, channels, height, width), generator=generator).to(dtype)
    indices = torch.randint(6, (10,), generator=generator)
    offsets = draw_offsets(10, m, generator)
    flips = draw_flips(10, generator)
    batch = translate_and_flip(reflect_pad(images, m), indices, offsets, flips, m)
    drawn = (indices.tolist(), offsets.tolist(), flips.tolist())
    assert np.array_equal(batch.numpy(), one_by_one(images.numpy(), *drawn, m))
    assert batch.dtype == dtype
    unflipped = translate_and_flip(reflect_pad(images, m), indices, offsets, None, m)
    drawn = (indices.tolist(), offsets.tolist(), [False] * 10)
    assert np.array_equal(unflipped.numpy(), one_by_one(images.numpy(), *drawn, m))


def test_reflection_does_not_repeat_the_edge() -> None:
    row = torch.arange(4).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    assert reflect_pad(row, 2)[0, 0, 0].tolist() == [2, 1, 0, 1, 2, 3, 2, 1]


def test_result_is_channels_last() -> None:
    padded = reflect_pad(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), 2)
    generator = torch.Generator().manual_seed(0)
    batch = translate_and_flip(padded, torch.arange(5), draw_offsets(5, 2, generator), None, 2)
    assert padded.is_contiguous(memory_format=torch.channels_last)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_empty_batch() -> None:
    none = torch.empty(0, dtype=torch.int64)
    padded = reflect_pad(torch.zeros(5, 3, 8, 8), 2)
    assert translate_and_flip(padded, none, none.view(0, 2), none.bool(), 2).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("m", [-1, 4])
def test_translation_beyond_the_image(m: int) -> None:
    with pytest.raises(ValueError, match="0 to 3"):
        reflect_pad(torch.zeros(1, 1, 4, 8), m)


def test_draws_are_uniform_and_separate_for_each_image() -> None:
    generator = torch.Generator().manual_seed(0)
    offsets = draw_offsets(50_000, 2, generator)
    counts = torch.bincount(offsets[:, 0] * 5 + offsets[:, 1], minlength=25)
    assert (counts - 2000).abs().max() < 5 * 2000**0.5
    assert abs(draw_flips(50_000, generator).float().mean() - 0.5) < 5 * 0.5 / 50_000**0.5
