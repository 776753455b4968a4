"""What BatchNorm sees in a pass that must leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_isda.base.step import Step
from ssl_isda.models.contract import Prediction


@contextmanager
def frozen_running_statistics(model: nn.Module) -> Iterator[None]:
    """Within the block BatchNorm uses the batch's own statistics and leaves its running ones alone."""
    tracking = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True


def running_statistics(*networks: nn.Module) -> list[Tensor]:
    """Each process's own, unless BatchNorm is synchronized."""
    return [
        statistic
        for network in networks
        for module in network.modules()
        if isinstance(module, _BatchNorm)
        for statistic in (module.running_mean, module.running_var)
        if statistic is not None
    ]


def separate_pass(
    student: nn.Module, images: Tensor, step: Step, masks: str = "unlabeled pass"
) -> Prediction:
    """The student's prediction of unlabeled images that pass alone: BatchNorm uses their own
    statistics and updates nothing. Passes of one step with the same ``masks`` draw the same dropout
    masks."""
    with frozen_running_statistics(student), step.global_draws(masks, images.device):
        prediction: Prediction = student(images)
    return prediction


def constant_pass(student: nn.Module, images: Tensor, step: Step, masks: str) -> Prediction:
    """``separate_pass`` without a gradient, which may stand before all others of a step: autocast would
    reuse the weights that it has cast, and those have no graph."""
    with torch.no_grad():
        prediction = separate_pass(student, images, step, masks)
    torch.clear_autocast_cache()
    return prediction
