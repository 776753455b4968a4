"""Networks compiled by ``torch.compile``, with the results of the ordinary ones to rounding."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

import torch
from torch import nn

from ssl_isda.errors import UsageError

COMPILED_FORMS = 64
"""Batch sizes x (training, evaluation) x (with gradients, without) x networks: a run has about ten."""


def compile_networks(networks: Iterable[nn.Module], device: torch.device) -> None:
    """Compile each network's forward and backward pass in place; their state keeps its names.

    On a GPU the passes are recorded as CUDA graphs. Dropout draws what it would draw uncompiled.

    Raises
    ------
    UsageError
        There is no C++ compiler, which PyTorch needs to compile for a CPU.
    """
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    if device.type == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None:
        raise UsageError(
            "--compile needs a C++ compiler, and there is none (on Debian: apt install g++)"
        )
    inductor.fallback_random = True
    # All networks share one list of what was compiled for which shapes and modes; beyond its limit they
    # would quietly run uncompiled, and where shapes differ be compiled for any, which is slower.
    dynamo.recompile_limit = max(dynamo.recompile_limit, COMPILED_FORMS)
    mode = "reduce-overhead" if device.type == "cuda" else None
    for network in networks:
        network.compile(mode=mode, dynamic=False)
