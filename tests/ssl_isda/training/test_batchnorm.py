"""A pass that leaves no trace in BatchNorm."""

import pytest
import torch
from torch import nn

from ssl_isda.training.batchnorm import frozen_running_statistics


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    untracked = nn.BatchNorm1d(3, track_running_stats=False)
    tracked = nn.BatchNorm1d(3), nn.BatchNorm1d(3, momentum=None)
    model = nn.Sequential(nn.Linear(4, 3), *tracked, untracked)
    model(torch.randn(8, 4))  # running statistics that are not the initial ones
    return model


def buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def test_all_buffers_stay_and_the_output_is_that_of_an_ordinary_training_pass(model) -> None:
    before, images = buffers(model), torch.randn(8, 4)
    with frozen_running_statistics(model):
        frozen = model(images)
    after = buffers(model)
    assert any(name.endswith("num_batches_tracked") for name in before)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(frozen, model(images))


def test_tracking_goes_on_afterwards_and_after_an_error_where_there_was_any(model) -> None:
    before = buffers(model)
    with pytest.raises(KeyError), frozen_running_statistics(model):
        raise KeyError
    model(torch.randn(8, 4))
    after = buffers(model)
    assert not any(torch.equal(before[name], after[name]) for name in before)
    assert not model[-1].track_running_stats
