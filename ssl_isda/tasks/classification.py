"""One class for each image: every image is a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from ssl_isda.models.contract import Prediction
from ssl_isda.tasks.contract import TASKS, Metric, Rows


@dataclass(frozen=True)
class Config:
    """No options."""


@TASKS.register("classification")
@final
class Classification:
    """Judged by its error."""

    headline = Metric("error", "%", lower_is_better=True)

    def __init__(self, config: Config | None = None) -> None:
        pass

    def rows(self, prediction: Prediction, targets: Tensor | None) -> Rows:
        return Rows(prediction.logits, prediction.features, targets)

    def scores(self, confusion: Tensor) -> dict[str, float]:
        """``error``: the share of predictions off the diagonal, in percent."""
        total = int(confusion.sum())
        return {"error": 100.0 * (total - int(confusion.trace())) / total}
