"""One run's command, started as a child process until it is done or fails by itself.

exit code                       then
0                               done
killed by a signal, 130, 143    the same command again, which resumes; ``retries`` times
75, the folder is in use        the process of an earlier attempt is still saving: wait for it
any other                       the run's own failure: the next attempt would end like this one
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from ssl_isda.base.errors import FolderInUse

TICK = 0.3
"""Seconds between two looks."""
PATIENCE = 180.0
"""Seconds that an earlier attempt may take to save, and to tell W&B that it ends."""
_STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
_TETHERED = str(Path(__file__).with_name("tethered.py"))


class Outcome(NamedTuple):
    """How a run's last attempt ended."""

    exit_code: int
    """Below 0: the signal that killed it."""
    reason: str
    """The last line that it printed to stderr; empty if it is done."""


def run_to_end(command: Sequence[str], cwd: str, retries: int) -> Outcome:
    """Start a Python program and wait; if something interrupts the wait, the child is asked to save.

    Parameters
    ----------
    command : a Python file and its arguments
    cwd : the folder that its relative paths start from
    retries : how often it is started again after it was killed
    """
    give_up = time.monotonic() + PATIENCE
    while True:
        outcome = _attempt(command, cwd)
        if outcome.exit_code == FolderInUse.exit_code and time.monotonic() < give_up:
            time.sleep(TICK)
        elif (outcome.exit_code < 0 or outcome.exit_code in _STOPPED) and retries > 0:
            retries -= 1
        else:
            return outcome


def _attempt(command: Sequence[str], cwd: str) -> Outcome:
    with tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen(
            [sys.executable, _TETHERED, str(os.getpid()), sys.executable, *command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # it stands in log.txt
            stderr=stderr,
            start_new_session=True,  # Ctrl-C at the terminal reaches it once, through _stop
        )
        try:
            while child.returncode is None:  # Ray cancels a task between two lines of Python
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(TICK)
        except BaseException:
            _stop(child)
            raise
        exit_code = child.returncode
        return Outcome(exit_code, _last_line(stderr, exit_code) if exit_code else "")


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Let it save; a second Ctrl-C does not."""
    child.terminate()
    try:
        child.wait()
    except BaseException:
        child.kill()
        child.wait()
        raise


def _last_line(stderr: IO[bytes], exit_code: int) -> str:
    stderr.seek(0)
    lines = [line for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
    ours = [line.removeprefix("run.py: ") for line in lines if line.startswith("run.py: ")]
    said = (ours or lines or [""])[-1].strip()
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}: {said}" if said else f"exit code {exit_code}"
