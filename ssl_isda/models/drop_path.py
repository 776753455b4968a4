"""Stochastic depth: a residual branch that is left out of some images.

Huang et al., Deep Networks with Stochastic Depth, ECCV 2016, arXiv:1603.09382.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from ssl_isda.parallel.whole_batch import uniform_for_each_image


class DropPath(nn.Module):
    """y = b x / (1 - p) in training, where b is 0 with probability p for each image and 1 otherwise;
    y = x in testing. On several processes the images draw what one process would draw for them."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return maps
        kept = uniform_for_each_image(maps) >= self.probability
        return maps * kept / (1 - self.probability)


def with_own_drop_path(name: str, network: nn.Module, largest: float | None = None) -> None:
    """Put ``DropPath`` in place of timm's and torchvision's modules of that kind.

    Parameters
    ----------
    name : of the network, for the error
    largest : scale all probabilities so that the largest is this one; None: leave them

    Raises
    ------
    ValueError
        Probabilities are to be scaled, and none is above 0.
    """
    found = [*_probabilities(network)]
    highest = max((probability for *_, probability in found), default=0.0)
    if largest and not highest:
        raise ValueError(f"{name} has no branches that --drop-path could leave out")
    factor = 1.0 if largest is None or not highest else largest / highest
    for parent, name, probability in found:
        setattr(parent, name, DropPath(factor * probability))


def _probabilities(network: nn.Module) -> Iterator[tuple[nn.Module, str, float]]:
    """Each module of stochastic depth: where it is, what it is called there, its probability."""
    for parent in network.modules():
        for name, child in parent.named_children():
            if type(child).__name__ == "StochasticDepth":
                yield parent, name, float(child.p)  # type: ignore[arg-type]
            elif type(child).__name__ == "DropPath":
                yield parent, name, float(child.drop_prob)  # type: ignore[arg-type]
