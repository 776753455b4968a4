"""How much memory there is, and how much a run has taken."""

from __future__ import annotations

import sys

import torch

from ssl_isda.base.memory import available_bytes
from ssl_isda.parallel.launch import num_on_this_machine


def free_bytes(device: torch.device) -> int | None:
    """Memory that this process can still allocate; None if the system does not report it.

    A CPU's is shared by the processes of the run.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    found = available_bytes()
    return None if found is None else found // num_on_this_machine()


def forget_peak(device: torch.device) -> None:
    """A GPU's peak begins at what is held now; a process's cannot be set back."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    """The most memory held so far: of the GPU by PyTorch, or by this whole process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def described_peak(device: torch.device) -> str:
    """``peak_bytes`` in words, once a dry step is made."""
    peak = peak_bytes(device)
    owner = "GPU memory" if device.type == "cuda" else "memory of the process"
    size = "unknown" if peak is None else in_gigabytes(peak)
    return f"{owner} at its peak, with a dry step: {size}"


def in_gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
