"""How far a grid is: read from the run folders, shown as lines, and on a terminal as a table too."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import duration, show, shows_bars
from ssl_isda.commands.grid.attempts import Outcome
from ssl_isda.data.facts import data_digests
from ssl_isda.data.folder.listing import ListingOptions
from ssl_isda.results.estimates import estimate
from ssl_isda.results.run_files import read_log
from ssl_isda.runs.data_digest import other_images, usual_digests
from ssl_isda.runs.grid_expansion import GridRun
from ssl_isda.runs.metrics import headline_of

PERIOD = 2.0
"""Seconds between two looks at the run folders."""
MANY, PAUSE = 100, 10.0
"""A grid of so many runs, which are short ones, tells of one that has ended every so many seconds."""
TAIL = 4096
"""Bytes at the end of log.txt that hold the last epochs."""


class _Log:
    """The log of a run that has not ended."""

    def __init__(self, file: Path) -> None:
        self.file, self.size_before = file, _size(file)
        self.started, self.done, self.epoch = False, 0.0, "-"
        self.look()
        self.done_before = self.done

    @property
    def has_grown(self) -> bool:
        """Whether a run of this grid, and not only an earlier one, has written into it."""
        return _size(self.file) != self.size_before

    def look(self) -> None:
        """Read the last epoch ("12/400"), and so the share of the epochs that is done, from 0 to 1."""
        with contextlib.suppress(OSError), self.file.open("rb") as stream:
            stream.seek(max(0, _size(self.file) - TAIL))
            if found := re.findall(rb" epoch +([0-9]{1,9})/([0-9]{1,9}) ", stream.read()):
                epoch, total = map(int, found[-1])
                self.epoch, self.done = f"{epoch}/{total}", min(1.0, epoch / max(total, 1))


class Progress:
    """Keeps what became of each run, and shows it."""

    def __init__(self, runs: Sequence[GridRun]) -> None:
        """Look at what is done already.

        A run whose folder holds other settings, or a run on other images, has failed before it starts.
        """
        self.errors: dict[Path, float] = {}
        """The test error of each finished run, or its mIoU, in percent."""
        self._verdicts: dict[Path, str] = {}
        """What there is to say of each finished run: "test error 5.60 %"."""
        self._judged: dict[Path, str] = {}
        """Which of the two was measured, in words."""
        self._digests: dict[Path, str] = {}
        """Of the images that each of them was made on."""
        self.failures: dict[Path, str] = {}
        """The reason for each that failed."""
        self._num_runs, self._work_done = len(runs), 0.0
        self._began = self._looked = time.monotonic()
        self._told = float("-inf")
        self._digest = functools.cache(data_digests)
        self._stream = sys.stdout
        self._console: Any = None
        started = [run for run in runs if not self._keep_result(run)]
        self._logs = {run.path: _Log(run.path / "log.txt") for run in started}

    @property
    def left(self) -> Mapping[Path, object]:
        """The runs that have not ended, by their path."""
        return self._logs

    @contextlib.contextmanager
    def table(self) -> Iterator[None]:
        """Within, a terminal has a table that follows the runs, if rich is installed."""
        if not shows_bars(self._stream) or find_spec("rich") is None:
            yield
            return
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=self._stream, force_terminal=True)
        live = Live(
            get_renderable=self._drawn,
            console=self._console,
            refresh_per_second=1 / PERIOD,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        live.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the terminal has gone away
                live.stop()

    def is_started(self, path: Path) -> bool:
        """Whether a run, which has not ended, was noted to have begun."""
        return self._logs[path].started

    def failed_elsewhere(self, path: Path) -> str | None:
        """Why a run, which this process has not trained, failed in another one in the meantime."""
        log = self._logs[path]
        return read_log(log.file).failure if log.has_grown else None

    def started(self, path: Path) -> None:
        """Note that a run has begun, and say so where there is no table."""
        self._logs[path].started = True
        if self._console is None and self._num_runs < MANY:
            show(f"started {path}", stream=self._stream)

    def ended(self, run: GridRun, outcome: Outcome) -> None:
        """Keep and show how a run ended."""
        log = self._logs.pop(run.path)
        if outcome.exit_code:
            self.failures[run.path] = outcome.reason
            log.look()
        elif self._keep_result(run):
            log.done = 1.0
        else:
            self.failures[run.path] = (
                "it ended well, but its result is not here: "
                "all nodes need the same runs folder, on a shared file system"
            )
        self._work_done += log.done - log.done_before
        failure = self.failures.get(run.path)
        verdict = f"failed: {run.path}: {failure}"
        if failure is None:
            verdict = f"{run.path}: {self._verdicts[run.path]}"
            if self._num_runs >= MANY and self._logs and time.monotonic() - self._told < PAUSE:
                return
        self._told = time.monotonic()
        self.say(f"[{self._num_ended}/{self._num_runs}] {verdict}{self._time_left()}")

    def tick(self) -> None:
        """Look at the run folders, if it is time again."""
        if time.monotonic() - self._looked >= PERIOD:
            self._look()

    def say(self, line: str) -> None:
        """Print a line, above the table if there is one."""
        if self._console is None:
            show(line, stream=self._stream)
            return
        with contextlib.suppress(OSError):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def summary(self, runs: Sequence[GridRun]) -> str:
        """Mean ± standard deviation (n) of the test errors of each cell, and each failure.

        What was made on other images than the rest of its cell is in no mean.
        """
        cells: dict[Path, list[Path]] = {}
        for run in runs:
            cells.setdefault(run.path.parent, []).append(run.path)
        width = max(len(str(cell)) for cell in cells)
        apart: list[str] = []
        judged = " or ".join(dict.fromkeys(self._judged.values())) or "error"
        lines = [f"test {judged} in %, mean ± standard deviation over the seeds"]
        for cell, paths in cells.items():
            odd = self._odd_ones(paths)
            apart += odd.values()
            found = estimate([self.errors[p] for p in paths if p in self.errors and p not in odd])
            failed = sum(path in self.failures for path in paths)
            lines.append(
                f"  {cell!s:<{width}}  {found or '-'}" + f"  {failed} failed" * bool(failed)
            )
        failures = [f"failed: {path}: {reason}" for path, reason in self.failures.items()]
        return "\n".join(lines + apart + failures)

    def _odd_ones(self, cell: Sequence[Path]) -> dict[Path, str]:
        """A line for each run on other images than most of its cell."""
        kept = {path: self._digests[path] for path in cell if path in self._digests}
        usual = usual_digests(kept.values()).values()
        others = {path: other_images(digest, usual) for path, digest in kept.items()}
        return {
            path: f"kept apart: {path}: {self._verdicts[path]} on other images (digest {kept[path]}, "
            f"of most of its cell {other})"
            for path, other in others.items()
            if other
        }

    def _look(self) -> None:
        self._looked = time.monotonic()
        for path, log in [*self._logs.items()]:
            log.look()
            if not log.started and log.has_grown:
                self.started(path)

    @property
    def _num_ended(self) -> int:
        return len(self._verdicts) + len(self.failures)

    def _keep_result(self, run: GridRun) -> bool:
        """Whether the run has ended, by its result or by a folder that it cannot use."""
        config = run.resolved.config
        try:
            options = ListingOptions.of(run.resolved.values)
            result = run.folder.finished(self._digest(config.dataset, config.data_dir, options))
        except UsageError as error:
            self.failures[run.path] = str(error)
            return True
        if result is not None:
            headline = headline_of(result)
            score = result.get(headline.name)
            self._verdicts[run.path] = "done, without images to test on"
            if score is not None:
                self.errors[run.path], self._judged[run.path] = score, headline.words
                self._verdicts[run.path] = f"test {headline.words} {score:.2f} %"
            self._digests[run.path] = str(result.get("data_digest") or "")
        return result is not None

    def _time_left(self) -> str:
        """The time that the rest takes at the pace so far, in words, if there is a pace."""
        logs = [*self._logs.values()]
        made = self._work_done + sum(log.done - log.done_before for log in logs)
        left = sum(1 - log.done for log in logs)
        if made <= 0 or left <= 0:
            return ""
        seconds = (time.monotonic() - self._began) * left / made
        return f" (about {duration(seconds)} left)"

    def _drawn(self) -> Any:
        """The table that rich shows, made in a thread of its own after a look."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        self._look()
        active = [(path, log) for path, log in [*self._logs.items()] if log.started]
        title = f"{self._num_ended} of {self._num_runs} runs ended, {len(active)} running"
        title += f", {len(self.failures)} failed" * bool(self.failures) + self._time_left()
        table = Table(box=None, show_header=False)
        for path, log in active[: self._console.height - 3]:  # a table that scrolls stays behind
            table.add_row(Text(str(path), overflow="ellipsis", no_wrap=True), f"epoch {log.epoch}")
        return Group(Text(title, overflow="ellipsis", no_wrap=True), table)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
