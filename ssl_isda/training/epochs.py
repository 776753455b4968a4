"""What is told of an epoch: its metrics, its times, and its line in the log."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ssl_isda.base.progress import duration
from ssl_isda.base.step import Step
from ssl_isda.runs.metrics import gradient_norm_of, in_line
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training.diagnostics import mean_variance
from ssl_isda.training.objective import Objective


def in_force(objective: Objective, step: Step, learning_rate: float) -> dict[str, float]:
    """What the schedules say at this step."""
    found = {"learning_rate": learning_rate, "consistency_weight": objective.method.weight(step)}
    if objective.isda:
        found["lambda"] = objective.isda.strength(step.progress)
    return found


def diagnosed(objective: Objective, gradient_norms: Mapping[str, Tensor]) -> dict[str, float]:
    """What is looked at beside losses and scores."""
    found = {gradient_norm_of(name): norm.item() for name, norm in gradient_norms.items()}
    if objective.covariance is not None:
        found["mean_variance"] = mean_variance(objective.covariance)
    return found


def log_epoch(
    tracker: Tracker,
    step: Step,
    metrics: Mapping[str, float],
    seconds: float,
    num_steps: int,
    num_images: int,
) -> None:
    """Keep and show the epoch that ends with ``step``.

    Parameters
    ----------
    num_steps, num_images : of the epoch, made here in ``seconds``; 0 if all were made before a stop
    """
    position: dict[str, float | int] = {"epoch": step.epoch + 1, "step": step.index + 1}
    timing: dict[str, float | int] = {"epoch": step.epoch + 1, "seconds": seconds}
    speed = []
    if num_steps:
        timing["images_per_second"] = num_images / max(seconds, 1e-9)
        left = (step.num_steps - step.index - 1) * seconds / num_steps
        ends = f"{duration(left)} left" if left else "done"
        speed = [f"{timing['images_per_second']:,.0f} images/s  {ends}"]
    epoch = f"epoch {step.epoch + 1:>{len(str(step.num_epochs))}}/{step.num_epochs}"
    values = [in_line(name, value) for name, value in metrics.items()]
    line = "  ".join([epoch, *filter(None, values), *speed])
    tracker.log_epoch({**position, **metrics}, timing, line)
