"""What a run tells: metrics.jsonl (the truth), log.txt and the console (one line an epoch), W&B (a view).

metrics.jsonl holds what the training computed and nothing of the clock, so that two runs of the same
command write the same bytes; times go to timing.jsonl.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ssl_isda.base.errors import OutputFailed, UsageError
from ssl_isda.base.files import output_failed
from ssl_isda.base.progress import bar, show

Metrics = Mapping[str, float | int]
Item = TypeVar("Item")


class View(Protocol):
    """Someone who is shown the metrics but does not keep them (W&B)."""

    def log(self, metrics: Metrics) -> None: ...

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None: ...


class Tracker:
    """Writes a run's metrics and log into its folder and shows them."""

    keeps_diagnostics = True
    """Whether it is worth a look at each term's gradient at the end of an epoch."""

    def __init__(self, folder: Path, view: View | None = None, *, quiet: bool = False) -> None:
        self.folder, self.view, self.quiet = folder, view, quiet
        self.metrics_file = folder / "metrics.jsonl"
        self.timing_file = folder / "timing.jsonl"
        self._bar: Any = None
        self._unsecured: set[Path] = set()

    @property
    def checkpoint_file(self) -> Path | None:
        """Where the state of the run is kept; None: nowhere."""
        return self.folder / "checkpoint.pt"

    def resume_at(self, epoch: int) -> None:
        """Forget what was written after the first ``epoch`` epochs: it will be computed again.

        Raises
        ------
        UsageError
            A file has fewer: they cannot be computed again.
        """
        for file in (self.metrics_file, self.timing_file):
            kept = file.read_bytes().splitlines(keepends=True)[:epoch] if file.exists() else []
            if len(kept) < epoch:
                raise UsageError(
                    f"{file} has {len(kept)} of the {epoch} epochs that the checkpoint beside it has "
                    "finished: put it back, or start over with --fresh"
                )
            if file.exists():
                with open(file, "r+b") as handle:
                    handle.truncate(sum(map(len, kept)))

    def history(self) -> list[dict[str, Any]]:
        """The metrics of each finished epoch."""
        if not self.metrics_file.exists():
            return []
        return [json.loads(line) for line in self.metrics_file.read_text().splitlines()]

    def shown(self) -> list[dict[str, Any]]:
        """The metrics of each finished epoch with its times, as a view is shown them."""
        times = self.timing_file.read_text().splitlines() if self.timing_file.exists() else []
        pairs = zip(self.history(), map(json.loads, times), strict=True)
        return [{**metrics, **timing} for metrics, timing in pairs]

    def log_epoch(self, metrics: Metrics, timing: Metrics, line: str) -> None:
        """Keep and show one finished epoch."""
        self._append(self.metrics_file, json.dumps(dict(metrics)))
        self._append(self.timing_file, json.dumps(dict(timing)))
        self.say(line)
        if self.view:
            self.view.log({**metrics, **timing})

    def say(self, line: str) -> None:
        """One line for log.txt, with the time, and for the console."""
        self._log(line)
        if not self.quiet:
            show(line, bar=self._bar)

    def note_failure(self, error: Exception) -> None:
        """The reason why the run ends, for log.txt alone, if it can still be written."""
        with contextlib.suppress(OutputFailed):
            self._log(f"failed: {error}")

    def warn(self, line: str) -> None:
        """The same for what should not be overlooked."""
        self.say(f"warning: {line}")

    def _log(self, line: str) -> None:
        self._append(self.folder / "log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}")

    def _append(self, file: Path, line: str) -> None:
        try:
            with open(file, "a", encoding="utf-8") as handle:
                handle.write(line + "\n")
        except OSError as error:
            raise output_failed(error, file, len(line)) from error
        self._unsecured.add(file)

    def secure(self) -> None:
        """Have the disk keep what was written, so that after a power cut no checkpoint that is written
        next is ahead of it.

        Raises
        ------
        OutputFailed
            The disk does not take it.
        """
        for file in sorted(self._unsecured):
            try:
                with open(file, "rb") as handle:
                    os.fsync(handle.fileno())
            except OSError as error:
                raise output_failed(error, file, 0) from error
        self._unsecured.clear()

    @contextlib.contextmanager
    def progress(self, first: int, total: int) -> Iterator[Any]:
        """A bar over training steps, on a terminal only; yields a function to call at each step."""
        with bar(total, "step", first=first, hidden=self.quiet) as self._bar:
            yield (lambda: None) if self._bar is None else self._bar.update
        self._bar = None


class SilentTracker(Tracker):
    """For the processes of a run that are not its first: writes and shows nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, quiet=True)

    def resume_at(self, epoch: int) -> None:
        pass

    def log_epoch(self, metrics: Metrics, timing: Metrics, line: str) -> None:
        pass

    def _log(self, line: str) -> None:
        pass


class MemoryTracker(SilentTracker):
    """For a run without a folder: writes nothing, and its state is kept nowhere.

    ``quiet`` is whether it shows nothing, either.
    """

    checkpoint_file = None
    keeps_diagnostics = False

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(Path(os.devnull))
        self.quiet = quiet
        self._history: list[dict[str, Any]] = []

    def history(self) -> list[dict[str, Any]]:
        return self._history

    def log_epoch(self, metrics: Metrics, timing: Metrics, line: str) -> None:
        self._history.append(dict(metrics))
        self.say(line)
