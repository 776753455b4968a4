"""``run.py detect``: its flags and its help."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import shown
from ssl_isda.settings.config import Name
from ssl_isda.settings.options import Options, Training, read_options
from ssl_isda.settings.setting import UsablePath

USAGE = """\
usage: python run.py detect --data-dir FOLDER --weights RUN_OR_FILE [flags]

Fine-tunes torchvision's Faster R-CNN or Mask R-CNN, with a feature pyramid, from a trained backbone on
data in COCO's layout, and says how precise it is. The same command again resumes it, exactly. The rate
falls tenfold after two thirds and eleven twelfths of the epochs: the usual schedule where there are 12.

  python run.py detect --data-dir coco --weights resnet50-0676ba61.pth --skip-odd-boxes
"""


class _Own(Options):
    detector: Literal["faster_rcnn", "mask_rcnn"] = "faster_rcnn"
    """faster_rcnn finds boxes, mask_rcnn masks too."""
    weights: UsablePath | None = None
    """Of the backbone: a run, a file of export-model, or torchvision's state dict; unset: random ones."""
    name: Name | None = None
    """torchvision's network of a state dict; unset: resnet50. A run has its own."""
    data_dir: UsablePath = Path("data/coco")
    """Folder below which the four places that follow lie."""
    train_annotations: UsablePath = Path("annotations/instances_train2017.json")
    """Boxes, or masks, of the training images."""
    train_images: UsablePath = Path("train2017")
    """Folder of the training images."""
    test_annotations: UsablePath = Path("annotations/instances_val2017.json")
    """Boxes, or masks, of the images that judge the detector."""
    test_images: UsablePath = Path("val2017")
    """Folder of these images."""
    skip_odd_boxes: bool = False
    """Train without boxes that have no area or leave their image, which are refused otherwise."""
    frozen_stages: int | None = Field(None, ge=0, le=4)
    """Stages of the backbone that stay as they are, and the stem; unset: 1, with random weights 0."""
    epochs: int = Field(12, ge=1)
    """Passes through the training images."""
    batch_size: int = Field(16, ge=1)
    """Images in a step."""
    learning_rate: float | None = Field(None, gt=0)
    """Of SGD with momentum 0.9 and weight decay 1e-4; unset: 0.02 for each 16 images of a step."""
    warmup_steps: int | None = Field(None, ge=1)
    """Steps in which the rate grows to its height; unset: 500, in the first epoch at most."""
    min_size: int = Field(800, ge=64)
    """Pixels of an image's shorter side, to which it is resized."""
    max_size: int = Field(1333, ge=64)
    """Pixels that the longer side has at most."""
    seed: int = Field(0, ge=0)
    """Chooses initial weights, order, flips and proposals."""


class DetectConfig(Training, _Own):
    """What is detected, and how the detector is trained."""


def command(arguments: Sequence[str]) -> int:
    """Answer the words after ``detect``."""
    given = read_options(arguments, USAGE, DetectConfig)
    if given is None:
        return 0
    words, config = given
    if words:
        raise UsageError(f"detect takes flags alone, got {shown(words[0])}")
    from ssl_isda.commands.detect.training import train

    return train(config, arguments)
