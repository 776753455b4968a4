"""The ways in which a run ends, as exceptions that carry their exit code."""

from __future__ import annotations


class RunError(Exception):
    """Ends the program with one line on stderr and this exit code; never a traceback."""

    exit_code = 1
    signal_number: int | None = None
    """The signal that had asked for an end before this error came."""
    of_one_process = False
    """Whether other processes of the same run may not have this error, so that each prints its own."""


class UsageError(RunError):
    """Flags, config files or data that cannot be used; says what was given and what would be right."""

    exit_code = 2


class FolderInUse(RunError):
    """Another process has the run folder; the same command may work later (EX_TEMPFAIL)."""

    exit_code = 75


class TrainingFailed(RunError):
    """The loss became NaN or infinite, or the memory is too small."""

    exit_code = 70


class OutOfMemory(TrainingFailed):
    """The memory of this process's GPU, or of its machine, is too small."""

    of_one_process = True


class OutputFailed(RunError):
    """A file could not be written: the disk is full or the folder is gone."""

    exit_code = 74


class Interrupted(RunError):
    """SIGTERM or SIGINT came: the state is saved, and the same command continues from it."""

    signal_number: int

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


EXTRAS = {"faster_coco_eval": "detection"}
"""Of packages that are in another extra than ``run``."""


def missing_package(error: ModuleNotFoundError) -> UsageError:
    """The error of a program that was installed without what it needs."""
    extra = EXTRAS.get(str(error.name).partition(".")[0], "run")
    return UsageError(
        f"Python's package {error.name!r} is missing here: use .venv/bin/python, which 'make setup' "
        f"makes, or install ssl-isda with its extra: pip install '.[{extra}]' in a clone"
    )
