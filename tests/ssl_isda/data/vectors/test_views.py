"""What holds for every augmentation of vectors, and for what standardises them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.data.batches import TwoStreamBatches
from ssl_isda.data.preparation import Preparation
from ssl_isda.data.splits import Split
from ssl_isda.data.vectors.augmentation import VectorAugmentation
from ssl_isda.data.vectors.prepared import PreparedVectors, prepare_vectors
from ssl_isda.data.vectors.vector_data import VectorData
from ssl_isda.data.views import AUGMENTATIONS, View, names_for_vectors
from ssl_isda.parallel import distributed

STEP = Step(3, num_steps=10, steps_per_epoch=5)
ROWS = np.random.default_rng(0).normal(5, 3, size=(40, 6))
LABELS = np.arange(40) % 2
INDICES = torch.tensor([5, 1, 7, 7, 0, 9])


def data_of(rows: np.ndarray, test: np.ndarray = ROWS[:4]) -> VectorData:
    return VectorData.from_arrays("x", "ab", (rows, LABELS), (test, LABELS[: len(test)]))


@pytest.fixture(scope="module")
def prepared() -> PreparedVectors:
    return prepare_vectors("normalize", data_of(ROWS))[0]


def view(
    name: str, prepared: PreparedVectors, step: Step = STEP, purpose: str = "view 0"
) -> Tensor:
    config = AUGMENTATIONS.config(name)()
    augmentation = AUGMENTATIONS[name](config, flip=True, max_translation=2)
    assert isinstance(augmentation, VectorAugmentation)
    return augmentation.rows(prepared, INDICES, step, purpose)


@pytest.mark.parametrize("name", names_for_vectors())
def test_a_view_is_a_function_of_step_and_purpose(name: str, prepared: PreparedVectors) -> None:
    before, kept = torch.get_rng_state(), prepared.source.fetch(torch.arange(40))
    first = view(name, prepared)
    assert torch.equal(first, view(name, prepared))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(kept, prepared.source.fetch(torch.arange(40))), "the rows stay as they are"
    assert first.shape == (6, 6) and first.dtype == torch.float32
    assert not torch.equal(first, prepared.rows(INDICES))
    assert not torch.equal(first, view(name, prepared, purpose="view 1"))
    assert not torch.equal(first, view(name, prepared, Step(4, 10, 5)))
    assert not torch.equal(first[2], first[3]), "each row has draws of its own"


@pytest.mark.parametrize("name", names_for_vectors())
def test_processes_make_the_parts_of_one_view(
    name: str, prepared: PreparedVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = view(name, prepared)
    monkeypatch.setattr(distributed, "num_processes", lambda: 3)
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        assert torch.equal(view(name, prepared), whole[2 * rank : 2 * rank + 2])


def test_the_views_of_a_batch_have_draws_of_their_own_and_the_noise_of_the_method(
    prepared: PreparedVectors,
) -> None:
    augmentation = AUGMENTATIONS["vector_dropout"](
        AUGMENTATIONS.config("vector_dropout")(), flip=False, max_translation=0
    )
    split = Split("x", "", 0, labeled=tuple(range(40)))
    batches = TwoStreamBatches(
        prepared,
        torch.from_numpy(LABELS),
        split,
        labeled_batch_size=40,
        unlabeled_batch_size=40,
        seed=1,
        augmentation=augmentation,
        views=(View(), View(), View(noise=0.5)),
    )
    one, again = batches.batch(STEP), batches.batch(STEP)
    assert all(map(torch.equal, one.views, again.views)) and torch.equal(one.images, again.images)
    plain = prepared.rows(one.indices)
    dropped = [view == 0 for view in one.views[:2]]
    assert not torch.equal(*dropped) and not torch.equal(dropped[0], one.images == 0)
    assert all(torch.equal(v[~d], plain[~d]) for v, d in zip(one.views[:2], dropped, strict=True))
    assert (one.views[2] == 0).sum() == 0, "the noise comes last"


def test_how_much_each_augmentation_changes() -> None:
    n = 4_000
    rows = np.random.default_rng(0).normal(size=(n, 8))
    data = VectorData.from_arrays("x", "ab", (rows, np.arange(n) % 2), (rows[:2], LABELS[:2]))
    prepared, places = prepare_vectors("normalize", data)[0], torch.arange(n)
    plain = prepared.rows(places)

    def changed(name: str, **options: float) -> Tensor:
        config = AUGMENTATIONS.config(name)(**options)
        made = AUGMENTATIONS[name](config, flip=False, max_translation=0)
        assert isinstance(made, VectorAugmentation)
        return made.rows(prepared, places, STEP, "view 0")

    assert (changed("vector_noise", noise_std=0.5) - plain).std().item() == pytest.approx(
        0.5, rel=0.02
    )
    assert torch.equal(changed("vector_noise", noise_std=0.0), plain)
    dropped = changed("vector_dropout", dropped_share=0.3)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(dropped[dropped != 0], plain[dropped != 0])
    mixed = changed("vector_mixup", mixed_share=0.4)
    assert (mixed - plain).var().item() == pytest.approx(2 * 0.4**2 / 3, rel=0.05)  # E s^2 = S^2/3


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8, bool])
def test_rows_of_any_type_are_standardised_by_the_training_part_alone(dtype: type) -> None:
    rows = (20 * np.random.default_rng(1).normal(5, 1, size=(40, 3))).astype(dtype)
    rows[:, 2] = 1  # constant
    train, test, preparation = prepare_vectors("normalize", data_of(rows, rows[:3]))
    found = train.rows(torch.arange(40))
    assert found.dtype == torch.float32 and found.mean(0).abs().max() < 1e-5
    expected = rows.astype(float).std(0) > 0
    torch.testing.assert_close(found.std(0, correction=0), torch.from_numpy(expected).float())
    other = prepare_vectors("normalize", data_of(rows, np.ones((3, 3), dtype)))[2]
    assert np.array_equal(preparation.arrays["mean"], other.arrays["mean"])
    again = preparation(torch.from_numpy(rows[:3].astype(float)))
    assert torch.equal(test.rows(torch.arange(3)), again)


def test_a_large_offset_costs_no_precision() -> None:
    near, far = (
        prepare_vectors("normalize", data_of(ROWS + b, ROWS[:4] + b))[0] for b in (0, 2**30)
    )
    torch.testing.assert_close(near.rows(INDICES), far.rows(INDICES), rtol=0, atol=1e-6)


def test_the_preparation_is_kept_with_the_names_of_columns(tmp_path: Path) -> None:
    arrays = {"mean": np.zeros(2), "std": np.ones(2)}
    one = Preparation("normalize", (2,), ("a", "b"), arrays, columns=("x", "y"), label_column="z")
    one.save(tmp_path / "preparation.npz")
    again = Preparation.read(tmp_path)
    assert (again.columns, again.label_column, again.shape) == (("x", "y"), "z", (2,))
    for bad in (torch.zeros(3, 5), torch.zeros(3, 2, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"vectors must be floating-point, \(n, 2\); got"):
            again(bad)
