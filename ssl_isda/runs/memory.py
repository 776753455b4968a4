"""How much memory there is, and how much a run has taken."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ssl_isda.parallel.launch import num_on_this_machine

_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")


def free_bytes(device: torch.device) -> int | None:
    """Memory that this process can still allocate; None if the system does not report it.

    A CPU's is shared by the processes of the run.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    found = [
        size for size in (_available_to_machine(), *_available_to_groups()) if size is not None
    ]
    return min(found) // num_on_this_machine() if found else None


def _available_to_machine() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(x.split()[1]) for x in lines if x.startswith("MemAvailable")), None)


def _available_to_groups() -> list[int | None]:
    """Of this process's control group and of those above it: a container's, a job's of a scheduler."""
    try:
        lines = _OWN_GROUP.read_text().splitlines()
    except OSError:
        lines = []
    inside = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    group = _CGROUP / inside
    above = [folder for folder in group.parents if folder.is_relative_to(_CGROUP)]
    return [_available_to_group(folder) for folder in (group, *above)]


def _available_to_group(folder: Path) -> int | None:
    """The limit less what is in use; cached files that have not been touched lately count as free."""
    try:
        limit, used = ((folder / f"memory.{name}").read_text() for name in ("max", "current"))
        given_back = (folder / "memory.stat").read_text().split("\ninactive_file ")[1].split()[0]
        return int(limit) - int(used) + int(given_back)
    except (OSError, ValueError, IndexError):  # no such group, or "max": no limit
        return None


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
