"""Short runs on pixels for ``several_processes``, in which the processes' masks are of unequal worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_isda import methods
from ssl_isda.base.step import Step
from ssl_isda.base.void import VOID
from ssl_isda.data.augmentations.strong import Config as StrongConfig
from ssl_isda.data.batch import Batch
from ssl_isda.data.batches import evaluation_batches
from ssl_isda.data.masks.batches import MaskBatches
from ssl_isda.data.masks.crops import Config as CropsConfig
from ssl_isda.data.masks.crops import Crops, jitter
from ssl_isda.data.masks.strong import strong_crops
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import InMemory
from ssl_isda.data.splits import Split
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.losses import LOSSES
from ssl_isda.models.contract import Network
from ssl_isda.parallel import distributed
from ssl_isda.parallel.whole_batch import act_on_whole_batch
from ssl_isda.runs.tracking import SilentTracker
from ssl_isda.tasks.segmentation import Segmentation
from ssl_isda.training.method import METHODS
from ssl_isda.training.objective import Objective
from ssl_isda.training.trainer import Trainer, TrainerConfig
from tests.methods import tiny

NUM_CLASSES, NUM_IMAGES, SIDE, BATCH = 3, 16, 12, 8
ISDA = {
    "plain": None,
    "diagonal": IsdaConfig(covariance="diagonal", lambda_schedule="constant"),
    "full": IsdaConfig(lambda_schedule="constant"),
    "shared": IsdaConfig(covariance="shared", lambda_schedule="constant"),
    "matched": IsdaConfig(covariance="permuted", matched_strength=True),
    "learned": IsdaConfig(covariance="learned", uncertainty_weight=1.0),
}
CELLS = [
    ("supervised", "diagonal", "pixels"),
    ("supervised", "full", "auxiliary"),
    ("supervised", "matched", "disturb_label"),
    ("supervised", "shared", "focal"),
    ("supervised", "learned", "pixels"),
    ("fixmatch", "diagonal", "auxiliary"),
    ("mean_teacher", "diagonal", "pixels"),
    ("pi_model", "plain", "pixels"),
]
"""Methods, ISDA, and networks: ``auxiliary`` has a second head; of other names the loss is meant."""


class PixelNetwork(Network):
    """Cells of half the images' size, and the kinds of layers that the published heads have."""

    def __init__(self, *, auxiliary: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.LeakyReLU(0.1))
        self.body = nn.Sequential(nn.Conv2d(12, 7, 3, 1, 1), nn.BatchNorm2d(7), nn.Dropout2d(0.3))
        self.of_image = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(6))
        self.head = nn.Conv2d(7, NUM_CLASSES, 1)
        if auxiliary:
            self.auxiliary_body = nn.Sequential(nn.Conv2d(6, 5, 1), nn.Dropout2d(0.3))
            self.auxiliary_head = nn.Conv2d(5, NUM_CLASSES, 1)

    def features(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        if self.training and hasattr(self, "auxiliary_body"):
            self.auxiliary_features = self.auxiliary_body(maps)
        found: Tensor = self.body(torch.cat([maps, self.of_image(maps).expand_as(maps)], 1))
        return found


class Unequal:
    """The same batches in float64. In every third step the second half of the labeled images has no
    class at all, in the step after it a single row of pixels has one."""

    def __init__(self, batches: MaskBatches) -> None:
        self.batches = batches

    def batch(self, step: Step) -> Batch:
        batch = self.batches.batch(step)
        masks = batch.labels.clone()
        in_second_half = distributed.rank() * len(masks) + torch.arange(len(masks)) >= BATCH // 2
        with_a_class = (0, 1, masks.shape[1])[step.index % 3]
        masks[in_second_half, with_a_class:] = VOID
        views = tuple(view.double() for view in batch.views)
        return replace(batch, images=batch.images.double(), labels=masks, views=views)


def examples() -> tuple[Tensor, Tensor]:
    """(N, 3, s, s) images and (N, 1, s, s) masks, uint8; some pixels have no class."""
    draws = torch.Generator().manual_seed(0)
    masks = torch.randint(NUM_CLASSES, (NUM_IMAGES, 1, SIDE // 3, SIDE // 3), generator=draws)
    masks = masks.repeat_interleave(3, 2).repeat_interleave(3, 3).to(torch.uint8)
    noise = torch.randint(100, (NUM_IMAGES, 3, SIDE, SIDE), generator=draws, dtype=torch.uint8)
    images = noise + 70 * masks
    masks[torch.rand(masks.shape, generator=draws) < 0.1] = VOID
    return images, masks


def batches_of(method: Any, prepared: PreparedImages, masks: Tensor) -> Unequal:
    config = CropsConfig(crop_size=8, smallest_scale=0.6)
    strong = strong_crops(config, StrongConfig(), flip=True)
    return Unequal(
        MaskBatches(
            InMemory(masks),
            prepared,
            torch.zeros(NUM_IMAGES, dtype=torch.int64),
            Split("random", "", 0, labeled=tuple(range(12))),
            labeled_batch_size=BATCH,
            unlabeled_batch_size=BATCH,
            seed=0,
            augmentation=Crops(config, True, jitter(0.2)),
            views=method.views,
            named={"weak": Crops(config, True), "strong": strong},
        )
    )


def build(method: str, isda: str, kind: str, folder: Path, num_steps: int) -> Trainer:
    """A small run in float64."""
    torch.manual_seed(0)
    student = PixelNetwork(auxiliary=kind == "auxiliary").double()
    if distributed.num_processes() > 1:
        act_on_whole_batch(student, synchronize_batchnorm=True)
    regularizer = METHODS[method](
        getattr(methods, method).Config(**tiny.LIVELY.get(method, {})),
        student=student,
        num_images=NUM_IMAGES,
        num_classes=NUM_CLASSES,
    )
    loss = kind if kind in LOSSES else "cross_entropy"
    objective = Objective(
        *(regularizer, ISDA[isda], NUM_CLASSES, 7),
        loss=LOSSES[loss](LOSSES.config(loss)(), num_classes=NUM_CLASSES, num_features=7),
        task=Segmentation(),
        auxiliary_features=5 if kind == "auxiliary" else None,
    )
    images, masks = examples()
    prepared = PreparedImages(
        InMemory(images), torch.full((3, 1, 1), 1 / 64), torch.full((3, 1, 1), -2.0)
    )
    batches = batches_of(regularizer, prepared, masks)

    def tested() -> Iterator[tuple[Tensor, Tensor]]:
        found = evaluation_batches(prepared, InMemory(masks), batch_size=3)
        return ((shown.double(), wanted) for shown, wanted in found)

    config = TrainerConfig(num_steps, batches.batches.steps_per_epoch, 20)
    return Trainer(
        student, objective.double(), batches, {"test": tested}, config, SilentTracker(folder)
    )
