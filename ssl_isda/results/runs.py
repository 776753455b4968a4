"""Run folders: found below the folders that a user names, each read into one ``Run``."""

from __future__ import annotations

import os
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import printed
from ssl_isda.results.run_files import (
    Damaged,
    LogFacts,
    SplitFacts,
    Untested,
    confusion_counts,
    number,
    read_epochs,
    read_log,
    read_result,
    read_split,
)
from ssl_isda.results.run_settings import read_config
from ssl_isda.runs.metrics import ERROR_RATE, Headline, headline_of, headline_of_epoch

State = Literal["finished", "unfinished", "failed", "damaged", "repeated"]

RUN_FILES = frozenset({"config.yaml", "metrics.jsonl", "result.json"})
"""A folder that holds one of them is a run."""
GENERATOR_FILE = "generator.json"
"""What tells a folder of ``generate train`` from a run."""


@dataclass(frozen=True)
class Run:
    """One run as its files tell it; what no file tells is empty."""

    path: str
    """The folder, as the user named it, fit to be printed."""
    folder: Path = Path()
    state: State = "unfinished"
    """finished: has a result. failed: its log says why it ended. unfinished: neither, or its result has
    no test error. damaged: a file
    is not what a run writes, so that none of its numbers count. repeated: the same seed of the same
    experiment is there twice, and this is not the first."""
    problem: str = ""
    """In words, for every state but finished."""
    settings: Mapping[str, object] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, float]] = ()
    timing: Sequence[Mapping[str, float]] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    split: SplitFacts | None = None
    warnings: tuple[str, ...] = ()

    @property
    def seed(self) -> int:
        seed = self.settings["seed"]
        assert isinstance(seed, int)
        return seed

    @property
    def headline(self) -> Headline:
        """What it is judged by: as its result says, or its last epoch."""
        epoch = headline_of_epoch(self.epochs[-1]) if self.epochs else None
        return headline_of(self.result) if self.result else epoch or ERROR_RATE

    @property
    def error(self) -> float:
        """The test error to report, or the mIoU of a segmentation, in percent; of a finished run."""
        return float(self.result[self.headline.name])

    @property
    def data_digest(self) -> str:
        """Of the images that the result was made on; empty where it does not say."""
        return printed(str(self.result.get("data_digest") or ""))

    @property
    def last_error(self) -> float | None:
        """The same of the last epoch."""
        return self.epochs[-1].get(self.headline.of_test) if self.epochs else None

    @property
    def best_error(self) -> float | None:
        """The smallest test error of all epochs, in percent, chosen on the test images themselves."""
        return min((e["test_error"] for e in self.epochs if "test_error" in e), default=None)

    @property
    def last_loss(self) -> float | None:
        """The supervised loss of the last epoch; with ISDA the bound that stands in its place."""
        return self.epochs[-1].get("supervised_loss") if self.epochs else None

    @property
    def selected_error(self) -> float | None:
        """Of the epoch that was best on the validation images, where there were some."""
        return number(self.result.get(f"selected_{self.headline.name}"))

    @property
    def seconds(self) -> float | None:
        """How long it trained."""
        seconds = [epoch["seconds"] for epoch in self.timing if "seconds" in epoch]
        return sum(seconds) if seconds else None

    @property
    def images_per_second(self) -> float | None:
        """The median over the epochs."""
        rates = [
            epoch["images_per_second"] for epoch in self.timing if "images_per_second" in epoch
        ]
        return statistics.median(rates) if rates else None

    @property
    def commit(self) -> str:
        return str(self.result.get("commit") or "")

    @property
    def precision(self) -> str:
        """ "bf16"; empty where it is not known."""
        return str(self.result.get("precision") or "")

    @property
    def command(self) -> str:
        """As a shell would take it."""
        words = self.result.get("command")
        return shlex.join(map(str, words)) if isinstance(words, list) else ""

    @property
    def packages(self) -> Mapping[str, object]:
        """Version by name."""
        known = self.result.get("versions")
        return known if isinstance(known, dict) else {}

    @property
    def versions(self) -> str:
        """ "ssl_isda 0.1.0, torch 2.6.0, python 3.11.7"."""
        return ", ".join(f"{name} {version}" for name, version in self.packages.items())

    @property
    def machine(self) -> str:
        """ "x86_64, 1 thread, bf16"."""
        threads = number(self.result.get("threads"))
        counted = "" if threads is None else f"{threads:g} thread{'s' * (threads != 1)}"
        parts = (self.result.get("device", ""), counted, self.precision)
        return ", ".join(text for part in parts if (text := str(part)))


