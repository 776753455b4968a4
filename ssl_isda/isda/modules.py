"""ISDA for a training loop of one's own: the losses as modules with their state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.precision import full_precision
from ssl_isda.base.reduction import Reduction, check_reduction
from ssl_isda.isda.covariance import ClassCovariance, Form
from ssl_isda.isda.cross_entropy import check_options, plain_cross_entropy
from ssl_isda.isda.labels import (
    NO_CLASS,
    are_mixtures,
    check_features,
    check_rows,
    row_shape,
    rows_of,
)
from ssl_isda.isda.propositions import (
    centered_semantic_consistency,
    isda_cross_entropy,
    second_order_consistency,
    semantic_consistency,
)
from ssl_isda.isda.wide_state import WideState
from ssl_isda.models.contract import linear_map
from ssl_isda.parallel.distributed import gathered, largest, num_processes

Bound = Literal["upper_bound", "centered_bound", "second_order"]
BOUNDS: Mapping[str, Callable[..., Tensor]] = {
    "upper_bound": semantic_consistency,
    "centered_bound": centered_semantic_consistency,
    "second_order": second_order_consistency,
}


class ISDALoss(WideState):
    """Prop. 1 with the covariances and the schedule that it needs, in place of ``nn.CrossEntropyLoss``.

        isda = ISDALoss(num_classes=10, num_features=512, total_steps=30_000)
        loss = isda(features, labels, model.fc)

    In training mode a call takes the features into the covariances, counts a step t, and returns the
    bound of ``isda_cross_entropy`` at the strength lambda_0 min(t, T) / T, t from 0. In evaluation mode
    nothing is updated or counted, and features are not augmented: it returns plain cross-entropy, with
    the same options, so that it can be compared with other methods'.

    Where several processes train (``torch.distributed``), a call in training mode takes in the features
    of all of them, so that all have the covariances of the whole batch. Each must then call it equally
    often, and with equally many rows on GPUs.

    Labels that are probabilities (mixup, CutMix) get the bound for mixtures. Features of mixed images
    belong to no class, so the covariances leave them out: show them unmixed features with ``update``.

    Parameters
    ----------
    num_classes, num_features : of the head, c and a
    total_steps : T, how often the training is going to call it
    lambda_0 : strength at the last step
    form : of the covariances, as in ``ClassCovariance``
    reduction, ignore_index, label_smoothing, class_weight : as in ``F.cross_entropy``
    max_exponent : cap on (lambda/2) q, what is added to a logit, for strengths that overflow

    Raises
    ------
    ValueError
        A number out of its range.
    """

    steps: Tensor
    class_weight: Tensor | None

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        total_steps: int,
        lambda_0: float = 0.5,
        form: Form = "full",
        reduction: Reduction = "mean",
        ignore_index: int = NO_CLASS,
        label_smoothing: float = 0.0,
        class_weight: Tensor | None = None,
        max_exponent: float | None = None,
    ) -> None:
        super().__init__()
        check_options(reduction, label_smoothing)
        if max_exponent is not None and not max_exponent > 0:
            raise ValueError(f"max_exponent is more than 0; got {max_exponent}")
        if total_steps < 1 or lambda_0 < 0:
            raise ValueError(
                f"total_steps is 1 or more and lambda_0 0 or more; got {total_steps} and {lambda_0}"
            )
        if class_weight is not None and tuple(class_weight.shape) != (num_classes,):
            raise ValueError(
                f"class_weight is ({num_classes},), one a class; got {tuple(class_weight.shape)}"
            )
        self.covariance = ClassCovariance(num_classes, num_features, form)
        self.total_steps, self.lambda_0 = total_steps, lambda_0
        self.reduction, self.ignore_index = reduction, ignore_index
        self.label_smoothing, self.max_exponent = label_smoothing, max_exponent
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("class_weight", class_weight, persistent=False)
        self._looked = False

    @property
    def strength(self) -> Tensor:
        """lambda of the last step that was counted."""
        steps = kept(self.steps) if torch.compiler.is_compiling() else self.steps
        return self._strength_at(steps - 1)

    def _strength_at(self, step: Tensor) -> Tensor:
        share = step.clamp(0, self.total_steps).to(self.covariance.dtype) / self.total_steps
        return self.lambda_0 * share

    def forward(self, features: Tensor, labels: Tensor, head: nn.Linear | nn.Conv2d) -> Tensor:
        """The loss of a batch.

        Parameters
        ----------
        features : (n, a), what ``head`` sees; or (n, a, h, w)
        labels : (n,) or (n, h, w), any integers; or (n, c), (n, c, h, w), shares of a mixture
        head : the last layer, an ``nn.Linear`` or an ``nn.Conv2d`` with a 1 x 1 kernel

        Returns
        -------
        A scalar; with ``reduction`` "none" (n,) or (n, h, w)

        Raises
        ------
        ValueError
            As ``isda_cross_entropy`` and ``ClassCovariance.update``.
        """
        logits, weight = _logits(features, head, self.covariance)
        options = self._options()
        if not self.training:
            return plain_cross_entropy(logits, labels, **options)
        if are_mixtures(labels, row_shape(features), self.covariance.num_classes):
            self._warn_if_nothing_is_known()
            none = torch.full(row_shape(features), self.ignore_index, device=labels.device)
            self.update(features, none)  # other processes may have unmixed ones
        else:
            self.update(features, labels)
        strength = self._strength_at(self._count())
        return isda_cross_entropy(
            *(logits, labels, weight, self.covariance, strength),
            **options,
            max_exponent=self.max_exponent,
        )

    def _count(self) -> Tensor:
        """The number of steps before this one, which is counted."""
        before = kept(self.steps) if torch.compiler.is_compiling() else self.steps.clone()
        self.steps.copy_(before + 1)
        return before

    def _options(self) -> dict[str, Any]:
        names = ("class_weight", "label_smoothing", "ignore_index", "reduction")
        return {name: getattr(self, name) for name in names}

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Show the covariances features with integer labels, those of all processes, without a loss.

        A call in training mode does so by itself; this is for features beside those of the loss.

        Raises
        ------
        ValueError
            As ``ClassCovariance.update``.
        """
        if num_processes() == 1:
            self.covariance.update(features, labels, ignore_index=self.ignore_index)
            return
        check_rows(
            *(features, labels),
            num_classes=self.covariance.num_classes,
            num_features=self.covariance.num_features,
        )
        rows, flat = rows_of(features), labels.flatten().long()
        if not rows.is_cuda:  # CPUs may have unequally many
            missing = largest(len(rows)) - len(rows)
            rows = F.pad(rows, (0, 0, 0, missing))
            flat = F.pad(flat, (0, missing), value=self.ignore_index)
        self.covariance.update(gathered(rows), gathered(flat), ignore_index=self.ignore_index)

    def _warn_if_nothing_is_known(self) -> None:
        """Look once: a GPU has to be waited for."""
        if self._looked or torch.compiler.is_compiling():
            return
        self._looked = True
        if self.covariance.form != "identity" and not self.covariance.count.any():
            warnings.warn(
                "ISDALoss got mixtures of classes before any image that is not mixed: its covariances "
                "are empty, and it augments nothing yet. They learn from unmixed features, with "
                "isda.update(features, labels)",
                stacklevel=2,
            )

    def extra_repr(self) -> str:
        return (
            f"total_steps={self.total_steps}, lambda_0={self.lambda_0}, "
            f"reduction={self.reduction!r}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}"
            + (f", max_exponent={self.max_exponent}" if self.max_exponent is not None else "")
        )


