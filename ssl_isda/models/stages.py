"""The plan of residual networks: stages of equal blocks, each at half the size of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import nn

MakeBlock = Callable[[int, int, int, int], nn.Module]
"""Builds a block from the channels that come in, the width of its stage, the channels that go out, and
its stride."""


def blocks_per_stage(depth: int, layers: int, others: int) -> int:
    """n, where ``depth`` is ``layers`` n + ``others``.

    Raises
    ------
    ValueError
        No n from 1 on gives this depth.
    """
    n, rest = divmod(depth - others, layers)
    if n < 1 or rest:
        first = ", ".join(str(layers * n + others) for n in (1, 2, 3))
        raise ValueError(f"depth must be {layers} n + {others}, so {first} and so on; got {depth}")
    return n


def stages(
    make: MakeBlock, n: int, inputs: int, widths: Sequence[int], features: int | None = None
) -> Iterator[nn.Sequential]:
    """A stage of n blocks for each of ``widths``; the first block of each but the first has stride 2.

    Parameters
    ----------
    inputs : channels that come into the first stage
    features : channels of the last block alone; None: as wide as its stage
    """
    for number, width in enumerate(widths):
        outputs = [width] * n
        if features and number == len(widths) - 1:
            outputs[-1] = features
        strides = [2 if number else 1, *[1] * (n - 1)]
        channels = zip([inputs, *outputs], outputs, strides, strict=False)
        yield nn.Sequential(*(make(a, width, b, stride) for a, b, stride in channels))
        inputs = outputs[-1]
