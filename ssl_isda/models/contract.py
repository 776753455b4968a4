"""The contract of a network, and the networks by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ssl_isda.base.registry import Registry


class Prediction(NamedTuple):
    """What a network says of n images: ``logits, features = network(images)``.

    logits : (n, c), or (n, c, h, w) for dense prediction
    features : (n, a), or (n, a, h, w): what the head sees
    """

    logits: Tensor
    features: Tensor


class Network(nn.Module):
    """A network whose last map, ``head``, is linear in the features.

    ``head`` is an ``nn.Linear(a, c)``, or an ``nn.Conv2d(a, c, 1)`` for dense prediction, without
    weight norm: ISDA reads its weight as the w_j of the paper, so nothing may stand between features
    and logits. A subclass sets ``head`` and defines ``features``.
    """

    head: nn.Linear | nn.Conv2d
    auxiliary_head: nn.Conv2d
    """Of some dense networks: a second head, for training alone, linear in features of its own."""
    auxiliary_features: Tensor | None = None
    """What that head sees, of the last pass in training mode."""
    smallest_side: int = 1
    """Images must have at least this height and width, in pixels."""
    smallest_batch: int = 1
    """Images that BatchNorm must see at once in training, beside their pixels: 2 of a network that
    normalizes means of whole images."""
    source: str | None = None
    """Where it is from: authors, title, venue."""

    def features(self, images: Tensor) -> Tensor:
        """(n, channels, height, width), or (n, d) vectors, to (n, a) or (n, a, h, w)."""
        raise NotImplementedError

    def renamed(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A state dict, as files from elsewhere may hold it, with the names that it has here.

        Raises
        ------
        ValueError
            It is none that could be brought to this network.
        """
        return state

    def refuse_small(self, images: Tensor) -> None:
        """For the first line of ``features``.

        Raises
        ------
        ValueError
            The images are smaller than ``smallest_side``, or they are vectors.
        """
        side = self.smallest_side
        if images.ndim != 4 or min(images.shape[2:]) < side:
            raise ValueError(
                f"{type(self).__name__} needs images of {side} x {side} pixels or more; "
                f"got {tuple(images.shape[1:])}"
            )

    def forward(self, images: Tensor) -> Prediction:
        """Logits and features, both in the head's own precision even under autocast."""
        features = self.features(images).to(self.head.weight.dtype)
        with torch.autocast(images.device.type, enabled=False):
            return Prediction(self.head(features), features)

    def stages(self) -> list[list[nn.Parameter]]:
        """All parameters, from shallow to deep, for a layer-wise learning rate: by default the
        network's own, then those of each child module."""
        stages = [list(child.parameters()) for child in self.children()]
        return [stage for stage in (list(self.parameters(recurse=False)), *stages) if stage]


def linear_map(head: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor]:
    """W (c, a) and b (c,) of a head; b is zero where it has none.

    Raises
    ------
    ValueError
        It is neither a linear layer nor a 1 x 1 convolution.
    """
    one_by_one = isinstance(head, nn.Conv2d) and (
        (head.kernel_size, head.stride, head.groups) == ((1, 1), (1, 1), 1)
        and head.padding in ((0, 0), "valid", "same")
    )
    if not isinstance(head, nn.Linear) and not one_by_one:
        raise ValueError(
            "head is an nn.Linear, or an nn.Conv2d with 1 x 1 kernel, stride 1, one group and no "
            f"padding: the last layer itself, not the logits that it makes; got {_in_short(head)}"
        )
    weight = head.weight.flatten(1)
    return weight, weight.new_zeros(len(weight)) if head.bias is None else head.bias


def _in_short(value: object) -> str:
    """A tensor by its shape, a convolution with its settings, anything else by its kind."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, nn.Conv2d):
        return str(value)
    return type(value).__name__


class NetworkFactory(Protocol):
    """Builds a network from its ``Config``; ``shape`` is that of one input: (channels, height, width)
    or (d,)."""

    def __call__(self, config: Any, *, num_classes: int, shape: tuple[int, ...]) -> Network: ...


MODELS: Registry[NetworkFactory] = Registry("model")
"""Every network by name; ``@MODELS.register("cnn13")`` stands above a function that builds it."""
