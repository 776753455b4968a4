"""Cross-entropy of augmented logits, with the options of ``F.cross_entropy``.

Shape key: n images, c classes, m rows that are classified (images, or pixels).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.base.precision import full_precision
from ssl_isda.base.reduction import Reduction, check_reduction
from ssl_isda.isda.labels import (
    NO_CLASS,
    Classes,
    are_mixtures,
    has_fixed_shapes,
    locate,
    row_shape,
    rows_of,
)


class Target(NamedTuple):
    """What rows should be.

    values : (m,), int64, ``NO_CLASS`` for a row without one; or (m, c) shares of a mixture
    classes : of integer labels; None for a mixture
    in_use : (p,), the classes to compute for; of integer labels
    positions : (m,), where each row's class stands among them
    """

    values: Tensor
    classes: Classes | None = None
    in_use: Tensor | None = None
    positions: Tensor | None = None

    def repeated(self, times: int) -> Target:
        """The same for ``times`` copies of all rows."""
        values = self.values.repeat(times, *[1] * (self.values.ndim - 1))
        return Target(values, None if self.classes is None else self.classes.repeated(times))

    def any_row(self) -> bool | Tensor:
        """Whether a row counts; a tensor where Python may not look."""
        if self.classes is None or self.classes.present is None:
            return self.values.numel() > 0
        present = self.classes.present.any()
        return present if has_fixed_shapes(present) else bool(present)


def shares_of(mixture: Tensor) -> Tensor:
    """Its rows made to sum to 1; a row of zeros stays one."""
    total = mixture.sum(1, keepdim=True)
    return mixture / (total + (total == 0))


def target_of(
    labels: Tensor, positions: tuple[int, ...], num_classes: int, ignore_index: int
) -> Target:
    """Look at the labels of rows, one for each of ``positions``: (n,), or (n, h, w).

    Raises
    ------
    ValueError
        Labels that do not fit, as in ``are_mixtures`` and ``look_at``.
    """
    if are_mixtures(labels, positions, num_classes):
        return Target(rows_of(labels))
    found = locate(labels.flatten().long(), num_classes, ignore_index)
    return Target(found[0].filled(NO_CLASS), *found)


def check_options(reduction: str, label_smoothing: float) -> None:
    """Refuse what ``F.cross_entropy`` does not know.

    Raises
    ------
    ValueError
        An option is not one of its own.
    """
    check_reduction(reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing is from 0 to 1; got {label_smoothing}")


def cross_entropy(
    rows: Tensor,
    shift: Tensor | None,
    target: Target,
    class_weight: Tensor | None,
    label_smoothing: float,
    reduction: Reduction,
) -> Tensor:
    r"""logsumexp(z + d) - z, for logits z and what augmentation adds to them, d = ``shift``.

    With the target t, which has the class weights and the smoothing in it, that is
    \sum_k t_k (logsumexp_j(z_j + d_j) - z_k): the cross-entropy of z + d, and \sum_k t_k d_k, which is
    0 where the target is one class, whose d is 0. Without a row that counts the mean is 0.
    """
    check_options(reduction, label_smoothing)
    augmented = rows if shift is None else rows + shift
    class_weight = _checked(class_weight, augmented)
    any_row = target.any_row()
    if any_row is False and reduction == "mean":
        reduction = "sum"
    options = {"weight": class_weight, "label_smoothing": label_smoothing}
    values = target.values if target.classes is not None else target.values.to(augmented.dtype)
    loss = F.cross_entropy(augmented, values, reduction=reduction, **options)  # type: ignore[arg-type]
    if shift is not None and (label_smoothing or target.classes is None):
        loss = loss + _not_augmented(shift, target, class_weight, label_smoothing, reduction)
    if isinstance(any_row, Tensor) and reduction == "mean":
        loss = torch.where(any_row, loss, 0)
    return loss


@full_precision
def plain_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weight: Tensor | None,
    label_smoothing: float,
    ignore_index: int,
    reduction: Reduction,
) -> Tensor:
    """Without augmentation, for logits and labels as ``isda_cross_entropy`` takes them."""
    target = target_of(labels, row_shape(logits), logits.shape[1], ignore_index)
    loss = cross_entropy(rows_of(logits), None, target, class_weight, label_smoothing, reduction)
    return loss.view(row_shape(logits)) if reduction == "none" else loss


def _not_augmented(
    shift: Tensor,
    target: Target,
    class_weight: Tensor | None,
    label_smoothing: float,
    reduction: Reduction,
) -> Tensor:
    """sum_k t_k d_k, reduced as ``F.cross_entropy`` does. The d of a row that is one class, and of a row
    without one, is 0 there."""
    share: Tensor | float = label_smoothing / shift.shape[1]
    if target.classes is None:
        share = (1 - label_smoothing) * target.values + share
    if class_weight is not None:
        share = share * class_weight
    added = (share * shift).sum(1)
    if reduction != "mean":
        return added.sum() if reduction == "sum" else added
    total = added.new_tensor(len(added))
    if target.classes is not None:
        weights = torch.ones_like(shift[0]) if class_weight is None else class_weight
        counted = weights.index_select(0, target.classes.number)
        present = target.classes.present
        total = (counted if present is None else counted.where(present, 0)).sum()
    return added.sum() / (total + (total == 0))


def _checked(class_weight: Tensor | None, rows: Tensor) -> Tensor | None:
    if class_weight is None:
        return None
    if tuple(class_weight.shape) != (rows.shape[1],):
        raise ValueError(
            f"class_weight is ({rows.shape[1]},), one a class; got {tuple(class_weight.shape)}"
        )
    return class_weight.to(rows.dtype)
