"""State that half precision would spoil."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class WideState(nn.Module):
    """A module whose numbers stay in fp32 or float64 when the model around it becomes half.

    ``.half()`` and ``.bfloat16()`` leave them as wide as they are, ``.double()`` makes them float64.
    Sums over a training would overflow in fp16 and stand still in bf16.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        return super()._apply(lambda tensor: _not_narrowed(tensor, fn(tensor)), recurse)


def _not_narrowed(before: Tensor, after: Tensor) -> Tensor:
    """``after``, or ``before`` on its device where it has fewer than 32 bits."""
    if after.is_floating_point() and after.itemsize < 4 <= before.itemsize:
        return before.to(after.device)
    return after


def wide_dtype() -> torch.dtype:
    """The default type, or fp32 where that is narrower."""
    return torch.promote_types(torch.get_default_dtype(), torch.float32)
