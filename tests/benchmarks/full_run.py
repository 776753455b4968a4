"""A whole run of the paper's recipe on CIFAR-10, extrapolated from many steps: for GPUs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch

from tests.benchmarks import bare_passes
from tests.benchmarks.measurement import Row, Settings, counted_flops, interleaved
from tests.benchmarks.training import NUM_STEPS, build_trainer, stepper

MINUTES = {"pi_model": 15, "vat": 30}
NUM_IMAGES = 50_000


def measure(settings: Settings, measured_steps: int = 2_000, side: int = 8_192) -> Iterator[Row]:
    """Two rows a method, with ISDA: 156,000 steps against the minutes that they may take, and the pace
    of their products and convolutions; last the pace of one large product, the most there is to have.
    """
    if settings.device.type == "cpu" and measured_steps >= 1_000:
        print("full_run     left out: a whole run on a CPU takes days")
        return
    settings = dataclasses.replace(settings, rounds=1, seconds=0)
    for method, minutes in MINUTES.items():
        options = {"isda": True, "num_classes": 10, "settings": settings}
        trainer = build_trainer(method, **options, num_images=NUM_IMAGES)
        step = stepper(trainer)

        def steps(step=step) -> None:
            for _ in range(measured_steps):
                step()

        (seconds,) = interleaved({"ours": steps}, settings)["ours"]
        whole = seconds / measured_steps * NUM_STEPS
        images = trainer.config.images_per_step * NUM_STEPS
        flops = counted_flops(bare_passes.build(method, **options)) * NUM_STEPS
        yield Row(
            *("full_run", f"{method} + ISDA, {NUM_STEPS:,} steps / {minutes} min"),
            *([whole], [60.0 * minutes], 1.0, images),
        )
        yield Row("full_run", f"{method} + ISDA, TFLOP/s", [whole], [whole], None, images, flops)
    matrix = torch.randn(side, side, dtype=torch.bfloat16, device=settings.device)
    rounds = dataclasses.replace(settings, rounds=10)
    seconds = interleaved({"ours": lambda: matrix @ matrix}, rounds)["ours"]
    yield Row("full_run", f"bf16 product, side {side:,}", seconds, seconds, flops=2 * side**3)