class SemanticConsistency(nn.Module):
    """Prop. 2, the semantic term of unlabeled features, with covariances and schedule of an ``ISDALoss``.

        semantic = SemanticConsistency(isda)
        loss = isda(features, labels, head) + eta_1 * semantic(unlabeled_features, head)

    The strength is that of the loss's last call, so call it after that. The cap on exponents is the
    loss's too. It has no state of its own, and neither moves nor saves that of the loss. In evaluation
    mode features are not augmented: it returns the entropy of the predictions, or 0 for "second_order".

    Parameters
    ----------
    isda : whose covariances it reads
    bound : "upper_bound" is the paper's; the other forms are closer (``ssl_isda.isda.propositions``)
    reduction : over rows, "mean", "sum" or "none"

    Raises
    ------
    ValueError
        A form or a reduction that does not exist.
    """

    isda: ISDALoss

    def __init__(
        self, isda: ISDALoss, bound: Bound = "upper_bound", reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        if bound not in BOUNDS:
            raise ValueError(f"bound is one of {', '.join(BOUNDS)}; got {bound!r}")
        object.__setattr__(self, "isda", isda)  # no submodule: its state belongs to the loss
        self.bound, self.reduction = bound, reduction

    def forward(self, features: Tensor, head: nn.Linear | nn.Conv2d) -> Tensor:
        """The term of a batch of unlabeled features, (n, a) or (n, a, h, w).

        Returns
        -------
        A scalar; with ``reduction`` "none" (n,) or (n, h, w)

        Raises
        ------
        ValueError
            Shapes that do not fit.
        """
        logits, weight = _logits(features, head, self.isda.covariance)
        given = (logits, weight, self.isda.covariance)
        strength = self.isda.strength if self.training else 0.0
        options: dict[str, Any] = {"reduction": self.reduction}
        if self.bound != "second_order":  # which adds nothing to a logit
            options["max_exponent"] = self.isda.max_exponent
        return BOUNDS[self.bound](*given, strength, **options)

    def extra_repr(self) -> str:
        return f"bound={self.bound!r}, reduction={self.reduction!r}"


def _logits(
    features: Tensor, head: nn.Linear | nn.Conv2d, covariance: ClassCovariance
) -> tuple[Tensor, Tensor]:
    """W a + b in fp32 or wider, (n, c) or (n, c, h, w); and W."""
    weight, bias = linear_map(head)
    check_features(features, covariance.num_features)
    expected = (covariance.num_classes, covariance.num_features)
    if tuple(weight.shape) != expected:
        raise ValueError(
            f"head has a weight of {expected}, for the classes and features of this loss; got "
            f"{tuple(weight.shape)}"
        )
    return _linear(features.movedim(1, -1), weight, bias).movedim(-1, 1), weight


@full_precision
def _linear(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    dtype = torch.promote_types(features.dtype, weight.dtype)
    return F.linear(features.to(dtype), weight.to(dtype), bias.to(dtype))


@torch.library.custom_op("ssl_isda::kept", mutates_args=())
def kept(numbers: Tensor) -> Tensor:
    """A copy that a compiled backward pass keeps.

    ``torch.compile`` may compute what a backward pass needs once more, from a buffer that the forward
    pass has changed meanwhile; the gradient is then wrong without a word (pytorch/pytorch#197039). The
    result of an operation that it does not look into is not computed again.
    """
    return numbers.clone()


@kept.register_fake
def _(numbers: Tensor) -> Tensor:
    return torch.empty_like(numbers)
