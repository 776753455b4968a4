"""ISDA's own settings: what they mean, and which go together. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ssl_isda.base.options import Interval
from ssl_isda.base.ramps import isda_strength, linear_ramp_up

CovarianceForm = Literal["full", "diagonal", "shared", "identity", "learned", "permuted", "rotated"]
Images = Literal["both", "labeled", "unlabeled"]
LambdaSchedule = Literal["linear", "constant"]
Augmentation = Literal["implicit", "explicit"]
Classes = Literal["student", "average"]
Consistency = Literal["upper_bound", "centered_bound", "second_order", "entropy"]


@dataclass(frozen=True)
class IsdaConfig:
    """The paper's method by default. ``diagonal``, ``shared``, ``identity`` and ``constant`` are those of
    Table 8, sampled features and learned covariances those of Fig. 10; two closer closed forms of the
    semantic term are in ``ssl_isda.isda.propositions``. ``permuted``, ``rotated``,
    ``matched_strength`` and ``entropy`` are controls (``ssl_isda.isda.controls``). The strength at step
    t of T is lambda_0 t/T.

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
    eta_1_ramp: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Share of the run in which that weight grows from 0, linearly."""
    semantic_threshold: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Unlabeled images whose largest probability is lower do not enter the semantic consistency."""
    semantic_classes: Classes = "student"
    """upper_bound: whose prediction of an unlabeled image chooses the class of its covariance; average:
    that of the averaged network that is tested, such as Mean Teacher's teacher."""
    covariance: CovarianceForm = "full"
    """Form of the class covariances; learned: by gradient descent; permuted: those of another class;
    rotated: turned to random directions."""
    shrinkage: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """full: share by which each covariance is drawn towards a sphere of equal trace."""
    matched_strength: bool = False
    """Scale the strength of another covariance so that the batch's mean of q is that of the full one."""
    max_exponent: Annotated[float, Interval(gt=0)] | None = None
    """implicit: cap on (lambda/2) q, in nats, what ISDA adds to a logit; unset: none."""
    isda_images: Images = "both"
    """The images whose terms ISDA augments."""
    uncertainty_weight: Annotated[float, Interval(ge=0)] | None = None
    """learned: weight of the loss that keeps the covariances from collapsing."""
    augmentation: Augmentation = "implicit"
    """implicit: closed forms; explicit: sampled features."""
    augmentation_samples: Annotated[int, Interval(ge=1)] | None = None
    """explicit: draws for each image."""
    consistency: Consistency = "upper_bound"
    """implicit: the semantic consistency's closed form; upper_bound is the paper's; entropy: no ISDA, the
    entropy of the prediction in its place."""

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
        if explicit and self.semantic_threshold:
            raise ValueError("semantic_threshold goes with augmentation implicit alone")
        if explicit and self.max_exponent is not None:
            raise ValueError("max_exponent goes with augmentation implicit alone")
        if self.semantic_classes != "student" and (explicit or self.consistency != "upper_bound"):
            raise ValueError(
                f"semantic_classes {self.semantic_classes} goes with consistency upper_bound and "
                "augmentation implicit alone"
            )
        if self.shrinkage and self.covariance != "full":
            raise ValueError(f"shrinkage is of full covariances; got covariance {self.covariance}")
        if self.matched_strength and self.covariance in ("full", "learned"):
            raise ValueError(
                "matched_strength compares another covariance with the full one; got covariance "
                f"{self.covariance}"
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

    def semantic_weight(self, progress: float) -> float:
        """eta_1 when the share ``progress`` of the run lies behind."""
        return self.eta_1 * linear_ramp_up(progress, self.eta_1_ramp)
