from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from ssl_isda.base import randomness
from ssl_isda.data.samplers import LabeledUnlabeledSampler


def make(num_labeled: int, pool: int, labeled: int, unlabeled: int, seed: int = 0, partial=False):
    return LabeledUnlabeledSampler(
        torch.arange(num_labeled) * 3,
        torch.arange(pool) + 1000,
        labeled_batch_size=labeled,
        unlabeled_batch_size=unlabeled,
        seed=seed,
        partial=partial,
    )


sizes = st.integers(1, 12)


@given(num_labeled=sizes, batch=sizes, seed=st.integers(0, 3))
@settings(max_examples=500, deadline=None)
def test_each_labeled_pass_holds_every_image_once(num_labeled: int, batch: int, seed: int) -> None:
    sampler = make(num_labeled, 5, batch, 2, seed)
    stream = torch.cat([sampler.labeled(step) for step in range(3 * num_labeled)])
    for number, one_pass in enumerate(stream.split(num_labeled)[:-1]):
        generator = randomness.generator(seed, number, "labeled order")
        order = torch.randperm(num_labeled, generator=generator)
        assert one_pass.tolist() == (order * 3).tolist()


@given(pool=sizes, batch=sizes, seed=st.integers(0, 3), epoch=st.integers(0, 4))
@settings(max_examples=500, deadline=None)
def test_each_epoch_is_one_pass_through_the_pool(
    pool: int, batch: int, seed: int, epoch: int
) -> None:
    sampler = make(3, pool, 2, batch, seed)
    assert sampler.steps_per_epoch == max(1, pool // batch)
    first = epoch * sampler.steps_per_epoch
    seen = torch.cat([sampler.unlabeled(first + k) for k in range(sampler.steps_per_epoch)])
    assert len(seen) == sampler.steps_per_epoch * min(pool, batch)
    assert len(set(seen.tolist())) == len(seen)
    assert set(seen.tolist()) <= set(range(1000, 1000 + pool))
    order = torch.randperm(pool, generator=randomness.generator(seed, epoch, "unlabeled order"))
    assert seen.tolist() == (order[: len(seen)] + 1000).tolist()


@given(num_images=sizes, batch=sizes, seed=st.integers(0, 3), number=st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_partial_batches_end_each_pass(num_images: int, batch: int, seed: int, number: int) -> None:
    sampler = make(num_images, num_images, batch, batch, seed, partial=True)
    steps = sampler.steps_per_epoch
    assert steps == -(-num_images // batch)
    orders = {
        stream: torch.randperm(
            num_images, generator=randomness.generator(seed, number, f"{stream} order")
        )
        for stream in ("labeled", "unlabeled")
    }
    wanted = {"labeled": orders["labeled"] * 3, "unlabeled": orders["unlabeled"] + 1000}
    for stream, draw in (("labeled", sampler.labeled), ("unlabeled", sampler.unlabeled)):
        found = [draw(number * steps + k) for k in range(steps)]
        assert torch.equal(torch.cat(found), wanted[stream])
        assert {len(each) for each in found} <= sampler.batch_sizes[stream]
        assert all(len(each) == min(batch, num_images) for each in found[:-1])


@given(steps=st.lists(st.integers(0, 60), max_size=20))
@settings(max_examples=500, deadline=None)
def test_any_step_in_any_order_is_the_same(steps: list[int]) -> None:
    walked = make(7, 11, 5, 4)
    expected = [(walked.labeled(k).tolist(), walked.unlabeled(k).tolist()) for k in range(61)]
    jumping = make(7, 11, 5, 4)
    for k in steps:
        assert (jumping.labeled(k).tolist(), jumping.unlabeled(k).tolist()) == expected[k]


def test_seeds_give_other_orders() -> None:
    one, other = make(50, 50, 50, 50, seed=0), make(50, 50, 50, 50, seed=1)
    assert one.labeled(0).tolist() != other.labeled(0).tolist()
    assert one.unlabeled(0).tolist() != other.unlabeled(0).tolist()


def test_in_a_data_loader() -> None:
    sampler = make(4, 10, 3, 4)
    loader = DataLoader(TensorDataset(torch.arange(2000)), batch_sampler=sampler)
    assert len(loader) == 2
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for k, (indices,) in enumerate(loader):
            step = 2 * epoch + k
            expected = [*sampler.labeled(step).tolist(), *sampler.unlabeled(step).tolist()]
            assert indices.tolist() == expected


@pytest.mark.parametrize("wrong", [(0, 5, 1, 1), (5, 0, 1, 1), (5, 5, 0, 1), (5, 5, 1, 0)])
def test_empty_streams_are_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        make(*wrong)


def test_a_pass_is_shuffled_once_and_not_at_every_step(monkeypatch) -> None:
    shuffles = []
    randperm = torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda *a, **k: shuffles.append(a) or randperm(*a, **k))
    sampler = make(4000, 50_000, 128, 128)
    for step in range(300):
        sampler.labeled(step)
        sampler.unlabeled(step)
    assert len(shuffles) == 10 + 1, "300 steps are 9.6 labeled passes and part of an unlabeled one"
