"""More processes that work on a grid beside this one, each on one run after another, without Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ssl_isda.settings.places import program

TETHERED = str(Path(__file__).with_name("tethered.py"))
FLAG = "--processes"


@contextmanager
def beside(arguments: Sequence[str], count: int) -> Iterator[None]:
    """Within, ``count`` other processes take runs of the same grid. At the end they are asked to save.

    Parameters
    ----------
    arguments : the words after ``grid``; the others get them without ``--processes``
    """
    words = [sys.executable, *program(), "grid", *of_one_process(arguments)]
    children = [
        subprocess.Popen(
            [sys.executable, TETHERED, str(os.getpid()), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # this process shows the same runs
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the terminal reaches them once, from here
        )
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()


def of_one_process(arguments: Sequence[str]) -> list[str]:
    """The same words for a process that trains by itself."""
    words = list(arguments)
    for place, word in enumerate(words):
        if word == FLAG:
            del words[place : place + 2]
            break
        if word.startswith(f"{FLAG}="):
            del words[place]
            break
    return words if "--workers" in words or "--workers=1" in words else [*words, "--workers", "1"]
