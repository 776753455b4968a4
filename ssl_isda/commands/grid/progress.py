"""How far a grid is: read from the run folders, shown as a table that is redrawn, or as log lines."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import duration, show
from ssl_isda.commands.grid.attempts import Outcome
from ssl_isda.commands.grid.expansion import GridRun

PERIOD = 2.0
"""Seconds between two looks at the run folders."""
TAIL = 4096
"""Bytes; the last epochs in log.txt."""


DataDigest = Callable[[str, Path], str | None]
"""Of a data set in a folder, what tells a user's images from others."""


def no_digest(dataset: str, data_dir: Path) -> str | None:
    """Where all images are taken for the right ones."""
    return None


@dataclass
class _Watched:
    """The log of a run that has not ended."""

    file: Path
    size_before: int
    """Bytes, when the grid began: a log that has not grown belongs to no attempt of this grid."""
    done_before: float
    """Of its epochs, from 0 to 1, when the grid began."""
    done: float
    epoch: str = ""
    """ "12/400", or nothing yet."""
    started: bool = False


class Progress:
    """Keeps what became of each run, and shows it; another thread may ``tick``."""

    def __init__(self, runs: Sequence[GridRun], data_digest: DataDigest = no_digest) -> None:
        """Look at what is done already.

        A run whose folder holds other settings, or was made from other images than those for which
        ``data_digest`` stands, has failed before it starts.
        """
        self._data_digest = data_digest
        self.errors: dict[Path, float] = {}
        """The test error of each finished run, in percent."""
        self.failures: dict[Path, str] = {}
        """The reason for each that failed."""
        self._num_runs = len(runs)
        self._began = self._looked = time.monotonic()
        self._watched: dict[Path, _Watched] = {}
        self._work_done = 0.0  # of runs that have ended here
        self._drawn = 0
        self._finished = False
        self._lock = threading.RLock()
        self._stream = sys.stdout
        self._on_terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        for run in runs:
            if not self._keep_result(run):
                self._watched[run.path] = _watched(run.path / "log.txt")

    @property
    def left(self) -> Mapping[Path, object]:
        """By path: the runs that have not ended."""
        return self._watched

    def ended(self, run: GridRun, outcome: Outcome) -> None:
        """Keep and show how a run ended."""
        watched = self._watched.pop(run.path)
        if outcome.exit_code:
            self.failures[run.path] = outcome.reason
            self._work_done += _look(watched) - watched.done_before
        else:
            self._work_done += 1 - watched.done_before
            if not self._keep_result(run):
                self.failures[run.path] = (
                    "it ended well, but its result is not here: "
                    "all nodes need the same runs folder, on a shared file system"
                )
        self.say(f"[{self._num_ended}/{self._num_runs}] {self._verdict(run)}{self._left()}")

    def tick(self) -> None:
        """Look and show, if it is time again and nobody has said ``finish``."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= PERIOD and not self._finished:
                self._looked = now
                self._show_all()

    def _show_all(self) -> None:
        for path, watched in self._watched.items():
            _look(watched)
            if not watched.started and _size(watched.file) != watched.size_before:
                watched.started = True
                if not self._on_terminal:
                    show(f"started {path}", stream=self._stream)
        if self._on_terminal:
            self._draw()

    def say(self, line: str) -> None:
        """Print a line above the table."""
        with self._lock:
            self._erase()
            show(line, stream=self._stream)
            if self._on_terminal:
                self._draw()

    def finish(self) -> None:
        """Leave no table behind."""
        with self._lock:
            self._finished = True
            self._erase()

    @property
    def _num_ended(self) -> int:
        return len(self.errors) + len(self.failures)

    def _keep_result(self, run: GridRun) -> bool:
        """Whether the run has ended, by its result or by a folder that it cannot use."""
        config = run.resolved.config
        try:
            result = run.folder.finished(self._data_digest(config.dataset, config.data_dir))
        except UsageError as error:
            self.failures[run.path] = str(error)
            return True
        if result is not None:
            self.errors[run.path] = result["error"]
        return result is not None

    def _verdict(self, run: GridRun) -> str:
        if run.path in self.failures:
            return f"failed: {run.path}: {self.failures[run.path]}"
        return f"{run.path}: test error {self.errors[run.path]:.2f} %"

    def _left(self) -> str:
        """The time that the rest takes at the pace so far, in words, if there is a pace."""
        made = self._work_done + sum(w.done - w.done_before for w in self._watched.values())
        left = sum(1 - watched.done for watched in self._watched.values())
        if made <= 0 or left <= 0:
            return ""
        seconds = (time.monotonic() - self._began) * left / made
        return f" (about {duration(seconds)} left)"

    # the table

    def _draw(self) -> None:
        self._erase()
        width, height = shutil.get_terminal_size()
        active = {path: w for path, w in self._watched.items() if w.started}
        head = f"{self._num_ended} of {self._num_runs} runs ended, {len(active)} running"
        if self.failures:
            head += f", {len(self.failures)} failed"
        lines = [head + self._left()]
        lines += [f"  {path}  epoch {w.epoch or '-'}" for path, w in active.items()]
        lines = [line[: width - 1] for line in lines[: max(2, height - 2)]]
        show("\n".join(lines), stream=self._stream)
        self._drawn = len(lines)

    def _erase(self) -> None:
        if self._drawn:
            print(f"\x1b[{self._drawn}F\x1b[J", end="", flush=True, file=self._stream)
            self._drawn = 0


def _watched(file: Path) -> _Watched:
    watched = _Watched(file, _size(file), 0.0, 0.0)
    watched.done_before = _look(watched)
    return watched


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _look(watched: _Watched) -> float:
    """The share of its epochs that a run has done, as its log says."""
    try:
        with watched.file.open("rb") as stream:
            stream.seek(max(0, _size(watched.file) - TAIL))
            found = re.findall(rb" epoch +([0-9]{1,9})/([0-9]{1,9}) ", stream.read())
    except OSError:
        return watched.done
    if found:
        epoch, total = map(int, found[-1])
        watched.epoch = f"{epoch}/{total}"
        watched.done = min(1.0, epoch / max(total, 1))
    return watched.done
