"""A whole training step of each method against the bare passes that it needs, against itself without
ISDA, and against the same passes as peers make them: in fp32, NCHW.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ssl_isda.training.method import METHODS
from tests.benchmarks import bare_passes
from tests.benchmarks.isda import TARGETS as ISDA_TARGETS
from tests.benchmarks.measurement import Row, Settings, counted_flops, interleaved
from tests.benchmarks.training import build_trainer, stepper

CPU_TARGET = 1.03
FIXMATCH_TARGET = 1.05
CUDA_GRAPHS_TARGET = 1.10
OF_FP32 = 1 / 2.3
NUM_CLASSES = 10


def measure(settings: Settings) -> Iterator[Row]:
    """Four rows a method: the step without and with ISDA; one over the other; over fp32 passes. And
    one of FixMatch with seven unlabeled images for each labeled one, as its paper has them."""
    for method in sorted(METHODS):
        yield from _measure_method(method, settings)
    yield _measure_fixmatch(settings)


def _measure_fixmatch(settings: Settings, ratio: int = 7) -> Row:
    settings = dataclasses.replace(settings, batch_size=max(4, settings.batch_size // 4))
    options = {"isda": False, "num_classes": NUM_CLASSES, "settings": settings, "ratio": ratio}
    trainer = build_trainer("fixmatch", **options)
    bare = bare_passes.build("fixmatch", **options)
    seconds = interleaved({"ours": stepper(trainer), "bare": bare}, settings)
    images, case = trainer.config.images_per_step, f"fixmatch, 1 + {ratio} + {ratio} images"
    target = FIXMATCH_TARGET if settings.device.type == "cpu" else None
    return Row("step", case, seconds["ours"], seconds["bare"], target, images, counted_flops(bare))


def _measure_method(method: str, settings: Settings) -> Iterator[Row]:
    cases = {method: False, f"{method} + ISDA": True}
    trainers, calls, flops = {}, {}, {}
    for case, isda in cases.items():
        options = {"isda": isda, "num_classes": NUM_CLASSES, "settings": settings}
        trainers[case] = build_trainer(method, **options)
        calls[case] = stepper(trainers[case])
        bare = bare_passes.build(method, **options)
        calls[f"bare {case}"] = bare
        flops[case] = counted_flops(bare)
    plain = dataclasses.replace(settings, precision="fp32", compile=False)
    options = {"isda": False, "num_classes": NUM_CLASSES, "settings": plain}
    calls["fp32"] = bare_passes.build(method, **options, channels_last=False)
    seconds = interleaved(calls, settings)
    images = trainers[method].config.images_per_step
    target = _target(settings)
    for case in cases:
        bare_seconds = seconds[f"bare {case}"]
        yield Row("step", case, seconds[case], bare_seconds, target, images, flops[case])
    on, off = seconds[f"{method} + ISDA"], seconds[method]
    target = ISDA_TARGETS.get(settings.device.type)
    target = target if method != "vat" else None  # plain VAT needs no clean backward
    yield Row("on / off", f"{method}, ISDA", on, off, target, images)
    on_cpu = settings.device.type == "cpu"
    target = OF_FP32 if on_cpu and settings.precision == "bf16" else None
    yield Row("fp32 NCHW", method, off, seconds["fp32"], target, images)


def _target(settings: Settings) -> float | None:
    """Of a step over its bare passes: set for a CPU, and for a GPU under CUDA graphs."""
    if settings.device.type == "cpu":
        return CPU_TARGET
    return CUDA_GRAPHS_TARGET if settings.compile else None
