from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_isda.base.step import Step
from ssl_isda.data.amounts import Amounts
from ssl_isda.data.augmentations.weak import Weak, reflect_pad
from ssl_isda.data.batch import Batch
from ssl_isda.data.batches import TwoStreamBatches, evaluation_batches
from ssl_isda.data.generated import Generated
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.preprocessing import prepare
from ssl_isda.data.splits import make_split
from ssl_isda.data.views import AUGMENTATIONS, View
from tests.ssl_isda.data.conftest import pixels_of, streamed


def split_of(data: ImageData, validation_fraction: float = 0.0):
    return make_split(
        data.train.labels,
        num_classes=4,
        amounts=Amounts(16),
        seed=0,
        dataset=data.name,
        checksum=data.train.fingerprint,
        validation_fraction=validation_fraction,
    )


def make(
    data: ImageData,
    prepared: PreparedImages | None = None,
    *,
    flip: bool = True,
    max_translation: int = 2,
    validation_fraction: float = 0.0,
    **options: Any,
) -> TwoStreamBatches:
    return TwoStreamBatches(
        prepared or PreparedImages(data.train),
        data.train.labels,
        split_of(data, validation_fraction),
        labeled_batch_size=6,
        unlabeled_batch_size=10,
        seed=0,
        augmentation=Weak(flip, max_translation),
        **options,
    )


TWO, SHARED = (View(), View()), (View(), View(same_flip_as=0))
NOISY = (View(noise=0.15), View(noise=0.15))


def step(index: int, seed: int = 0) -> Step:
    return Step(index, num_steps=100, steps_per_epoch=6, seed=seed)


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [batch.images, batch.labels, *batch.views, batch.indices]


