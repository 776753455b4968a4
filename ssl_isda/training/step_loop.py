"""The loop of a training that is no run of a method: exact to resume, with the house's own parts.

A subclass says what a step is. Every draw in it is keyed by (seed, step, purpose), so a training that was
killed anywhere and goes on ends with the same bits.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ssl_isda.base.errors import RunError
from ssl_isda.base.progress import duration
from ssl_isda.base.step import Step
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training.state import RunState, tell_of_move
from ssl_isda.training.watching import Signals, Watch, telling_what_fits


@dataclass(frozen=True)
class Length:
    """How long a training is; ``log_steps`` are one of its epochs."""

    num_steps: int
    log_steps: int
    seed: int
    checkpoint_minutes: float = field(default=10.0, kw_only=True)


class StepLoop(ABC):
    """One training in fp32, from ``next_step`` to its end.

    Parameters
    ----------
    network : all that is trained
    images_per_step : that the speed counts
    images_at_once : that are in memory, which a lack of memory is told with; None: as many
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        length: Length,
        tracker: Tracker,
        device: torch.device,
        *,
        images_per_step: int,
        images_at_once: int | None = None,
    ) -> None:
        self.network, self.optimizer = network, optimizer
        self.length, self.tracker, self.device = length, tracker, device
        self.images_per_step = images_per_step
        self.images_at_once = images_at_once or images_per_step
        self.watch = Watch(tracker, device, lambda step: "")
        file = tracker.checkpoint_file
        self.state = RunState(network, nn.Module(), optimizer, self.watch, "fp32", file)
        self.signals = Signals()

    keeps_epochs = False
    """Whether there is a checkpoint of the end of every epoch, however soon it comes."""

    @abstractmethod
    def train_step(self, step: Step) -> Mapping[str, Tensor]:
        """Make one step; its losses."""

    def after_epoch(self, step: Step) -> dict[str, float]:
        """What is measured after an epoch, which ends with ``step``."""
        return {}

    @property
    def next_step(self) -> int:
        """The step that is made next, from 0 on."""
        return self.state.next_step

    def step(self, index: int) -> Step:
        """Step ``index`` of this training."""
        return Step(index, self.length.num_steps, self.length.log_steps, self.length.seed)

    def resume(self) -> bool:
        """Take up the newest whole checkpoint, if there is one; says whether there was.

        Raises
        ------
        UsageError
            No checkpoint can be used, or it belongs to another network.
        """
        changes = self.state.resume(self.length.num_steps)
        done = self.step(self.next_step - 1) if self.next_step else None
        self.tracker.resume_at(done.epoch + (not self.watch.loss_sums) if done else 0)
        tell_of_move(self.tracker, changes or (), "training")
        return changes is not None

    def run(self) -> None:
        """Train to the end.

        Raises
        ------
        Interrupted
            A signal came; the state is saved.
        TrainingFailed
            A loss is not finite, or the memory is too small; the last checkpoint stays.
        """
        progress = self.tracker.progress(self.next_step, self.length.num_steps)
        fitting = telling_what_fits(self.device, lambda: self.next_step, self.images_at_once)
        with self.signals, fitting, progress as advance:
            self._train(advance)
        self.save()

    def _train(self, advance: Callable[[], object]) -> None:
        saved = began = time.monotonic()
        first = self.next_step
        self.network.train()
        while self.next_step < self.length.num_steps:
            step = self.step(self.next_step)
            self.watch.record(self.train_step(step), step)
            self.state.next_step += 1
            advance()
            if step.is_last_of_epoch:
                self._log(step, time.monotonic() - began, self.next_step - first)
                began, first = time.monotonic(), self.next_step
            self._stop_if_asked()
            is_due = self.keeps_epochs and step.is_last_of_epoch
            if is_due or time.monotonic() - saved >= 60 * self.length.checkpoint_minutes:
                self.save()
                saved = time.monotonic()

    def _log(self, step: Step, seconds: float, num_steps: int) -> None:
        metrics = self.watch.mean_losses(step) | self.after_epoch(step)
        done = {"epoch": step.epoch + 1, "step": step.index + 1}
        rate = num_steps * self.images_per_step / max(seconds, 1e-9)
        timing = {"epoch": step.epoch + 1, "seconds": seconds, "images_per_second": rate}
        left = (self.length.num_steps - step.index - 1) * seconds / max(1, num_steps)
        told = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        line = f"step {step.index + 1:,}/{step.num_steps:,}  {told}  {duration(left)} left"
        self.tracker.log_epoch({**done, **metrics}, timing, line)
        self.watch.forget()

    def save(self) -> None:
        """Write the checkpoint, unless a loss is not finite."""
        if self.watch.loss_sums:
            self.watch.check_finite(self.step(self.next_step - 1))
        self.tracker.secure()
        self.state.save()

    def _stop_if_asked(self) -> None:
        number = self.signals.number
        if number is not None:
            self.save()
            self.signals.end(number, self.next_step, self.length.num_steps)


@contextmanager
def ended(tracker: Tracker) -> Iterator[dict[str, Any]]:
    """The block in which a training goes on to its end, which the log and W&B are told; its summary."""
    summary: dict[str, Any] = {}
    exit_code = 1
    try:
        yield summary
        exit_code = 0
    except RunError as error:
        exit_code = error.exit_code
        if exit_code < 128:  # not a signal
            tracker.note_failure(error)
        raise
    finally:
        if tracker.view:
            tracker.view.finish(summary, exit_code)
