"""Networks compiled by ``torch.compile``, with the results of the ordinary ones to rounding."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

import torch
from torch import nn

from ssl_isda.errors import UsageError


def compile_networks(networks: Iterable[nn.Module], device: torch.device) -> None:
    """Compile each network's forward and backward pass in place; their state keeps its names.

    On a GPU the passes are recorded as CUDA graphs. Dropout draws what it would draw uncompiled.

    Raises
    ------
    UsageError
        There is no C++ compiler, which PyTorch needs to compile for a CPU.
    """
    import torch._functorch.config as functorch
    import torch._inductor.config as inductor

    if device.type == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None:
        raise UsageError(
            "--compile needs a C++ compiler, and there is none (on Debian: apt install g++)"
        )
    inductor.fallback_random = True
    # Gradient norms keep the graph for the backward pass after them, so no pass may use up what another
    # needs; a cached one may have been compiled when it might, and would then give wrong gradients.
    functorch.donated_buffer = False
    inductor.force_disable_caches = True
    for network in networks:
        network.compile(mode="reduce-overhead" if device.type == "cuda" else None)
