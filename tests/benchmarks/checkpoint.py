"""What a checkpoint costs: ten minutes of training, with and without the save that they end with."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ssl_isda.training.method import METHODS
from ssl_isda.training.trainer import TrainerConfig
from tests.benchmarks.measurement import Row, Settings, interleaved
from tests.benchmarks.training import build_trainer

NUM_CLASSES = 100
MOST = 1.01


def measure(settings: Settings, num_images: int = 50_000) -> Iterator[Row]:
    """Every method with ISDA, 100 classes, 50,000 images; wall clock, for a disk takes its time."""
    settings = dataclasses.replace(settings, seconds=0, whole_processes=True)
    interval = 60 * TrainerConfig.checkpoint_minutes
    for method in sorted(METHODS):
        seconds, megabytes = _saves(method, settings, num_images)
        yield Row(
            "checkpoint",
            f"{method} + ISDA, {megabytes:.0f} MB",
            [interval + save for save in seconds],
            [interval] * len(seconds),
            MOST,
        )


def _saves(method: str, settings: Settings, num_images: int) -> tuple[list[float], float]:
    """Seconds of each save, and the size of the file in MB."""
    trainer = build_trainer(
        method, isda=True, num_classes=NUM_CLASSES, settings=settings, num_images=num_images
    )
    trainer.train_step(trainer.step(0))  # from then on the optimizer has its momentum
    with tempfile.TemporaryDirectory() as folder:
        trainer.run_state.file = Path(folder) / "checkpoint.pt"
        seconds = interleaved({"ours": trainer.save}, settings)["ours"]
        return seconds, trainer.run_state.file.stat().st_size / 1e6
