"""Our training step on synthetic images, built as a run builds it."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from ssl_isda import methods
from ssl_isda.data import augmentations as augmentations
from ssl_isda.data.augmentations.weak import Weak
from ssl_isda.data.batches import TwoStreamBatches
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import InMemory
from ssl_isda.data.splits import Split
from ssl_isda.data.views import AUGMENTATIONS, Augmentation
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.models import MODELS, Network
from ssl_isda.runs.tracking import SilentTracker
from ssl_isda.training.compilation import compile_networks
from ssl_isda.training.method import METHODS
from ssl_isda.training.objective import Objective
from ssl_isda.training.trainer import Trainer, TrainerConfig
from tests.benchmarks.measurement import Settings

NUM_IMAGES, NUM_LABELED = 5_000, 1_000
NUM_STEPS, FIRST_STEP = 156_000, 50_001  # all terms have their full weight
STEPS_PER_EPOCH = 390  # CIFAR-10's: gradients are looked at once in so many steps


def network(model: str, num_classes: int, settings: Settings) -> Network:
    """A network of the settings' width, as far as it has one; a library's as "timm:resnet18"."""
    model, _, name = model.partition(":")
    config = MODELS.config(model)(**({"name": name} if name else {}))
    if hasattr(config, "width"):
        config = replace(config, width=settings.width)
    return MODELS[model](config, num_classes=num_classes, shape=(3, 32, 32))


def build_trainer(
    method: str,
    *,
    isda: bool,
    num_classes: int,
    settings: Settings,
    num_images: int = NUM_IMAGES,
    model: str = "cnn13",
    ratio: int = 1,
) -> Trainer:
    """A run in its middle, over random uint8 images with random labels; with ``ratio`` unlabeled images
    for each labeled one."""
    student = network(model, num_classes, settings)
    student = student.to(settings.device, memory_format=torch.channels_last)
    regularizer = METHODS[method](
        getattr(methods, method).Config(),
        student=student,
        num_images=num_images,
        num_classes=num_classes,
    )
    objective = Objective(
        regularizer, IsdaConfig() if isda else None, num_classes, student.head.in_features
    )
    if settings.compile:
        copies = (each for each in regularizer.modules() if isinstance(each, Network))
        compile_networks((student, *copies), settings.device)
    images = torch.randint(256, (num_images, 3, 32, 32), dtype=torch.uint8)
    scale = torch.full((3, 1, 1), 1 / 64)
    batches = TwoStreamBatches(
        PreparedImages(InMemory(images), scale, -127.5 * scale),
        torch.arange(num_images) % num_classes,
        Split("synthetic", "", 0, labeled=tuple(range(NUM_LABELED))),
        labeled_batch_size=settings.batch_size,
        unlabeled_batch_size=ratio * settings.batch_size,
        seed=0,
        augmentation=Weak(flip=True),
        views=regularizer.views,
        labeled_views=regularizer.labeled_views,
        named={name: _named(name) for name in ("weak", "strong")},
        device=settings.device,
    )
    config = TrainerConfig(
        NUM_STEPS,
        STEPS_PER_EPOCH,
        settings.batch_size * (1 + ratio * min(1, len(regularizer.views))),
        learning_rate=1e-4,  # random labels teach nothing: stay where numbers are ordinary
        precision=settings.precision,
        compiled=settings.compile,
    )
    tracker = SilentTracker(Path(tempfile.gettempdir()))
    return Trainer(student, objective.to(settings.device), batches, {}, config, tracker)


def _named(name: str) -> Augmentation:
    config = AUGMENTATIONS.config(name)()
    return AUGMENTATIONS[name](config, flip=True, max_translation=4)


def stepper(trainer: Trainer) -> Callable[[], object]:
    """A call that takes the trainer's next step, data and loss recording included."""
    indices = itertools.count(FIRST_STEP)
    return lambda: trainer.train_step(trainer.step(next(indices)))
