"""One class for each image: every image is a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor, nn

from ssl_isda.base.class_scores import balanced_error, class_errors, macro_f1
from ssl_isda.models.contract import Prediction
from ssl_isda.tasks.contract import TASKS, Augmented, Calibration, Metric, Rows


@dataclass(frozen=True)
class Config:
    """No options."""


@TASKS.register("classification")
@final
class Classification:
    """Judged by its error."""

    headline = Metric("error", "%", lower_is_better=True)
    is_dense = False
    auxiliary_weight = 0.0

    def __init__(self, config: Config | None = None) -> None:
        pass

    def rows(self, prediction: Prediction, targets: Tensor | None) -> Rows:
        return Rows(prediction.logits, prediction.features, targets)

    def judged(
        self, prediction: Prediction, targets: Tensor, augmented: Augmented | None = None
    ) -> Rows:
        rows = self.rows(prediction, targets)
        return augmented(rows) if augmented else rows

    def predicted(self, network: nn.Module, images: Tensor) -> Prediction:
        return Prediction(*network(images))

    def scores(self, confusion: Tensor) -> dict[str, float]:
        """``error``: the share of predictions off the diagonal, in percent."""
        total = int(confusion.sum())
        return {"error": 100.0 * (total - int(confusion.trace())) / total}

    def final_scores(
        self, confusion: Tensor, calibration: Calibration, class_names: Sequence[str]
    ) -> dict[str, Any]:
        """``balanced_error``, ``macro_f1`` and ``calibration_error``, in percent, and ``class_errors`` by
        the classes' names, None for a class without images; ``base.class_scores`` defines them."""
        counts = confusion.tolist()
        return {
            "balanced_error": balanced_error(counts),
            "macro_f1": macro_f1(counts),
            "calibration_error": calibration.error(),
            "class_errors": dict(zip(class_names, class_errors(counts), strict=True)),
        }
