"""Short runs of every method, on one process or as one of several; the losses of each step.

torchrun --nproc-per-node 2 tests/several_processes.py OUT float64
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda import methods
from ssl_isda.base.step import Step
from ssl_isda.data.augmentations.weak import Weak
from ssl_isda.data.batch import Batch
from ssl_isda.data.batches import TwoStreamBatches, evaluation_batches
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import DataSource, InMemory
from ssl_isda.data.splits import Split
from ssl_isda.data.streaming import Streaming
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.models import CNN13, MLP, MODELS
from ssl_isda.models.contract import Network
from ssl_isda.parallel.distributed import is_first, num_processes, process_group
from ssl_isda.parallel.whole_batch import _STREAMS, act_on_whole_batch
from ssl_isda.runs.tracking import SilentTracker
from ssl_isda.training.method import METHODS
from ssl_isda.training.objective import Objective
from ssl_isda.training.trainer import Trainer, TrainerConfig
from tests import narrow_networks
from tests import pixels_of_several_processes as pixels
from tests.methods import tiny

NUM_STEPS, NUM_CLASSES, NUM_IMAGES = 8, 3, 36
ISDA = {
    "plain": None,
    "isda": IsdaConfig(),
    "explicit": IsdaConfig(augmentation="explicit", augmentation_samples=2),
    "learned": IsdaConfig(covariance="learned", uncertainty_weight=1.0),
}
CELLS = [*itertools.product(sorted(METHODS), ("plain", "isda"), ("small",))]
CELLS += [("temporal_ensembling", name, "small") for name in ("explicit", "learned")]
CELLS += [("mean_teacher", "isda", "cnn13"), ("vat", "isda", "cnn13")]
CELLS += [("mean_teacher", "isda", "own_batchnorm"), ("mean_teacher", "isda", "mlp")]
CELLS += [("fixmatch", "isda", "streamed")]
CELLS += [("mean_teacher", "isda", "shake_shake_26_2x32d"), ("vat", "isda", "pyramidnet272")]
CELLS += [("mean_teacher", "isda", "timm")]
CELLS += pixels.CELLS


class HalvedBatchNorm(nn.BatchNorm2d):
    """On one process what two do that do not synchronize: each half of each stream has statistics of
    its own, and running ones are the mean of both."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        lengths = _STREAMS.get() or (len(input),)
        order = torch.arange(len(input)).split(lengths)
        halves = [torch.cat([rows.chunk(2)[k] for rows in order if len(rows)]) for k in (0, 1)]
        means, variances = self.running_mean.repeat(2, 1), self.running_var.repeat(2, 1)
        normalized = [
            F.batch_norm(input[rows], *statistics, self.weight, self.bias, True, self.momentum)
            for rows, *statistics in zip(halves, means, variances, strict=True)
        ]
        self.running_mean.copy_(means.mean(0))
        self.running_var.copy_(variances.mean(0))
        self.num_batches_tracked += 1
        return torch.cat(normalized)[torch.cat(halves).argsort()]


class SmallNetwork(Network):
    """CNN-13's kinds of layers, fewer of them: each BatchNorm is a message between processes."""

    def __init__(self, batchnorm: type[nn.BatchNorm2d] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=False),
            batchnorm(6),
            nn.LeakyReLU(0.1),
            nn.MaxPool2d(4),
            nn.Dropout(0.5),
            nn.Conv2d(6, 7, 3, bias=False),
            batchnorm(7),
            nn.LeakyReLU(0.1),
        )
        self.head = nn.Linear(7, NUM_CLASSES)

    def features(self, images: Tensor) -> Tensor:
        maps: Tensor = self.body(images)
        return maps.mean((2, 3))


class Cast:
    """The same batches in another floating-point type."""

    def __init__(self, batches: TwoStreamBatches, dtype: torch.dtype) -> None:
        self.batches, self.dtype = batches, dtype

    def batch(self, step: Step) -> Batch:
        batch = self.batches.batch(step)
        views, labeled = (
            tuple(view.to(self.dtype) for view in each)
            for each in (batch.views, batch.labeled_views)
        )
        images = batch.images.to(self.dtype)
        return replace(batch, images=images, views=views, labeled_views=labeled)


