"""Where a run computes, and in which precision."""

from __future__ import annotations

from typing import cast

import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.base.precision import Precision, fastest_precision
from ssl_isda.parallel.launch import local_rank, num_launched
from ssl_isda.settings.config import Resolved


def precision_of(resolved: Resolved, device: torch.device) -> Precision:
    return precision_named(resolved.config.precision, device)


def precision_named(asked: str, device: torch.device) -> Precision:
    return fastest_precision(device) if asked == "auto" else cast(Precision, asked)


def device_named(name: str) -> torch.device:
    """The device that ``--device`` stands for on this process.

    Raises
    ------
    UsageError
        There is no GPU, or fewer than processes.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: no GPU is available here; --device cpu trains without one")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if num_launched() == 1:
        return torch.device("cuda")
    if local_rank() >= torch.cuda.device_count():
        raise UsageError(
            f"{torch.cuda.device_count()} GPUs are here, and process {local_rank()} finds none left: "
            "start as many processes as there are GPUs (torchrun --nproc-per-node)"
        )
    torch.cuda.set_device(local_rank())
    return torch.device("cuda", local_rank())
