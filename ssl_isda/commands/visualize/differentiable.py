"""The preparation of a run's images as a function with a gradient, for images that a generator makes."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.data.preparation import Preparation
from ssl_isda.generators.mapping import See
from ssl_isda.models.contract import Network


def prepared(images: Tensor, preparation: Preparation) -> Tensor:
    """(n, C, H, W) from -1 to 1 to the network's input, as ``preparation`` makes it of the pixels."""
    arrays = {k: torch.from_numpy(v).to(images.device) for k, v in preparation.arrays.items()}
    pixels = (images + 1) * 127.5
    if "scale" in arrays:
        found = pixels * arrays["scale"] + arrays["shift"]
    elif "matrix" in arrays:
        centred = (pixels.flatten(1) / 255).double() - arrays["mean"]
        found = (centred @ arrays["matrix"].double()).float().view(images.shape)
    else:
        std, mean = torch.std_mean(pixels, dim=(1, 2, 3), correction=0, keepdim=True)
        found = (pixels - mean) / std.clamp(min=torch.finfo(std.dtype).tiny)
    return found.contiguous(memory_format=torch.channels_last)


def seeing(network: torch.nn.Module, preparation: Preparation) -> See:
    """Images from -1 to 1 to features, in fp32.

    Raises
    ------
    UsageError
        The network has no features of its own.
    """
    if not isinstance(network, Network):
        raise UsageError("visualize needs a network with a linear head; this run's has none")

    def see(images: Tensor) -> Tensor:
        return network.features(prepared(images, preparation)).float()

    return see
