"""The network, the loss and the method of a run, and the weights that it starts from."""

from __future__ import annotations

import torch

from ssl_isda.assembly.parts import chosen
from ssl_isda.assembly.workspace import Workspace
from ssl_isda.base.errors import UsageError
from ssl_isda.base.randomness import global_draws
from ssl_isda.losses import LOSSES
from ssl_isda.losses.contract import SupervisedLoss
from ssl_isda.models import MODELS
from ssl_isda.models.contract import Network
from ssl_isda.parallel.distributed import num_processes
from ssl_isda.parallel.whole_batch import act_on_whole_batch
from ssl_isda.settings.config import Resolved
from ssl_isda.training import dense
from ssl_isda.training.method import METHODS, Method


def student_of(resolved: Resolved, workspace: Workspace) -> Network:
    """The run's network for the data of the workspace; of a frozen backbone, its head alone."""
    data = workspace.data
    if workspace.backbone:
        with global_draws(resolved.config.seed, 0, "initial weights", torch.device("cpu")):
            return workspace.backbone.student().to(workspace.device)
    return network_of(resolved, len(data.class_names), data.train.shape, workspace.device)


def network_of(
    resolved: Resolved, num_classes: int, shape: tuple[int, ...], device: torch.device
) -> Network:
    """The network with its initial weights, for inputs of this shape."""
    config = resolved.config
    make = chosen(MODELS, "model", resolved)
    try:
        with global_draws(config.seed, 0, "initial weights", torch.device("cpu")):
            student: Network = make(num_classes=num_classes, shape=shape)
    except ValueError as error:
        raise UsageError(f"--model {config.model}: {error}") from error
    try:
        student.eval().features(torch.zeros(1, *dense.smallest_look(student, shape)))
    except ValueError as error:
        advice = "try a larger --image-size" if len(shape) == 3 else "vectors take mlp or linear"
        raise UsageError(f"--model {config.model}: {error}; {advice}") from error
    student.to(device).to(memory_format=torch.channels_last)
    if num_processes() > 1:
        act_on_whole_batch(student, synchronize_batchnorm=config.sync_batchnorm)
    return student


def loss_of(resolved: Resolved, student: Network) -> SupervisedLoss:
    num_classes, num_features = student.head.weight.shape[:2]
    seed = resolved.config.seed
    with global_draws(seed, 0, "initial weights of the loss", torch.device("cpu")):
        loss: SupervisedLoss = chosen(LOSSES, "loss", resolved)(
            num_classes=num_classes, num_features=num_features
        )
    return loss


def method_of(resolved: Resolved, student: Network, num_images: int) -> Method:
    num_classes = len(student.head.weight)
    method: Method = chosen(METHODS, "method", resolved)(
        student=student, num_images=num_images, num_classes=num_classes
    )
    if not method.any_loss and resolved.config.loss != "cross_entropy":
        raise UsageError(
            f"--loss {resolved.config.loss}: {resolved.config.method} makes the supervised term itself, "
            "a cross-entropy; leave the flag out"
        )
    return method
