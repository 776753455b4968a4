"""How much memory there is, how much a run has taken, and how much ISDA is going to take."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.isda.config import CovarianceForm
from ssl_isda.isda.propositions import AT_ONCE
from ssl_isda.parallel import distributed
from ssl_isda.parallel.launch import num_on_this_machine

_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")
_FP32 = 4


def isda_bytes(
    form: CovarianceForm, num_classes: int, num_features: int, batch_size: int, *, every_class: bool
) -> int:
    """What ISDA holds at its peak: the covariances (learned ones with copy, gradient and momentum), and
    what the closed forms make of them.

    For n images, a features, c classes, p of them computed: both hold a tensor of p x c x a; Prop. 1 two
    more of that size, or of a part that fits into a CPU's cache; Prop. 2 a table of p x c x c and, of
    the larger of that and n x c x c, three more.

    Parameters
    ----------
    batch_size : n, the larger of the two streams
    every_class : whether all classes are computed (on a GPU) or only those that occur
    """
    n, c, a = batch_size, num_classes, num_features
    p = c if every_class else min(c, n)
    square = c * a * a
    held = {
        "full": square,
        "diagonal": c * a,
        "shared": a * a,
        "identity": 0,
        "learned": 4 * square,
    }
    part = p * c * a if every_class else min(p * c * a, max(c * a, AT_ONCE))
    formed = p * c * a + max(2 * part, p * c * c + 3 * max(n, p) * c * c)
    return _FP32 * (held[form] + formed)


def refuse_what_does_not_fit(
    form: CovarianceForm, num_classes: int, num_features: int, batch_size: int, device: torch.device
) -> None:
    """Before anything is allocated. Processes that share a run decide as one, by the least memory.

    Raises
    ------
    UsageError
        ISDA would need more memory than there is; says whether diagonal covariances fit.
    """
    found = free_bytes(device)
    if found is None:
        return
    free = -distributed.largest(-found)
    needed, diagonal, diagonal_of_one = (
        isda_bytes(f, num_classes, num_features, n, every_class=device.type == "cuda")
        for f, n in ((form, batch_size), ("diagonal", batch_size), ("diagonal", 1))
    )
    if needed < free:
        return
    advice = "a smaller --width has fewer features"
    if diagonal < free:
        advice = f"--covariance diagonal needs {_gigabytes(diagonal)}"
    elif diagonal_of_one < free:
        advice = "smaller --batch-size and --unlabeled-batch-size need less"
    raise UsageError(
        f"ISDA with {form} covariances of {num_classes:,} classes and {num_features:,} features needs "
        f"about {_gigabytes(needed)} of memory, {_gigabytes(free)} are free: {advice}"
    )


def free_bytes(device: torch.device) -> int | None:
    """Memory that this process can still allocate; None where nobody says.

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
    """The limit less what is in use; cached files that nobody has touched lately are given back."""
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
    size = "unknown" if peak is None else _gigabytes(peak)
    return f"{owner} at its peak, with a dry step: {size}"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