def equal(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def is_view_of(view: torch.Tensor, image: torch.Tensor, m: int = 2) -> bool:
    """Whether ``view`` is one of the translations and flips of ``image``, by trying all."""
    padded = reflect_pad(image[None].float(), m)[0]
    size = image.shape[-1]
    windows = [
        padded[:, down : down + size, across : across + size]
        for down in range(2 * m + 1)
        for across in range(2 * m + 1)
    ]
    return any(torch.equal(view, w) or torch.equal(view, w.flip(-1)) for w in windows)


def test_images_belong_to_their_labels_and_indices(data: ImageData) -> None:
    batches = make(data, views=TWO)
    for index in range(8):
        batch = batches.batch(step(index))
        chosen = batches.sampler.labeled(index)
        assert torch.equal(batch.labels, data.train.labels[chosen])
        assert all(map(is_view_of, batch.images, pixels_of(data.train)[chosen]))
        for view in batch.views:
            assert all(map(is_view_of, view, pixels_of(data.train)[batch.indices]))
        assert batch.images.shape == (6, 3, 8, 8)
        assert batch.views[0].shape == (10, 3, 8, 8)


def test_a_batch_is_a_pure_function_of_the_step(data: ImageData) -> None:
    wishes = {"views": NOISY}
    one, other = make(data, **wishes), make(data, **wishes)
    expected = [one.batch(step(index)) for index in range(14)]
    torch.manual_seed(123)
    for index in (13, 2, 7, 2, 0):
        assert equal(other.batch(step(index)), expected[index])
    assert not equal(one.batch(step(3, seed=1)), expected[3])


def test_global_generator_is_left_alone(data: ImageData) -> None:
    before = torch.get_rng_state()
    make(data, views=NOISY).batch(step(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_views_differ_and_number_of_views_changes_nothing_else(data: ImageData) -> None:
    one, two = make(data, views=(View(),)).batch(step(4)), make(data, views=TWO).batch(step(4))
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.views[0], two.views[0])
    assert not torch.equal(two.views[0], two.views[1])


def test_no_views(data: ImageData) -> None:
    batches = make(data, views=())
    batch = batches.batch(step(0))
    assert batch.views == ()
    assert batch.indices.shape == (0,) and batch.indices.dtype == torch.int64
    assert batches.steps_per_epoch == 6
    assert torch.equal(batch.images, make(data, views=(View(),)).batch(step(0)).images)


@pytest.mark.parametrize("shares_flip", [False, True])
def test_shared_flips(data: ImageData, shares_flip: bool) -> None:
    """Without translation the views are equal exactly if they are flipped alike."""
    batches = make(data, views=SHARED if shares_flip else TWO, max_translation=0)
    pairs = [batches.batch(step(index)).views for index in range(6)]
    same = torch.cat([(a == b).flatten(1).all(1) for a, b in pairs])
    assert same.all() if shares_flip else 0.2 < same.float().mean() < 0.8
    flipped = [
        torch.equal(view, pixels_of(data.train)[index].float().flip(-1))
        for k in range(6)
        for view, index in zip(pairs[k][0], batches.batch(step(k)).indices, strict=True)
    ]
    assert 0.2 < sum(flipped) / len(flipped) < 0.8


def test_shared_flips_keep_translations_apart(data: ImageData) -> None:
    views = make(data, views=SHARED).batch(step(0)).views
    assert not torch.equal(*views)


def test_without_flip_and_translation_images_are_themselves(data: ImageData) -> None:
    batch = make(data, flip=False, max_translation=0).batch(step(0))
    assert torch.equal(batch.views[0], pixels_of(data.train)[batch.indices].float())


def test_pointwise_preparation_comes_after_the_gather(data: ImageData, tmp_path) -> None:
    prepared, _, _ = prepare("normalize", data, tmp_path)
    batch = make(data, prepared, flip=False, max_translation=0).batch(step(0))
    assert prepared.scale is not None and prepared.shift is not None
    expected = pixels_of(data.train)[batch.indices].float() * prepared.scale + prepared.shift
    assert torch.allclose(batch.views[0], expected, atol=1e-6)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_noise_is_on_every_input_and_differs(data: ImageData) -> None:
    plain = make(data, views=TWO).batch(step(1))
    noisy = make(data, views=NOISY).batch(step(1))
    noises = [
        noisy.images - plain.images,
        *(a - b for a, b in zip(noisy.views, plain.views, strict=True)),
    ]
    for noise in noises:
        assert 0.13 < noise.std() < 0.17
    assert not torch.equal(noises[1], noises[2])
    assert noisy.images.is_contiguous(memory_format=torch.channels_last)


def test_labels_of_unlabeled_images_are_nowhere(data: ImageData) -> None:
    """Neither in a batch, nor in any storage that a batch shares, nor in the object itself."""
    batches = make(data)
    labeled = set(split_of(data).labeled)
    batch = batches.batch(step(0))
    known = {"images", "labels", "views", "indices", "labeled_views", "targets"}
    assert {f.name for f in dataclasses.fields(batch)} == known and batch.targets == ()
    assert batch.labels.untyped_storage().nbytes() == batch.labels.numel() * 8
    others = [k for k in range(60) if k not in labeled]
    assert (batches._labels[others] == -1).all()


def test_validation_images_are_never_drawn(data: ImageData) -> None:
    split = split_of(data, validation_fraction=0.25)
    batches = make(data, validation_fraction=0.25)
    drawn = {k for i in range(40) for k in batches.batch(step(i)).indices.tolist()}
    drawn |= {k for i in range(40) for k in batches.sampler.labeled(i).tolist()}
    assert drawn == set(range(60)) - set(split.validation)


def test_batch_outlives_changes_to_itself(data: ImageData) -> None:
    batches = make(data, max_translation=0, flip=False)
    expected = batches.batch(step(0)).views[0].clone()
    batches.batch(step(0)).views[0].zero_()
    assert torch.equal(batches.batch(step(0)).views[0], expected)


def test_evaluation_batches(data: ImageData, tmp_path) -> None:
    _, test, _ = prepare("scale", data, tmp_path)
    found = list(evaluation_batches(test, data.test.labels, batch_size=8))
    assert [len(labels) for _, labels in found] == [8, 8, 4]
    assert torch.equal(torch.cat([labels for _, labels in found]), data.test.labels)
    images = torch.cat([images for images, _ in found])
    assert torch.allclose(images, (pixels_of(data.test).float() - 127.5) / 255, atol=1e-6)
    assert found[0][0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("most_kept", [1, 15, 1000])
@pytest.mark.parametrize("name", ["normalize", "standardize", "scale"])
def test_streamed_images_give_the_same_batches_from_any_step(
    data: ImageData, tmp_path: Path, name: str, most_kept: int
) -> None:
    """After a resume, which begins anywhere with nothing decoded, and whatever was forgotten."""
    few = streamed(data, most_kept)
    in_memory = make(data, prepare(name, data, tmp_path).train, views=NOISY)
    prepared = prepare(name, few, tmp_path)
    other = make(few, prepared.train, views=NOISY)
    for index in (0, 1, 2, 3, 50, 51, 7, 99):
        assert equal(in_memory.batch(step(index)), other.batch(step(index)))
        assert few.train.num_kept <= max(most_kept, 16)  # type: ignore[attr-defined]
    chosen = torch.tensor([3, 59, 4])
    for mine, theirs in zip(
        [
            *evaluation_batches(prepare(name, data, tmp_path).test, data.test.labels, 8),
            *evaluation_batches(in_memory._prepared, data.train.labels, 2, chosen),
        ],
        [
            *evaluation_batches(prepared.test, data.test.labels, 8),
            *evaluation_batches(prepared.train, data.train.labels, 2, chosen),
        ],
        strict=True,
    ):
        assert all(map(torch.equal, mine, theirs))


def test_the_next_steps_are_expected_and_no_step_beyond_the_last(data: ImageData) -> None:
    source = streamed(data, most_kept=1000).train
    batches = make(data, PreparedImages(source))
    asked: list[int] = []
    plain = source.expect
    source.expect = lambda indices: asked.extend(indices.tolist()) or plain(indices)  # type: ignore
    for index in (5, 98, 99):
        asked.clear()
        batches.batch(step(index))
        steps = range(index, min(index + 3, 100))
        sampler = batches.sampler
        expected = [[*sampler.labeled(k), *sampler.unlabeled(k)] for k in steps]
        assert asked == [int(place) for places in expected for place in places]


def test_what_is_decoded_ahead_is_there_when_it_is_asked_for(data: ImageData) -> None:
    """Of as many of the next steps as can be kept: a step has 16 images."""
    source = streamed(data, most_kept=20).train
    batches = make(data, PreparedImages(source))
    for index in range(12):
        batches._expect(step(index))
        labeled, unlabeled = batches._indices(index)
        assert {*labeled.tolist(), *unlabeled.tolist()} <= {*source._kept}  # type: ignore[attr-defined]
        batches.batch(step(index))


def test_a_view_has_the_augmentation_that_it_names(data: ImageData) -> None:
    cutout = AUGMENTATIONS["cutout"](
        AUGMENTATIONS.config("cutout")(cutout_size=4), flip=True, max_translation=2
    )
    views = (View(), View("cutout", same_flip_as=0))
    batch = make(data, views=views, named={"cutout": cutout}).batch(step(2))
    plain = make(data, views=SHARED).batch(step(2))
    assert torch.equal(batch.images, plain.images) and torch.equal(batch.views[0], plain.views[0])
    hidden = batch.views[1] != plain.views[1]
    assert hidden.any() and (batch.views[1][hidden] == 0).all()


def test_all_images_are_padded_once_for_all_that_train_on_them(
    data: ImageData, monkeypatch
) -> None:
    padded = []
    monkeypatch.setattr(
        "ssl_isda.data.augmentations.weak.reflect_pad",
        lambda images, m: padded.append(len(images)) or reflect_pad(images, m),
    )
    prepared = PreparedImages(data.train)
    for _ in range(3):
        make(data, prepared, views=TWO).batch(step(0))
    assert padded == [60]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_never_waited_for(data: ImageData, tmp_path) -> None:
    prepared, _, _ = prepare("normalize", data, tmp_path)
    wishes = {"views": SHARED}
    on_cpu = make(data, prepared, **wishes)
    on_gpu = make(data, prepared, device="cuda", **wishes)
    noisy = make(data, prepared, device="cuda", views=NOISY)
    noisy.batch(step(0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches = [
            (index, on_gpu.batch(step(index)), noisy.batch(step(index))) for index in range(9)
        ]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for index, batch, _ in batches:
        for ours, theirs in zip(tensors(batch), tensors(on_cpu.batch(step(index))), strict=True):
            assert ours.device.type == "cuda"
            assert torch.allclose(ours.cpu(), theirs, atol=1e-5)


def test_generated_images_stand_behind_the_labeled_ones_and_leave_them_as_they_are(
    data: ImageData, tmp_path: Path
) -> None:
    _, _, preparation = prepare("scale", data, tmp_path)
    prepared = preparation.of(data.train)

    def images(step: Step, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        grey = torch.arange(n, dtype=torch.uint8).view(-1, 1, 1, 1) + step.index
        return grey.expand(n, *data.train.shape).contiguous(), torch.arange(n) % 4

    views = {"views": TWO, "labeled_views": (View(),)}
    plain = make(data, prepared, **views).batch(step(3))
    batch = make(data, prepared, **views, generated=Generated(images, 5, preparation)).batch(
        step(3)
    )
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.labels[6:].tolist() == [0, 1, 2, 3, 0]
    assert torch.equal(batch.labels[:6], plain.labels)
    for found, real in (
        (batch.images, plain.images),
        (batch.labeled_views[0], plain.labeled_views[0]),
    ):
        assert torch.equal(found[:6], real)
        grey = ((torch.arange(5) + 3) / 255 - 0.5).view(-1, 1, 1, 1)
        assert torch.allclose(found[6:], grey.expand_as(found[6:]), atol=1e-6)
    assert all(map(torch.equal, batch.views, plain.views))
