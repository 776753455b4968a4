"""Every number that a training logs: what it means, its unit, and where it is shown."""

from __future__ import annotations

from collections.abc import Iterable
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


ERROR, LOSSES, SCHEDULES, DIAGNOSTICS, SPEED = (
    *("Error", "Losses", "Schedules", "Diagnostics", "Speed"),
)
TEST_ERROR = Metric("test_error", "Test error", "test error (%)", ERROR)
_SHARE = "unlabeled images (%)"
METRICS = (
    TEST_ERROR,
    Metric("validation_error", "Validation error", "validation error (%)", ERROR),
    Metric("supervised_loss", "Supervised loss", "loss (nats)", LOSSES),
    Metric("semantic_loss", "Semantic consistency loss of ISDA, unweighted", "loss (nats)", LOSSES),
    Metric("consistency_loss", "Consistency loss of the method, unweighted", "loss", LOSSES),
    Metric("consistency_weight", "Weight of the consistency loss (ramp)", "weight", SCHEDULES),
    Metric("lambda", "Strength λ of ISDA", "λ", SCHEDULES),
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