def find_runs(places: Sequence[Path]) -> list[Run]:
    """Every run in the folders ``places`` or below them, once each, by path; and those of files that
    ``ssl_isda.results.gathered`` wrote.

    Raises
    ------
    UsageError
        A place is not there, is neither folder nor such a file, or no run is in any of them.
    """
    from ssl_isda.results.gathered import SUFFIX, read_gathered

    folders: dict[Path, Path] = {}
    files: dict[Path, Path] = {}
    for place in places:
        if place.is_file() and place.suffix == SUFFIX:
            files.setdefault(place.resolve(), place)
            continue
        if not place.is_dir():
            problem = "is a file; a folder is needed" if place.exists() else "no such folder"
            raise UsageError(f"{printed(place)}: {problem}")
        for folder in _run_folders(place):
            folders.setdefault(folder.resolve(), folder)
    gathered = [run for file in files.values() for run in read_gathered(file)]
    if not folders and not gathered:
        names = ", ".join(printed(place) for place in places)
        raise UsageError(f"no runs in {names}; a run folder holds config.yaml and metrics.jsonl")
    return [*map(read_run, sorted(folders.values())), *gathered]


def read_run(folder: Path) -> Run:
    """What the files of ``folder`` tell."""
    run = Run(printed(folder), folder)
    try:
        run = replace(run, settings=read_config(folder / "config.yaml"))
        return _read_rest(run, folder)
    except Untested as reason:
        return replace(run, state="unfinished", problem=str(reason))
    except (Damaged, UsageError) as damage:
        return replace(run, state="damaged", problem=str(damage))


def _run_folders(place: Path) -> Iterator[Path]:
    """Folders inside a run's folder are its own affair; a generator has no error to report."""
    for folder, below, files in os.walk(place):
        if RUN_FILES & set(files):
            below.clear()
            if GENERATOR_FILE not in files:
                yield Path(folder)
        below[:] = sorted(name for name in below if not name.startswith("."))


def _read_rest(run: Run, folder: Path) -> Run:
    is_finished = (folder / "result.json").exists()
    result = read_result(folder / "result.json") if is_finished else {}
    epochs = read_epochs(folder / "metrics.jsonl", is_finished=is_finished)
    log = read_log(folder / "log.txt")
    if is_finished:
        _hold_result_against_metrics(result, epochs)
    return replace(
        run,
        state="finished" if is_finished else "failed" if log.failure else "unfinished",
        problem="" if is_finished else _how_far(log, len(epochs)),
        epochs=epochs,
        timing=read_epochs(folder / "timing.jsonl", is_finished=False),
        result=result,
        split=read_split(folder / "split.json") if (folder / "split.json").exists() else None,
        warnings=log.warnings + _doubts(result),
    )


def _hold_result_against_metrics(
    result: Mapping[str, Any], epochs: Sequence[Mapping[str, float]]
) -> None:
    """metrics.jsonl is the truth: a result that does not follow from it is damaged."""
    if result.get("epochs", len(epochs)) != len(epochs):
        raise Damaged(f"metrics.jsonl has {len(epochs)} epochs, result.json {result['epochs']!r}")
    averaged = result.get("averaged_epochs")
    if not isinstance(averaged, int) or not 1 <= averaged <= len(epochs):
        raise Damaged(
            f"result.json does not say how many epochs its {headline_of(result).words} averages"
        )
    headline = headline_of(result)
    values = [epoch.get(headline.of_test) for epoch in epochs[-averaged:]]
    known = [value for value in values if value is not None]
    if len(known) < averaged or abs(sum(known) / averaged - result[headline.name]) > 1e-6:
        raise Damaged(f"the {headline.words} in result.json does not follow from metrics.jsonl")


def _how_far(log: LogFacts, num_epochs: int) -> str:
    total = f" of {log.num_epochs}" if log.num_epochs else ""
    done = f"{num_epochs}{total} epochs done"
    return f"{log.failure} ({done})" if log.failure else done


def _doubts(result: dict[str, Any]) -> tuple[str, ...]:
    if "confusion" in result and confusion_counts(result) is None:
        return ("its confusion matrix is not a square table of counts, and is left out",)
    return ()
