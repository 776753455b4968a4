"""Where a run stands."""

import torch

from ssl_isda.base.randomness import key
from ssl_isda.base.step import Step

STEPS = [Step(index, num_steps=10, steps_per_epoch=4, seed=5) for index in range(10)]


def test_epochs_are_counted_and_the_last_may_be_shorter() -> None:
    assert [step.epoch for step in STEPS] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert [step.index for step in STEPS if step.is_last_of_epoch] == [3, 7, 9]
    assert STEPS[0].num_epochs == 3
    assert Step(0, num_steps=8, steps_per_epoch=4).num_epochs == 2
    assert Step(0, num_steps=3, steps_per_epoch=4).num_epochs == 1


def test_progress_runs_from_0_to_just_below_1() -> None:
    assert [step.progress for step in STEPS] == [index / 10 for index in range(10)]


def test_draws_are_keyed_by_seed_step_and_purpose() -> None:
    step = STEPS[3]
    assert step.generator("noise").initial_seed() == key(5, 3, "noise")
    with step.global_draws("dropout", torch.device("cpu")):
        assert torch.initial_seed() == key(5, 3, "dropout")
