"""What ``torchrun`` tells the processes that it starts. Imports no torch."""

from __future__ import annotations

import os


def num_launched() -> int:
    """How many processes were started for this command; 1 unless a launcher says otherwise."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def is_first_launched() -> bool:
    """Whether this is the process that writes and prints."""
    return num_launched() == 1 or os.environ["RANK"] == "0"


def num_on_this_machine() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def local_rank() -> int:
    """Which of the processes on this machine this is, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_restart() -> bool:
    """Whether ``torchrun`` has started this process again, after one of the run's was lost."""
    return num_launched() > 1 and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def attempt() -> str:
    """Which start of the processes this is, counted by ``torchrun`` where all are on one machine.

    After a restart its store still holds the addresses of processes that are gone (PyTorch's issue
    135712), so each attempt needs names of its own. Several machines count on their own, and differ.
    """
    on_one_machine = os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if on_one_machine else "0"
