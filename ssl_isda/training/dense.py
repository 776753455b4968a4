"""What goes with a class for each pixel, and what does not: said before a run begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ssl_isda.base.errors import UsageError
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.models.contract import Network
from ssl_isda.parallel.launch import num_launched
from ssl_isda.tasks.contract import Task
from ssl_isda.tasks.segmentation import Segmentation
from ssl_isda.training.method import METHODS, Method

SEGMENTATION = "segmentation"
LOSSES_OF_FEATURES = ("center", "large_margin", "distributionnet")
"""Supervised losses that read the features of what they judge; pixels between cells have none."""


def is_dense(network: nn.Module) -> bool:
    """Whether it gives a class for each pixel."""
    return isinstance(getattr(network, "head", None), nn.Conv2d)


def smallest_look(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an image by which a network is tried: of a dense one at most 64 x 64 pixels."""
    return (shape[0], min(shape[1], 64), min(shape[2], 64)) if is_dense(network) else shape


def refuse_other_task(config: Any, task: Task, data: ImageData) -> None:
    """A task that is not about what the data have.

    Raises
    ------
    UsageError
        It is not.
    """
    if task.is_dense and not data.is_dense:
        raise UsageError(
            f"--task {config.task}: {data.name} has a class for each image and no masks; --dataset masks "
            "has a class for each pixel"
        )
    if data.is_dense and not task.is_dense:
        raise UsageError(
            f"--task {config.task}: {data.name} has a class for each pixel; give --task {SEGMENTATION}"
        )


def refuse_amounts(config: Any, data: ImageData) -> None:
    """Numbers of labels that are about classes of images, or more than there are masks.

    Raises
    ------
    UsageError
        The run asks for one.
    """
    assert data.train.labels is not None
    num_masks = int((data.train.labels == 0).sum())
    for name in ("labels", "labels_per_class"):
        asked = getattr(config, name)
        if asked is not None and not 1 <= asked <= num_masks:
            raise UsageError(
                f"--{name.replace('_', '-')} {asked}: {data.name} has {num_masks} training images with "
                f"a mask; valid are 1 to {num_masks}"
            )
    if config.imbalance is not None:
        raise UsageError(
            f"--imbalance is about classes of images, and {data.name} has a class for each pixel: leave "
            "it out"
        )


def refuse_what_has_no_pixels(resolved: Any, student: Network, method: Method) -> None:
    """Parts that are about whole images.

    Raises
    ------
    UsageError
        One is: the network, the method, the loss, or a form of ISDA.
    """
    config, isda = resolved.config, resolved.isda
    if not is_dense(student):
        raise UsageError(
            f"--model {config.model} gives one class for a whole image; --task {SEGMENTATION} needs a "
            "network with a class for each pixel, such as small_fcn"
        )
    if not method.dense:
        known = ", ".join(sorted(name for name in METHODS if METHODS[name].dense))
        raise UsageError(
            f"--method {config.method} has no form for pixels; --task {SEGMENTATION} goes with {known}"
        )
    if getattr(method, "alignment", None) is not None:
        raise UsageError("--distribution-alignment has no form for pixels: leave it out")
    if config.loss in LOSSES_OF_FEATURES:
        raise UsageError(
            f"--loss {config.loss} reads a feature of each pixel, and features are coarser: take another "
            "loss, such as cross_entropy or focal"
        )
    if config.isda and isda.augmentation == "explicit":
        raise UsageError(
            f"--augmentation explicit has no form for pixels: --task {SEGMENTATION} goes "
            "with implicit"
        )


def refuse_what_has_pixels(config: Any, student: Network) -> None:
    """A network of pixels where an image has one class.

    Raises
    ------
    UsageError
        It is one.
    """
    if is_dense(student):
        raise UsageError(
            f"--model {config.model} gives a class for each pixel; --task {config.task} needs a network "
            "with one class for a whole image, such as cnn13"
        )


def refuse_small_batches(config: Any, student: Network, sizes: Mapping[str, int]) -> None:
    """Batches, by their flags, of which BatchNorm would see too few images.

    Raises
    ------
    UsageError
        One is.
    """
    parts = 1 if config.sync_batchnorm else num_launched()
    for flag, size in sizes.items():
        if size // parts < student.smallest_batch:
            least = student.smallest_batch * parts
            raise UsageError(
                f"{flag} {size}: {config.model} normalizes means of whole images over the batch, which "
                f"needs {least} or more"
            )


def refuse_small_passes(model: str, student: Network, task: Task, shape: tuple[int, ...]) -> None:
    """Scales of the evaluation at which images are too small for the network; in windows none is.

    Raises
    ------
    UsageError
        One is.
    """
    if not isinstance(task, Segmentation) or task.passes.window is not None:
        return
    scale, side = min(task.passes.scales), student.smallest_side
    height, width = (max(1, round(length * scale)) for length in shape[1:])
    if min(height, width) < side:
        raise UsageError(
            f"--evaluation-scales {scale:g} makes images of {shape[2]} x {shape[1]} pixels {width} x "
            f"{height}, and {model} needs {side} x {side} or more"
        )


def refuse_what_has_no_second_head(model: str, isda: Any) -> None:
    """Forms of ISDA that the auxiliary head has not.

    Raises
    ------
    UsageError
        The form is one of them.
    """
    if isda and (isda.covariance == "learned" or isda.matched_strength):
        flag = "--covariance learned" if isda.covariance == "learned" else "--matched-strength"
        raise UsageError(
            f"{flag} has no form for the auxiliary head of {model}: leave it out, or take small_fcn"
        )


def refuse_policy(config: Any) -> None:
    """What changes an image and not its mask.

    Raises
    ------
    UsageError
        The policy does, or resized crops.
    """
    for name in ("generated", "freeze"):
        if getattr(config, name) is not None:
            raise UsageError(f"--{name} has no form for pixels: leave it out")
    if config.resized_crop != "none":
        raise UsageError(
            "--resized-crop changes an image and not its mask: --crop-size, --smallest-scale and "
            "--largest-scale are the crops of both"
        )
    if config.policy != "crops":
        raise UsageError(
            f"--policy {config.policy} changes an image and not its mask: {config.dataset} takes crops"
        )


def refuse_whitening(preprocessing: str, data: ImageData) -> None:
    """A matrix for all pixels of an image, of which crops have others.

    Raises
    ------
    UsageError
        The preprocessing is one.
    """
    if data.is_dense and preprocessing == "zca":
        raise UsageError(
            "--preprocessing zca is for images of one size, and crops have many: take normalize, scale "
            "or standardize"
        )


def refuse_features(path: Path, config: Any) -> None:
    """Features of each pixel are not kept.

    Raises
    ------
    UsageError
        The run has a class for each pixel.
    """
    if config.task == SEGMENTATION:
        raise UsageError(
            f"{path} has features of each pixel, which are not exported; predict writes its masks"
        )
