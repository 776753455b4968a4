"""How much memory this process can still have, and how a lack of it shows. Imports no torch."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ssl_isda.base.errors import UsageError

_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")
_STATM = Path("/proc/self/statm")
_LACKS = ("out of memory", "allocate memory", "not enough memory")
"""What PyTorch says, whose errors on a CPU have no type of their own."""


def available_bytes() -> int | None:
    """What the machine, the control groups and the process's own limits still allow; None if the system
    does not report it."""
    found = (_available_to_machine(), *_available_to_groups(), *_available_to_process())
    return min((size for size in found if size is not None), default=None)


def in_words(size: int) -> str:
    """ "3.1 GB", "12.5 MB" or "40 kB"."""
    if size >= 1e8:
        return f"{size / 1e9:,.1f} GB"
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.0f} kB"


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, in Python, NumPy, the system or PyTorch."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = isinstance(error, RuntimeError) and any(word in str(error) for word in _LACKS)
    return said or isinstance(error, MemoryError)


@contextlib.contextmanager
def fitting(size: int, what: str, advice: str, processes: int = 1) -> Iterator[None]:
    """The block in which ``size`` bytes are allocated.

    Parameters
    ----------
    what : needs them, as a line begins: "900 images of 64 x 64 pixels"
    advice : what would fit
    processes : that share what is free

    Raises
    ------
    UsageError
        There is less: before anything is allocated, or when the system refuses it.
    """
    free = available_bytes()
    if free is not None and size > free // processes:
        raise _does_not_fit(size, what, advice, free // processes)
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        raise _does_not_fit(size, what, advice, available_bytes()) from error


def _does_not_fit(size: int, what: str, advice: str, free: int | None) -> UsageError:
    there = "the system gives no more" if free is None else f"{in_words(free)} are free"
    needed = f"about {in_words(size)}" if size else "more"
    return UsageError(f"{what} need {needed} of memory, {there}: {advice}")


def _available_to_machine() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(x.split()[1]) for x in lines if x.startswith("MemAvailable")), None)


def _available_to_groups() -> Iterator[int | None]:
    """Of this process's control group and of those above it: a container's, a job's of a scheduler."""
    try:
        lines = _OWN_GROUP.read_text().splitlines()
    except OSError:
        lines = []
    groups = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    second = next((path for number, _, path in groups if number == "0"), "/")
    yield from (_available_to_group(folder) for folder in _and_above(_CGROUP, second))
    first = next((path for _, names, path in groups if names == "memory"), "/")
    folders = _and_above(_CGROUP / "memory", first)
    yield from (_available_to_group_of_version_1(folder) for folder in folders)


def _and_above(root: Path, inside: str) -> list[Path]:
    group = root / inside.lstrip("/")
    return [group, *(folder for folder in group.parents if folder.is_relative_to(root))]


def _available_to_group(folder: Path) -> int | None:
    """The limit less what is in use; the cache of files counts as free, as for the machine."""
    return _rest(folder, "memory.max", "memory.current", "")


def _available_to_group_of_version_1(folder: Path) -> int | None:
    return _rest(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


def _rest(folder: Path, limit: str, used: str, prefix: str) -> int | None:
    try:
        most, now = (int((folder / name).read_text()) for name in (limit, used))
        lines = (folder / "memory.stat").read_text().splitlines()
        found = {name: int(number) for name, number in map(str.split, lines)}
        given_back = found[f"{prefix}inactive_file"] + found.get(f"{prefix}active_file", 0)
        return most - now + given_back
    except (OSError, ValueError, KeyError):  # no such group, or "max": no limit
        return None


def _available_to_process() -> Iterator[int]:
    """By the limits on its address space and on its data (``ulimit -v`` and ``-d``)."""
    try:
        import resource

        pages = [int(number) for number in _STATM.read_text().split()]
        unit = os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError):  # not a Linux
        return
    for kind, used in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY:
            yield max(0, limit - unit * used)
