"""The supervised step of each network against its bare passes, and what ISDA adds to it at 10 and at 100
classes."""

from __future__ import annotations

from collections.abc import Iterator

from ssl_isda.models import MODELS
from tests.benchmarks import bare_passes
from tests.benchmarks.measurement import Row, Settings, counted_flops, interleaved
from tests.benchmarks.step import CPU_TARGET
from tests.benchmarks.training import build_trainer, stepper

METHOD, ISDA_TARGET = "supervised", 1.02
NUMBERS_OF_CLASSES = (10, 100)


def measure(settings: Settings) -> Iterator[Row]:
    """Three rows a network."""
    for model in settings.models or sorted(set(MODELS) - {"linear", "mlp", "timm", "torchvision"}):
        yield from _measure_model(model, settings)


def _measure_model(model: str, settings: Settings) -> Iterator[Row]:
    """One network at a time is in memory with each number of classes."""
    for num_classes in NUMBERS_OF_CLASSES:
        options = {"num_classes": num_classes, "settings": settings, "model": model}
        bare = bare_passes.build(METHOD, isda=False, **options)
        trainers = {isda: build_trainer(METHOD, isda=isda, **options) for isda in (False, True)}
        calls = {"off": stepper(trainers[False]), "on": stepper(trainers[True])}
        first = num_classes == NUMBERS_OF_CLASSES[0]
        seconds = interleaved({**calls, "bare": bare} if first else calls, settings)
        images = trainers[False].config.images_per_step
        on, off = seconds["on"], seconds["off"]
        if first:
            on_cpu = settings.device.type == "cpu"
            target, flops = CPU_TARGET if on_cpu else None, counted_flops(bare)
            yield Row("networks", model, off, seconds["bare"], target, images, flops)
        case = f"{model}, ISDA, C = {num_classes}"
        yield Row("on / off", case, on, off, ISDA_TARGET, images)
