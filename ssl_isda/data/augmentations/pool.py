"""Pools of operations as data: what is drawn for each image, and how a batch undergoes it at once.

AutoAugment, RandAugment and FixMatch's strong augmentation differ in nothing but their pools.

Dimensions: n images, h x w pixels, c channels, r rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_isda.data.augmentations import operations, warps
from ssl_isda.data.source import send

BITS = 31
"""Coins and magnitudes are drawn as whole numbers of so many bits, as indices are."""
NUM_PARAMETERS = 6
"""Room for the parameters of any operation."""

Act = Callable[[Tensor, Tensor], Tensor]


class Operation(NamedTuple):
    """What can happen to an image.

    act : (n, h, w, c) uint8 images and (n, p) parameters to images
    parameters : (n,) amounts, height and width to (n, p); None: the amount itself
    unit : of the amount
    """

    act: Act
    parameters: Callable[[Tensor, int, int], Tensor] | None
    unit: str


OPERATIONS: Mapping[str, Operation] = {
    "identity": Operation(operations.identity, None, "none"),
    "autocontrast": Operation(operations.autocontrast, None, "none"),
    "equalize": Operation(operations.equalize, None, "none"),
    "invert": Operation(operations.invert, None, "none"),
    "posterize": Operation(operations.posterize, None, "bits kept, rounded down"),
    "solarize": Operation(operations.solarize, None, "grey levels: the threshold"),
    "solarize_add": Operation(operations.solarize_add, None, "grey levels"),
    "brightness": Operation(operations.brightness, None, "factor"),
    "color": Operation(operations.color, None, "factor"),
    "contrast": Operation(operations.contrast, None, "factor"),
    "sharpness": Operation(operations.sharpness, None, "factor"),
    "rotate": Operation(warps.warp, warps.rotation, "degrees, counterclockwise"),
    "shear_x": Operation(warps.warp, warps.shear_x, "pixels across for each pixel down"),
    "shear_y": Operation(warps.warp, warps.shear_y, "pixels down for each pixel across"),
    "translate_x": Operation(warps.warp, warps.translation_x, "share of the width"),
    "translate_y": Operation(warps.warp, warps.translation_y, "share of the height"),
}
"""Every operation by name. What one act does is done in one call, for images of several operations."""


@dataclass(frozen=True)
class Choice:
    """One entry of a pool: an operation by an amount, in its unit, with a probability."""

    operation: str
    low: float = 0.0
    high: float | None = None
    """The amount is drawn between ``low`` and ``high`` for each image; None: it is ``low``."""
    around: float = 0.0
    """What the amount is added to: 1 for factors that are written as distances from the image."""
    signed: bool = False
    """Whether it is subtracted instead with probability one half."""
    probability: float = 1.0
    """Of the operation; else the image stays as it is in this round."""


@dataclass(frozen=True)
class Pool:
    """Choices of which each image undergoes ``rounds``, drawn uniformly and with replacement."""

    choices: tuple[Choice, ...]
    rounds: int
    together: int = 1
    """So many choices that follow each other are drawn as one: 2 for sub-policies of two operations."""

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, 3 r) int64: for each round the place of a choice, a coin, and a number for the amount."""
        num_drawn = len(self.choices) // self.together
        shape = (n, self.rounds // self.together, 1)
        groups = torch.randint(num_drawn, shape, generator=generator) * self.together
        chosen = (groups + torch.arange(self.together)).flatten(1)
        numbers = torch.randint(1 << BITS, (n, 2 * self.rounds), generator=generator)
        return torch.cat([chosen, numbers], dim=1)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """The images after all rounds, in their order.

        In each round images of one act lie together and undergo it in one call. All that is not pixels
        is computed on the CPU: nothing waits for a GPU.

        Parameters
        ----------
        images : (n, h, w, c) uint8, contiguous
        draws : (n, 3 r), from ``draw``, on the CPU
        """
        rounds = [self._round(*each, *images.shape[1:3]) for each in self._drawn(draws)]
        moves = send(torch.stack(_moves([each.order for each in rounds])), images.device)
        parameters = send(torch.stack([each.parameters for each in rounds]), images.device)
        for each, move, values in zip(rounds, moves, parameters, strict=False):
            images = images.index_select(0, move)
            for act, first, last, num in each.acts:
                part = images[first:last]
                part.copy_(act(part, values[first:last, :num]))
        return images.index_select(0, moves[-1])

    def _drawn(self, draws: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """For each round the place of each image's operation in ``OPERATIONS``, and its amount."""
        for chosen, coins, numbers in zip(*(each.T for each in draws.chunk(3, dim=1)), strict=True):
            operation, is_signed, below = self._whole_numbers[chosen].unbind(1)
            low, span, around = self._amounts[chosen].unbind(1)
            amount = low + span * ((numbers >> 1) / 2.0 ** (BITS - 1))
            sign = 1 - 2 * (is_signed * (numbers & 1))
            yield torch.where(coins < below, operation, 0), around + sign * amount

    def _round(self, operation: Tensor, amount: Tensor, height: int, width: int) -> _Round:
        """The images sorted by operation, and what happens to them there."""
        order = operation.argsort(stable=True)
        amount, first = amount[order], 0
        parameters = amount.new_zeros(len(order), NUM_PARAMETERS)
        acts: list[tuple[Act, int, int, int]] = []
        counts = operation.bincount(minlength=len(OPERATIONS)).tolist()
        for (act, parameters_of, _), count in zip(OPERATIONS.values(), counts, strict=True):
            last = first + count
            found = amount[first:last, None]
            if count and parameters_of:
                found = parameters_of(found[:, 0], height, width)
            num = found.shape[1]
            parameters[first:last, :num] = found
            if count and acts and acts[-1][0] is act:
                acts[-1] = (act, acts[-1][1], last, num)
            elif count and act is not operations.identity:
                acts.append((act, first, last, num))
            first = last
        return _Round(order, parameters, acts)

    @cached_property
    def _whole_numbers(self) -> Tensor:
        """(m, 3) int64 of m choices: operation, whether signed, and below which number a coin counts."""
        names = list(OPERATIONS)
        return torch.tensor(
            [
                (names.index(each.operation), each.signed, round(each.probability * (1 << BITS)))
                for each in self.choices
            ]
        )

    @cached_property
    def _amounts(self) -> Tensor:
        """(m, 3) float64: the lowest amount, how far the highest is from it, and what they go around."""
        highest = [each.low if each.high is None else each.high for each in self.choices]
        return torch.tensor(
            [
                (each.low, high - each.low, each.around)
                for each, high in zip(self.choices, highest, strict=True)
            ],
            dtype=torch.float64,
        )


class _Round(NamedTuple):
    """One round of a batch.

    order : (n,) the images by operation
    parameters : (n, 6) of their operations, in that order
    acts : what happens, to the images from where to where in that order, by how many parameters
    """

    order: Tensor
    parameters: Tensor
    acts: list[tuple[Act, int, int, int]]


def _moves(orders: list[Tensor]) -> list[Tensor]:
    """What brings the images from each order into the next, from and to the one they came in."""
    came = torch.arange(len(orders[0]))
    places = [came, *(torch.empty_like(came).index_copy_(0, order, came) for order in orders)]
    return [place[order] for place, order in zip(places, [*orders, came], strict=True)]
