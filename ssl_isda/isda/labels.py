"""What labels may look like: any integer type, ignored rows, mixtures of classes, maps of pixels.

Shape key: n images, c classes, m rows that are classified (images, or pixels).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ssl_isda.base.shapes import Int

INTEGERS = {
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64),
}
NO_CLASS = -100
"""The target that ``F.cross_entropy`` passes over by default."""


class Classes(NamedTuple):
    """Hard labels, looked at.

    number : (m,), int64, inside the classes everywhere: 0 where a row has none
    present : (m,), bool, whether a row has a class; None: every row has one
    outside : (m,), bool, whether a label is neither a class nor to be ignored; None: none is
    """

    number: Tensor
    present: Tensor | None
    outside: Tensor | None

    def repeated(self, times: int) -> Classes:
        """Of ``times`` copies of all rows."""
        parts = (part if part is None else part.repeat(times) for part in self[1:])
        return Classes(self.number.repeat(times), *parts)

    def filled(self, value: int, *, outside_too: bool = False) -> Tensor:
        """The classes, and ``value`` where a row has none, or one that does not exist."""
        number = self.number if self.present is None else self.number.where(self.present, value)
        if outside_too and self.outside is not None:
            return number.where(~self.outside, value)
        return number


def rows_of(values: Tensor) -> Tensor:
    """(n, k) as it is, (n, k, h, w) as one row a pixel: (n h w, k)."""
    return values if values.ndim == 2 else values.movedim(1, -1).reshape(-1, values.shape[1])


def row_shape(values: Tensor) -> tuple[int, ...]:
    """The shape of one number a row, for values (n, k) or (n, k, h, w): (n,) or (n, h, w)."""
    return (*values.shape[:1], *values.shape[2:])


def check_features(features: Tensor, num_features: int) -> None:
    """Refuse what is not (n, a) or (n, a, h, w).

    Raises
    ------
    ValueError
        It is not.
    """
    if features.ndim < 2 or features.shape[1] != num_features:
        raise ValueError(
            f"features are (n, {num_features}); got {tuple(features.shape)}: "
            "the features before the linear head are meant, one row an image"
        )


def is_transformed(tensor: Tensor) -> bool:
    """Whether ``torch.func`` is about to batch or differentiate the tensor."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(tensor))


def has_fixed_shapes(tensor: Tensor) -> bool:
    """Whether Python may not look at values: a GPU would have to be waited for, and within
    ``torch.compile`` and ``torch.func`` there are none yet."""
    if tensor.is_cuda or torch.compiler.is_compiling():
        return True
    return torch._C._are_functorch_transforms_active() and is_transformed(tensor)


def are_mixtures(labels: Tensor, positions: Sequence[int], num_classes: int) -> bool:
    """Whether labels are probabilities, (n, c, ...), rather than classes, (n, ...).

    Parameters
    ----------
    positions : (n,), or (n, h, w): the shape of one label a row

    Raises
    ------
    ValueError
        They are neither.
    """
    hard = tuple(positions)
    soft = (*hard[:1], num_classes, *hard[1:])
    if labels.dtype in INTEGERS and tuple(labels.shape) == hard:
        return False
    if labels.is_floating_point() and tuple(labels.shape) == soft:
        return True
    advice = ""
    if labels.ndim == len(hard) + 1 and labels.shape[1] == 1:
        advice = ": labels.squeeze(1) has one label a row"
    elif labels.dtype in INTEGERS and tuple(labels.shape) == soft:
        advice = ": labels.argmax(1) has the classes of one-hot rows"
    elif tuple(labels.shape) == hard:
        advice = ": classes are integers, so labels.long() may be meant"
    raise ValueError(
        f"labels are integers of shape {hard}, or probabilities of shape {soft}; got "
        f"{tuple(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}{advice}"
    )


