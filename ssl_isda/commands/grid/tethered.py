"""Become a command that is asked to stop when the process that started it is gone.

    python tethered.py PARENT COMMAND ...

On Linux the kernel sends SIGTERM, on which a run saves its state, however the parent ended: by kill -9,
or with its machine's Ray. Elsewhere the command is started all the same. Ray's workers block SIGINT, and
a child inherits that: here it is heard again.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Replace this process with ``command``, unless ``parent`` has gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
