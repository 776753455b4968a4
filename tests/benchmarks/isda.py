"""What ISDA adds to a whole training step.

The step is temporal ensembling's: the cheapest one that has both propositions, so that ISDA's share
is the largest. (VAT's step grows by more: Prop. 2 sends a gradient through its clean pass, which
plain VAT does without. ``step`` compares it with bare passes that include that one.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from tests.benchmarks.measurement import Row, Settings, interleaved
from tests.benchmarks.training import build_trainer, stepper

TARGETS = {"cpu": 1.01, "cuda": 1.02}
METHOD = "temporal_ensembling"


def measure(settings: Settings) -> Iterator[Row]:
    """A row for each number of classes, at the chosen width and at a quarter."""
    for width in dict.fromkeys((settings.width, 0.25)):
        for num_classes in (10, 100):
            yield _measure_case(num_classes, dataclasses.replace(settings, width=width))


def _measure_case(num_classes: int, settings: Settings) -> Row:
    trainers = {
        isda: build_trainer(METHOD, isda=isda, num_classes=num_classes, settings=settings)
        for isda in (False, True)
    }
    seconds = interleaved(
        {"off": stepper(trainers[False]), "on": stepper(trainers[True])}, settings
    )
    case = f"on / off, C = {num_classes}, width {settings.width:g}"
    images = trainers[True].config.images_per_step
    target = TARGETS.get(settings.device.type)
    return Row("isda", case, seconds["on"], seconds["off"], target, images)
