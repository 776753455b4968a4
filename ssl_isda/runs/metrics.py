"""Every number that a training logs: what it means, its unit, and where it is shown."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One number of an epoch, in metrics.jsonl or timing.jsonl."""

    name: str
    meaning: str
    unit: str
    """What an axis says: the quantity with its unit."""
    section: str
    """The part of a page that it belongs to."""
    in_line: str = ""
    """How the line of an epoch in log.txt shows it; empty: not at all."""


@dataclass(frozen=True)
class Headline:
    """The number that a task's runs are judged by: the key of a result, and its words."""

    name: str
    words: str
    lower_is_better: bool

    @property
    def of_test(self) -> str:
        """Its name among the numbers of an epoch, on the test part."""
        return f"test_{self.name}"

    @property
    def of_validation(self) -> str:
        """The same on the images that are held out."""
        return f"validation_{self.name}"


ERROR_RATE = Headline("error", "error", lower_is_better=True)
MEAN_IOU = Headline("mean_iou", "mIoU", lower_is_better=False)
HEADLINES = (ERROR_RATE, MEAN_IOU)


def headline_of(result: Collection[str]) -> Headline:
    """The one whose name a result has among its keys; the error where it has none."""
    return next((each for each in HEADLINES if each.name in result), ERROR_RATE)


def headline_of_validation(result: Collection[str]) -> Headline:
    """The one that a result has on its validation set."""
    return next(each for each in HEADLINES if each.of_validation in result)


def headline_of_epoch(metrics: Collection[str]) -> Headline | None:
    """The one that the numbers of an epoch have, on the test part."""
    return next((each for each in HEADLINES if each.of_test in metrics), None)


ERROR, LOSSES, SCHEDULES, DIAGNOSTICS, SPEED = (
    *("Error", "Losses", "Schedules", "Diagnostics", "Speed"),
)
TEST_ERROR = Metric("test_error", "Test error", "test error (%)", ERROR, "test error {:.2f} %")
TEST_MEAN_IOU = Metric(
    *("test_mean_iou", "Test mIoU", "test mIoU (%)", ERROR),
    "test mIoU {:.2f} %",
)
TOP5_ERROR = Metric(
    *("test_top5_error", "Test top-5 error", "test top-5 error (%)", ERROR),
    "top-5 {:.2f} %",
)
_SHARE = "unlabeled images (%)"
METRICS = (
    TEST_ERROR,
    Metric(
        *("validation_error", "Validation error", "validation error (%)", ERROR),
        "validation error {:.2f} %",
    ),
    TOP5_ERROR,
    Metric("validation_top5_error", "Validation top-5 error", "validation top-5 error (%)", ERROR),
    TEST_MEAN_IOU,
    Metric(
        *("validation_mean_iou", "Validation mIoU", "validation mIoU (%)", ERROR),
        "validation mIoU {:.2f} %",
    ),
    Metric("test_pixel_accuracy", "Test pixels that are right", "test pixels (%)", ERROR),
    Metric("supervised_loss", "Supervised loss", "loss (nats)", LOSSES),
    Metric("semantic_loss", "Semantic consistency loss of ISDA, unweighted", "loss (nats)", LOSSES),
    Metric("consistency_loss", "Consistency loss of the method, unweighted", "loss", LOSSES),
    Metric(
        "consistency_weight",
        "Weight of the consistency loss (ramp)",
        "weight",
        SCHEDULES,
        "weight {:.3g}",
    ),
    Metric("lambda", "Strength λ of ISDA", "λ", SCHEDULES, "lambda {:.3f}"),
    Metric("learning_rate", "Learning rate", "learning rate", SCHEDULES),
    Metric("pseudo_label_accuracy", "Pseudo-labels that are right", _SHARE, DIAGNOSTICS),
    Metric("confident_share", "Confident predictions", _SHARE, DIAGNOSTICS),
    Metric("agreement", "Student and teacher agree", _SHARE, DIAGNOSTICS),
    Metric("mean_variance", "Mean variance σ² of the features", "σ²", DIAGNOSTICS),
    Metric("gradient_norm_consistency", "Gradient of the consistency loss", "norm", DIAGNOSTICS),
    Metric("gradient_norm_semantic", "Gradient of the semantic loss", "norm", DIAGNOSTICS),
    Metric("gradient_norm_supervised", "Gradient of the supervised loss", "norm", DIAGNOSTICS),
    Metric("images_per_second", "Images per second", "images/s", SPEED),
)
"""In the order in which pages show them."""


def metrics_among(logged: Iterable[str]) -> list[Metric]:
    """What is known of the ``logged`` names: the table's first, then other losses and gradients."""
    names = set(logged)
    others = sorted(names - {metric.name for metric in METRICS})
    losses = [
        Metric(name, name.replace("_", " ").capitalize(), "loss", LOSSES)
        for name in others
        if name.endswith("_loss")
    ]
    gradients = [
        Metric(name, f"Gradient of the {term.replace('_', ' ')} loss", "norm", DIAGNOSTICS)
        for name in others
        if (term := name.removeprefix("gradient_norm_")) != name
    ]
    return [*(metric for metric in METRICS if metric.name in names), *losses, *gradients]


def loss_of(term: str) -> str:
    """The name under which the mean loss of a term is logged."""
    return f"{term}_loss"


def gradient_norm_of(term: str) -> str:
    """The name under which the norm of a term's gradient is logged."""
    return f"gradient_norm_{term}"


def in_line(name: str, value: float) -> str:
    """What the line of an epoch says of a logged number; empty for most."""
    if name.endswith("_loss"):
        return f"{name.removesuffix('_loss')} {value:.4f}"
    known = {metric.name: metric.in_line for metric in METRICS}
    return known.get(name, "").format(value)