def build(
    method: str, isda: str, dtype: torch.dtype, folder: Path, network: str = "cnn13"
) -> Trainer:
    """A small run whose learning rate is that of the recipe and whose terms all have weight.

    Its network is any of the registry, a narrow one, or ``small``; ``own_batchnorm`` is the small one,
    not synchronized, and ``streamed`` the small one on images that several processes decode when a step
    needs them.
    """
    draws = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    halved = network == "own_batchnorm" and num_processes() == 1
    student: Network
    if network == "cnn13":
        student = CNN13(NUM_CLASSES, width=0.05)
    elif network == "mlp":
        student = MLP(NUM_CLASSES, 3 * 16 * 16, hidden=8, features=7)
    elif network in MODELS:
        student = narrow_networks.build(network, NUM_CLASSES, (3, 16, 16))
    else:
        student = SmallNetwork(HalvedBatchNorm if halved else nn.BatchNorm2d)
    student = student.to(dtype, memory_format=torch.channels_last)
    if num_processes() > 1:
        act_on_whole_batch(student, synchronize_batchnorm=network != "own_batchnorm")
    regularizer = METHODS[method](
        getattr(methods, method).Config(**tiny.LIVELY.get(method, {})),
        student=student,
        num_images=NUM_IMAGES,
        num_classes=NUM_CLASSES,
    )
    objective = Objective(regularizer, ISDA[isda], NUM_CLASSES, student.head.in_features)
    labels = torch.arange(NUM_IMAGES) % NUM_CLASSES
    images = torch.randn(NUM_IMAGES, 3, 16, 16, generator=draws) + labels.view(-1, 1, 1, 1) / 2
    prepared = streamed(images) if network == "streamed" else PreparedImages(InMemory(images))
    batches = TwoStreamBatches(
        prepared,
        labels,
        Split("random", "", 0, labeled=tuple(range(12))),
        labeled_batch_size=8,
        unlabeled_batch_size=12,
        seed=0,
        augmentation=Weak(flip=True),
        views=regularizer.views,
        labeled_views=regularizer.labeled_views,
        named={"weak": Weak(flip=True), "strong": Weak(flip=True, max_translation=5)},
    )
    config = TrainerConfig(NUM_STEPS, batches.steps_per_epoch, 20)
    return Trainer(
        student,
        objective.to(dtype),
        Cast(batches, dtype),
        {
            "test": lambda: (
                (x.to(dtype), y) for x, y in evaluation_batches(prepared, labels, batch_size=7)
            )
        },
        config,
        SilentTracker(folder),
    )


def streamed(images: Tensor) -> PreparedImages:
    """As bytes, of which one process has all in memory; others decode them when a step needs them."""
    pixels = (32 * images + 128).clamp(0, 255).to(torch.uint8)
    source: DataSource = InMemory(pixels)
    if num_processes() > 1:
        nothing = torch.full((len(pixels),), -1)
        source = Streaming(lambda k: pixels[k].numpy(), (3, 16, 16), nothing, "random")
    return PreparedImages(source, torch.full((3, 1, 1), 1 / 32), torch.full((3, 1, 1), -4.0))


def num_steps(network: str) -> int:
    """Fewer of a network that is slower, or whose steps double what is rounded."""
    if network == "timm":
        return 2
    fast = ("small", "own_batchnorm", "mlp", "streamed", *(kind for *_, kind in pixels.CELLS))
    return NUM_STEPS if network in fast else 4


def train(method: str, isda: str, network: str, dtype: torch.dtype, folder: Path) -> dict[str, Any]:
    """The losses of each step, and the state at the end."""
    if (method, isda, network) in pixels.CELLS:
        trainer = pixels.build(method, isda, network, folder, NUM_STEPS)
    else:
        trainer = build(method, isda, dtype, folder, network)
    losses: list[dict[str, float]] = []
    record = trainer.watch.record
    trainer.watch.record = lambda found, step: (  # type: ignore[method-assign]
        losses.append({name: loss.item() for name, loss in found.items()}),
        record(found, step),
    )[1]
    for index in range(num_steps(network)):
        trainer.train_step(trainer.step(index))
    confusion, scores = trainer.final(trainer.evaluations["test"], [*"abc"])
    return {
        "losses": losses,
        "confusion": confusion,
        "scores": scores,
        "objective": trainer.objective.state_dict(),
        "student": trainer.student.state_dict(),
        "gradient_norms": trainer.watch.gradient_norms,
    }


def train_all(dtype: torch.dtype, folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Every method, without and with ISDA, and ISDA's variants that draw or learn."""
    return {cell: train(*cell, dtype, folder) for cell in CELLS}


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    with process_group(torch.device("cpu")):
        found = train_all(getattr(torch, sys.argv[2]), out.parent)
        if is_first():
            torch.save(found, out)
