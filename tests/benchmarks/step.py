"""A whole training step of each method against the bare passes that it needs."""

from __future__ import annotations

from collections.abc import Iterator

from ssl_isda.regularizer import METHODS
from tests.benchmarks import bare_passes
from tests.benchmarks.measurement import Row, Settings, counted_flops, interleaved
from tests.benchmarks.training import build_trainer, stepper

TARGET = 1.05
NUM_CLASSES = 10


def measure(settings: Settings) -> Iterator[Row]:
    """Two rows a method: without and with ISDA."""
    for method in sorted(METHODS):
        yield from _measure_method(method, settings)


def _measure_method(method: str, settings: Settings) -> list[Row]:
    cases = {method: False, f"{method} + ISDA": True}
    trainers, calls, flops = {}, {}, {}
    for case, isda in cases.items():
        options = {"isda": isda, "num_classes": NUM_CLASSES, "settings": settings}
        trainers[case] = build_trainer(method, **options)
        calls[case] = stepper(trainers[case])
        bare = bare_passes.build(method, **options)
        calls[f"bare {case}"] = bare
        flops[case] = counted_flops(bare)
    seconds = interleaved(calls, settings)
    return [
        Row(
            "step",
            case,
            seconds[case],
            seconds[f"bare {case}"],
            TARGET,
            trainers[case].config.images_per_step,
            flops[case],
        )
        for case in cases
    ]
