"""A detector on the backbone that ``--weights`` names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from ssl_isda.assembly.trained import network_and_file
from ssl_isda.base.errors import UsageError
from ssl_isda.base.randomness import global_draws
from ssl_isda.base.words import printed
from ssl_isda.models.detectors import SIDE, detector, freeze_batchnorm
from ssl_isda.models.torchvision_networks import Config, torchvision
from ssl_isda.settings.options import Place
from ssl_isda.training.exported import is_exported
from ssl_isda.training.weights import read_weights

Statistics = dict[str, list[float]]
IMAGENET: Statistics = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
DEFAULT_NAME = "resnet50"


def detector_of(
    kind: str,
    num_categories: int,
    *,
    weights: Path | None,
    name: str | None,
    seed: int,
    frozen_stages: int | None,
    **sizes: int,
) -> tuple[nn.Module, str | None]:
    """The detector with its first weights, and the SHA-256 of the file of its backbone's, if any.

    Parameters
    ----------
    weights : a run, a file of export-model, or a state dict with torchvision's names; None: random ones
    name : torchvision's network, of a state dict or random weights
    frozen_stages : None: 1, and 0 of random weights, whose BatchNorm is not frozen either
    sizes : ``min_size`` and ``max_size`` of images, in pixels

    Raises
    ------
    UsageError
        There are no such weights, or they are no backbone of a detector.
    """
    frozen = (1 if weights else 0) if frozen_stages is None else frozen_stages
    try:
        with global_draws(seed, 0, "initial weights", torch.device("cpu")):
            body, images, file = _backbone(weights, name)
            if weights:
                freeze_batchnorm(body)
            made = detector(kind, body, num_categories, frozen_stages=frozen, **sizes, **images)
    except ValueError as error:
        flag = f"--weights {printed(weights)}" if weights else f"--name {name or DEFAULT_NAME}"
        raise UsageError(f"{flag} cannot be a detector's backbone: {error}") from error
    return made, hashlib.sha256(file.read_bytes()).hexdigest() if file else None


def _backbone(weights: Path | None, name: str | None) -> tuple[nn.Module, Statistics, Path | None]:
    """It, the mean and standard deviation of its images, and the file of its weights."""
    if weights and (weights.is_dir() or is_exported(weights)):
        return _of_a_run(weights, name)
    built = torchvision(Config(name or DEFAULT_NAME), num_classes=1, shape=(3, SIDE, SIDE))
    if weights:
        read_weights(weights).load_into(built, ("object",))
    return built.get_submodule("backbone"), IMAGENET, weights


def _of_a_run(place: Path, name: str | None) -> tuple[nn.Module, Statistics, Path]:
    if name:
        raise UsageError(f"--name is for a state dict: {printed(place)} has a network of its own")
    network, preparation, _, file = network_and_file(place, Place(device="cpu", threads=None))
    scale, shift = (preparation.arrays.get(each) for each in ("scale", "shift"))
    if scale is None or shift is None or len(scale) != 3:
        told = f"{preparation.name} of {' x '.join(map(str, preparation.shape))}"
        raise ValueError(f"its images must be 3 x h x w and normalized by channel; they are {told}")
    mean, std = (-shift / scale / 255).ravel().tolist(), (1 / scale / 255).ravel().tolist()
    return getattr(network, "backbone", network), {"image_mean": mean, "image_std": std}, file