def look_at(labels: Tensor, num_classes: int, ignore_index: int) -> Classes:
    """Which rows have a class.

    Parameters
    ----------
    labels : (m,), int64

    Raises
    ------
    ValueError
        A label is outside the classes and is not ``ignore_index``. Not on a GPU and not within
        ``torch.compile`` or ``torch.func``: there ``outside`` tells.
    """
    if has_fixed_shapes(labels):
        ignored = labels == ignore_index
        inside = labels.clamp(0, num_classes - 1)
        return Classes(inside.where(~ignored, 0), ~ignored, (inside != labels) & ~ignored)
    if labels.numel() == 0:
        return Classes(labels, None, None)
    low, high = map(int, labels.aminmax())
    if low >= 0 and high < num_classes and not low <= ignore_index <= high:
        return Classes(labels, None, None)
    present = labels != ignore_index
    outside = present & ((labels < 0) | (labels >= num_classes))
    if outside.any():
        raise ValueError(
            f"labels are 0 to {num_classes - 1}, or ignore_index, {ignore_index}; got "
            f"{int(labels[outside][0])}"
        )
    return Classes(labels.where(present, 0), present, None)


def are_classes(in_use: list[int], num_classes: int, ignore_index: int) -> bool:
    """Whether all labels that occur, in order, are classes that count."""
    return not in_use or (
        in_use[0] >= 0 and in_use[-1] < num_classes and ignore_index not in in_use
    )


def locate(
    labels: Int[Tensor, " m"], num_classes: int, ignore_index: int
) -> tuple[Classes, Int[Tensor, " p"], Int[Tensor, " m"]]:
    """As ``look_at``, with what ``classes_in_use`` gives for the classes; faster than one by one."""
    if not has_fixed_shapes(labels):
        in_use, positions = labels.unique(return_inverse=True)
        if are_classes(in_use.tolist(), num_classes, ignore_index):
            return Classes(labels, None, None), in_use, positions
    seen = look_at(labels, num_classes, ignore_index)
    return seen, *classes_in_use(seen.number, num_classes)


def check_rows(features: Tensor, labels: Tensor, *, num_classes: int, num_features: int) -> None:
    """Whether statistics may take in features and labels, by their shapes and types.

    Raises
    ------
    ValueError
        Shapes or types do not fit, or labels are probabilities.
    """
    check_features(features, num_features)
    if are_mixtures(labels, row_shape(features), num_classes):
        raise ValueError(
            "labels are probabilities, and a mixed image's features belong to no class: update "
            "with the features and the integer labels of images that are not mixed"
        )


def classes_in_use(
    classes: Int[Tensor, " n"], num_classes: int
) -> tuple[Int[Tensor, " p"], Int[Tensor, " n"]]:
    """The classes to compute for, and where each row's stands among them.

    Where Python may look at values, the classes that occur, in order; elsewhere all of them.
    """
    if has_fixed_shapes(classes):
        return torch.arange(num_classes, device=classes.device), classes
    in_use, positions = classes.unique(return_inverse=True)
    return in_use, positions


class LabelsOutside(nn.Module):
    """The first batch whose labels were outside the classes, where the check waits for nothing.

    A GPU sends what it found to the host by itself, so that a later batch can tell at no cost.
    """

    label: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("label", torch.zeros((), dtype=torch.int64), persistent=False)
        self._sent: Tensor | None = None

    def note(self, labels: Tensor, seen: Classes) -> None:
        """Keep the label that is farthest from 0, which is a class in any case."""
        if seen.outside is None or labels.numel() == 0:
            return
        found = labels.where(seen.outside, 0)
        farthest = found.take(found.abs().argmax())
        self.label.copy_(self.label.where(self.label != 0, farthest))
        if self.label.is_cuda and not torch.compiler.is_compiling():
            if self._sent is None:
                self._sent = torch.zeros((), dtype=torch.int64, pin_memory=True)
            self._sent.copy_(self.label, non_blocking=True)

    def tell_if_known(self, num_classes: int) -> None:
        """As ``tell``, but waits for nothing: for what a GPU has sent."""
        if self._sent is not None and not torch.compiler.is_compiling() and int(self._sent):
            self.tell(num_classes)

    def tell(self, num_classes: int) -> None:
        """Raise if a batch had one since this was last said.

        Raises
        ------
        ValueError
            It had.
        """
        label = int(self.label)
        self.label.zero_()
        self._sent = None
        if label:
            raise ValueError(
                f"labels are 0 to {num_classes - 1}, or ignore_index; an earlier batch had {label}"
            )
