"""ISDA's own settings: what they mean, and which go together. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ssl_isda.base.options import Interval
from ssl_isda.base.ramps import isda_strength

CovarianceForm = Literal["full", "diagonal", "shared", "identity", "learned"]
LambdaSchedule = Literal["linear", "constant"]
Augmentation = Literal["implicit", "explicit"]
Consistency = Literal["upper_bound", "centered_bound", "second_order"]


@dataclass(frozen=True)
class IsdaConfig:
    """The paper's method by default. The other covariances and ``constant`` are those of Table 8,
    sampled features and learned covariances those of Fig. 10; two closer closed forms of the semantic
    term are in ``ssl_isda.isda.propositions``. The strength at step t of T is lambda_0 t/T.

    Raises
    ------
    ValueError
        Settings that contradict each other.
    """

    lambda_0: Annotated[float, Interval(ge=0)] = 0.5
    """Strength of the augmentation at the last step."""
    lambda_schedule: LambdaSchedule = "linear"
    """linear: the strength grows from 0; constant: it is the same all along."""
    eta_1: Annotated[float, Interval(ge=0)] = 1.0
    """Weight of the semantic consistency of unlabeled images."""
    covariance: CovarianceForm = "full"
    """Form of the class covariances; learned: by gradient descent."""
    uncertainty_weight: Annotated[float, Interval(ge=0)] | None = None
    """learned: weight of the loss that keeps the covariances from collapsing."""
    augmentation: Augmentation = "implicit"
    """implicit: closed forms; explicit: sampled features."""
    augmentation_samples: Annotated[int, Interval(ge=1)] | None = None
    """explicit: draws for each image."""
    consistency: Consistency = "upper_bound"
    """implicit: the semantic consistency's closed form; upper_bound is the paper's."""

    def __post_init__(self) -> None:
        explicit, learned = self.augmentation == "explicit", self.covariance == "learned"
        if explicit and self.augmentation_samples is None:
            raise ValueError(
                "augmentation explicit needs augmentation_samples, draws for each image"
            )
        if explicit and self.consistency != "upper_bound":
            raise ValueError(
                f"consistency {self.consistency} is a closed form, and augmentation explicit uses "
                "none; leave one of the two out"
            )
        if self.augmentation_samples is not None and not explicit:
            raise ValueError("augmentation_samples goes with augmentation explicit alone")
        if self.augmentation_samples is not None and self.augmentation_samples < 1:
            raise ValueError(f"augmentation_samples is 1 or more; got {self.augmentation_samples}")
        if learned and self.uncertainty_weight is None:
            raise ValueError(
                "covariance learned needs uncertainty_weight, the weight of the loss that keeps it "
                "from collapsing; the paper tunes it on held-out labels"
            )
        if self.uncertainty_weight is not None and not learned:
            raise ValueError("uncertainty_weight goes with covariance learned alone")

    def strength(self, progress: float) -> float:
        """lambda when the share ``progress`` = t/T of the run lies behind."""
        if self.lambda_schedule == "constant":
            return self.lambda_0
        return isda_strength(self.lambda_0, progress)
