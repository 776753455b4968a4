"""A whole run of the paper's recipe on CIFAR-10, extrapolated from many steps: for GPUs."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Callable, Iterator

import torch

from ssl_isda.data.batches import evaluation_batches
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import InMemory
from ssl_isda.training.trainer import LabeledBatches, Trainer
from tests.benchmarks import bare_passes
from tests.benchmarks.measurement import Row, Settings, counted_flops, interleaved
from tests.benchmarks.training import (
    FIRST_STEP,
    NUM_STEPS,
    STEPS_PER_EPOCH,
    build_trainer,
    stepper,
)

MINUTES = {"pi_model": 15, "vat": 30}
NUM_IMAGES = 50_000
NUM_EPOCHS = NUM_STEPS // STEPS_PER_EPOCH
NUM_TESTED, NUM_DIAGNOSED = 10_000, 2_000
"""Images that each epoch ends with: of CIFAR-10's test set, and unlabeled ones, as in ``run.py``."""
PEAK_ROUNDS = 10


def measure(
    settings: Settings,
    measured_steps: int = 2_000,
    side: int = 8_192,
    tested: int = NUM_TESTED,
    num_images: int = NUM_IMAGES,
) -> Iterator[Row]:
    """The pace of one large product, the most there is to have; then two rows a method, with ISDA: the
    whole run against the minutes that it may take, and the share of that pace that the products and
    convolutions of its training passes reach over the whole run.
    """
    if settings.device.type == "cpu" and measured_steps >= 1_000:
        print("full_run     left out: a whole run on a CPU takes days")
        return
    product = _product(settings, side)
    yield product
    pace = product.flops / statistics.median(product.ours)
    settings = dataclasses.replace(settings, rounds=1, seconds=0)
    target = 1.0 if settings.device.type == "cuda" else None
    for method, minutes in MINUTES.items():
        options = {"isda": True, "num_classes": 10, "settings": settings}
        trainer = build_trainer(method, **options, num_images=num_images)
        whole = _whole_run(trainer, settings, measured_steps, tested)
        images = trainer.config.images_per_step * NUM_STEPS
        flops = counted_flops(bare_passes.build(method, **options)) * NUM_STEPS
        case = f"{method} + ISDA, {NUM_EPOCHS} epochs / {minutes} min"
        yield Row("full_run", case, [whole], [60.0 * minutes], target, images)
        case = f"{method} + ISDA, utilisation"
        yield Row("full_run", case, [flops / pace], [whole], flops=flops)


def _product(settings: Settings, side: int) -> Row:
    matrix = torch.randn(side, side, dtype=torch.bfloat16, device=settings.device)
    settings = dataclasses.replace(settings, rounds=PEAK_ROUNDS)
    seconds = interleaved({"ours": lambda: matrix @ matrix}, settings)["ours"]
    return Row("full_run", f"bf16 product, side {side:,}", seconds, seconds, flops=2 * side**3)


def _whole_run(trainer: Trainer, settings: Settings, measured_steps: int, tested: int) -> float:
    """Seconds of all steps and of the end of each epoch."""
    step = stepper(trainer)

    def steps() -> None:
        for _ in range(measured_steps):
            step()

    calls = {"steps": steps, "end": _end_of_epoch(trainer, settings.device, tested)}
    seconds = {name: times[0] for name, times in interleaved(calls, settings).items()}
    return seconds["steps"] / measured_steps * NUM_STEPS + seconds["end"] * NUM_EPOCHS


def _end_of_epoch(trainer: Trainer, device: torch.device, tested: int) -> Callable[[], None]:
    """Test, diagnose and log, on random images."""
    trainer.evaluations = {"test": _random_batches(tested, device)}
    trainer.pseudo_labeled = _random_batches(min(tested, NUM_DIAGNOSED), device)

    def end() -> None:
        trainer.loss_sums = {"supervised": torch.zeros((), device=device)}
        trainer._finish_epoch(trainer.step(FIRST_STEP))

    return end


def _random_batches(num_images: int, device: torch.device) -> LabeledBatches:
    images = torch.randn(num_images, 3, 32, 32).to(device)
    labels = torch.arange(num_images) % 10
    return functools.partial(evaluation_batches, PreparedImages(InMemory(images)), labels)
