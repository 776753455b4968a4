"""What was logged over a training, as mean and standard deviation over the seeds of a cell."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ssl_isda.results.cells import Cell
from ssl_isda.results.runs import Run

MOST_POINTS = 100
"""A curve is drawn through so many of its epochs, evenly spread, first and last among them."""


@dataclass(frozen=True)
class Quantity:
    """Something that metrics.jsonl may hold."""

    key: str
    title: str
    axis: str
    """The name of the axis, with its unit."""


@dataclass(frozen=True)
class Curve:
    """One quantity of one cell over the training."""

    steps: list[float]
    means: list[float]
    stds: list[float]
    """Empty for a single run, and where none were asked for."""
    n: int
    is_finished: bool
    """False: no run of the cell is finished, and these are the unfinished ones."""


TEST_ERROR = Quantity("test_error", "Test error", "test error (%)")

_KNOWN = (
    TEST_ERROR,
    Quantity("validation_error", "Validation error", "validation error (%)"),
    Quantity("supervised_loss", "Supervised loss", "loss (nats)"),
    Quantity("semantic_loss", "Semantic consistency loss of ISDA, unweighted", "loss (nats)"),
    Quantity("consistency_loss", "Consistency loss of the method, unweighted", "loss"),
    Quantity("consistency_weight", "Weight of the consistency loss (ramp)", "weight"),
    Quantity("lambda", "Strength λ of ISDA", "λ"),
    Quantity("learning_rate", "Learning rate", "learning rate"),
    Quantity("pseudo_label_accuracy", "Pseudo-labels that are right", "unlabeled images (%)"),
    Quantity("confident_share", "Confident predictions", "unlabeled images (%)"),
    Quantity("agreement", "Student and teacher agree", "unlabeled images (%)"),
    Quantity("mean_variance", "Mean variance σ² of the features", "σ²"),
)
_GRADIENT = "gradient_norm_"


def quantities_of(cells: Iterable[Cell]) -> list[Quantity]:
    """What the runs of ``cells`` logged, in the order of the report; unknown numbers are left out."""
    logged = {key for cell in cells for run in cell.runs for key in (run.epochs or [{}])[-1]}
    known = [quantity for quantity in _KNOWN if quantity.key in logged]
    named = {quantity.key for quantity in _KNOWN}
    losses = [key for key in sorted(logged - named) if key.endswith("_loss")]
    gradients = [key for key in sorted(logged - named) if key.startswith(_GRADIENT)]
    return [
        *known,
        *(Quantity(key, f"{_words(key)}", "loss") for key in losses),
        *(
            Quantity(key, f"Gradient of the {_words(key[len(_GRADIENT) :]).lower()} loss", "norm")
            for key in gradients
        ),
    ]


def curve(cell: Cell, quantity: Quantity, *, with_std: bool) -> Curve | None:
    """The curve of the finished runs, or where there are none of those that came so far; or None.

    It ends where its shortest run ends.
    """
    runs = cell.finished or [run for run in cell.runs if run.state in ("unfinished", "failed")]
    logged = [run.epochs for run in runs if any(quantity.key in epoch for epoch in run.epochs)]
    if not logged:
        return None
    length = min(map(len, logged))
    picked = [index for index in _evenly(length) if _is_whole(logged, index, quantity.key)]
    columns = [[epochs[index][quantity.key] for epochs in logged] for index in picked]
    return Curve(
        steps=[logged[0][index]["step"] for index in picked],
        means=[statistics.fmean(values) for values in columns],
        stds=[statistics.stdev(values) for values in columns]
        if with_std and len(logged) > 1
        else [],
        n=len(logged),
        is_finished=bool(cell.finished),
    )


def training_seconds(run: Run) -> float | None:
    """How long the run trained."""
    seconds = [epoch["seconds"] for epoch in run.timing if "seconds" in epoch]
    return sum(seconds) if seconds else None


def images_per_second(run: Run) -> float | None:
    """The median over the epochs."""
    rates = [epoch["images_per_second"] for epoch in run.timing if "images_per_second" in epoch]
    return statistics.median(rates) if rates else None


def _is_whole(logged: Sequence[Sequence[Mapping[str, float]]], index: int, key: str) -> bool:
    return all(key in epochs[index] and "step" in epochs[index] for epochs in logged)


def _evenly(length: int) -> list[int]:
    if length <= MOST_POINTS:
        return list(range(length))
    return [round(i * (length - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)]


def _words(key: str) -> str:
    return key.replace("_", " ").capitalize()
