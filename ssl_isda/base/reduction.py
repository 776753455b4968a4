"""What becomes of one loss a row."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

Reduction = Literal["mean", "sum", "none"]
REDUCTIONS = get_args(Reduction)


def check_reduction(reduction: str) -> None:
    """Refuse what is none.

    Raises
    ------
    ValueError
        It is not one of PyTorch's three.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is one of {', '.join(REDUCTIONS)}; got {reduction!r}")


def reduced(each: Tensor, reduction: Reduction) -> Tensor:
    """``each``, its sum, or its mean, which is 0 without a row and has a zero gradient then.

    Raises
    ------
    ValueError
        As ``check_reduction``.
    """
    check_reduction(reduction)
    if reduction == "none":
        return each
    return each.mean() if reduction == "mean" and each.numel() else each.sum()
