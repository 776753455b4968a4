"""The one table of what a run logs: the name of each number, what it means, its unit and its section.

The training takes from it what it writes and prints, reports and dashboards what they draw. Imports
no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Metric:
    """A number of metrics.jsonl, or of timing.jsonl where its section is Speed."""

    name: str
    """``*`` in the table below stands for a term of the objective."""
    meaning: str
    unit: str
    """What an axis says: the quantity, with its unit if it has one."""
    section: str
    in_line: str = ""
    """How the line of an epoch in log.txt shows it; empty: not at all."""

    def of(self, term: str) -> Metric:
        """The same for one term."""
        return replace(
            self,
            name=self.name.replace("*", term),
            meaning=self.meaning.replace("*", term.replace("_", " ")).capitalize(),
            in_line=self.in_line.replace("*", term),
        )


PROGRESS, SPEED = "Progress", "Speed"
LOSS = Metric("*_loss", "* loss", "loss", "Losses", "* {:.4f}")
GRADIENT_NORM = Metric("gradient_norm_*", "Gradient of the * loss", "norm", "Diagnostics")
_SEMANTIC = "Semantic consistency loss of ISDA, unweighted"
_SHARE = ("unlabeled images (%)", "Diagnostics")
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("epoch", "Epoch", "epoch", PROGRESS),
        Metric("step", "Step", "training step", PROGRESS),
        Metric("test_error", "Test error", "test error (%)", "Error", "test error {:.2f} %"),
        Metric(
            *("validation_error", "Validation error", "validation error (%)", "Error"),
            "validation error {:.2f} %",
        ),
        replace(LOSS.of("supervised"), unit="loss (nats)"),
        replace(LOSS.of("semantic"), meaning=_SEMANTIC, unit="loss (nats)"),
        replace(LOSS.of("consistency"), meaning="Consistency loss of the method, unweighted"),
        LOSS.of("uncertainty"),
        Metric(
            *("consistency_weight", "Weight of the consistency loss (ramp)", "weight"),
            *("Schedules", "weight {:.3g}"),
        ),
        Metric("lambda", "Strength λ of ISDA", "λ", "Schedules", "lambda {:.3f}"),
        Metric("learning_rate", "Learning rate", "learning rate", "Schedules"),
        Metric("pseudo_label_accuracy", "Pseudo-labels that are right", *_SHARE),
        Metric("confident_share", "Confident predictions", *_SHARE),
        Metric("agreement", "Student and teacher agree", *_SHARE),
        Metric("mean_variance", "Mean variance σ² of the features", "σ²", "Diagnostics"),
        *map(GRADIENT_NORM.of, ("consistency", "semantic", "supervised", "uncertainty")),
        Metric("seconds", "Seconds an epoch", "s", SPEED),
        Metric("images_per_second", "Images per second", "images/s", SPEED),
    )
}
"""By name, in the order in which reports show them; those of a section stand together."""


def metric(name: str) -> Metric:
    """What ``name`` stands for; a number that the table does not have, a plugin's, stands for itself."""
    return METRICS.get(name) or Metric(name, name.replace("_", " ").capitalize(), name, "Method")


def drawn(names: Iterable[str]) -> list[Metric]:
    """Those of the ``names`` that a report draws, in its order: the table's, then terms of a plugin."""
    logged = {*names}
    known = [each for each in METRICS.values() if each.name in logged]
    others = [
        kind.of(name[len(before) : len(name) - len(after)])
        for kind in (LOSS, GRADIENT_NORM)
        for before, _, after in [kind.name.partition("*")]
        for name in sorted(logged - METRICS.keys())
        if name.startswith(before) and name.endswith(after)
    ]
    return [*(each for each in known if each.section not in (PROGRESS, SPEED)), *others]
