"""The one table of what a run logs: the name of each number, what it means, its unit and its section.

The training takes from it what it writes and prints, reports and dashboards what they draw. Imports
no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Metric:
    """A number of metrics.jsonl, or of timing.jsonl where its section is Speed."""

    name: str
    """``*`` in the table below stands for a term of the objective."""
    meaning: str
    unit: str
    """Empty for a number without one."""
    section: str
    in_line: str = ""
    """How the line of an epoch in log.txt shows it; empty: not at all."""

    def of(self, term: str) -> Metric:
        """The same for one term."""
        return replace(
            self,
            name=self.name.replace("*", term),
            meaning=self.meaning.replace("*", term),
            in_line=self.in_line.replace("*", term),
        )


LOSS = Metric("*_loss", "Loss, term *", "", "Losses", "* {:.4f}")
GRADIENT_NORM = Metric("gradient_norm_*", "Gradient norm, term *", "", "Diagnostics")
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("epoch", "Epoch", "", "Progress"),
        Metric("step", "Step", "", "Progress"),
        Metric("test_error", "Test error", "%", "Error", "test error {:.2f} %"),
        Metric("validation_error", "Validation error", "%", "Error", "validation error {:.2f} %"),
        replace(LOSS.of("supervised"), meaning="Supervised loss", unit="nats"),
        replace(
            LOSS.of("semantic"),
            meaning="Semantic consistency loss of ISDA, unweighted",
            unit="nats",
        ),
        replace(LOSS.of("consistency"), meaning="Consistency loss of the method, unweighted"),
        replace(LOSS.of("uncertainty"), meaning="Uncertainty loss of learned covariances"),
        Metric(
            *("consistency_weight", "Weight of the consistency loss (ramp)", "", "Schedules"),
            "weight {:.3g}",
        ),
        Metric("lambda", "Strength λ of ISDA", "", "Schedules", "lambda {:.3f}"),
        Metric("learning_rate", "Learning rate", "", "Schedules"),
        Metric("pseudo_label_accuracy", "Pseudo-labels that are right", "%", "Diagnostics"),
        Metric("confident_share", "Confident predictions", "%", "Diagnostics"),
        Metric("agreement", "Student and teacher agree", "%", "Diagnostics"),
        Metric("mean_variance", "Mean variance σ² of the features", "", "Diagnostics"),
        *(GRADIENT_NORM.of(term) for term in ("supervised", "semantic", "consistency")),
        GRADIENT_NORM.of("uncertainty"),
        Metric("seconds", "Seconds an epoch", "s", "Speed"),
        Metric("images_per_second", "Images per second", "1/s", "Speed"),
    )
}
"""By name, in the order in which reports show them."""


def metric(name: str) -> Metric:
    """What ``name`` stands for; a number that the table does not have, a plugin's, stands for itself."""
    return METRICS.get(name) or Metric(name, name.replace("_", " ").capitalize(), "", "Method")
