"""Mixup of several streams of images, across all processes.

Dimensions: images (n, ...), targets (n, c), both of the whole batch or of this process's part.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.parallel.distributed import gathered, part, whole


def drawn_shares(n: int, alpha: float, step: Step, purpose: str) -> Tensor:
    """(n,) float64 on the CPU, from Beta(alpha, alpha): the share of the first of two images."""
    with step.global_draws(purpose, torch.device("cpu")):
        concentration = torch.tensor(alpha, dtype=torch.float64)
        shares: Tensor = torch.distributions.Beta(concentration, concentration).sample((n,))
    return shares


def mixed_with_all(
    images: Sequence[Tensor], targets: Sequence[Tensor], alpha: float, step: Step
) -> tuple[list[Tensor], list[Tensor]]:
    """MixMatch's mixup: each image of each stream with one of all streams, and so their targets.

        W = shuffle of all streams laid end to end,   l ~ Beta(alpha, alpha),  l' = max(l, 1 - l)
        X' = l' X + (1 - l') W,   for each image of its own l

    Source: Berthelot et al., MixMatch, NeurIPS 2019, Eq. 8 to 11.
    """
    everything, wanted = (torch.cat([gathered(each) for each in s]) for s in (images, targets))
    order = torch.randperm(len(everything), generator=step.generator("mixing order"))
    shares = drawn_shares(len(everything), alpha, step, "mixing shares")
    shares = torch.maximum(shares, 1 - shares)
    lengths = [whole(each.shape)[0] for each in images]
    mixed: tuple[list[Tensor], list[Tensor]] = ([], [])
    for k, (chosen, share) in enumerate(
        zip(order.split(lengths), shares.split(lengths), strict=True)
    ):
        places = part(chosen).to(everything.device)
        for found, own, pool in zip(mixed, (images, targets), (everything, wanted), strict=True):
            found.append(interpolated(own[k], pool[places], part(share)))
    return mixed


def interpolated(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    """l first + (1 - l) second, of (n, ...), (n, ...) and (n,); in the memory order of ``first``."""
    weights = shares.to(first.device, first.dtype).view(-1, *[1] * (first.ndim - 1))
    return torch.lerp(second, first, weights, out=torch.empty_like(first))
