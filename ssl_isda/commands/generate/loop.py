"""The loop that trains a generator against its critic: exact to resume, with the house's own parts.

A step is ``critic_steps`` steps of the critic and one of the generator, all of Adam. Every draw is keyed
by (seed, step, purpose), so a run that was killed anywhere and goes on ends with the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from signal import Signals as SignalNames

import torch
from torch import Tensor, nn

from ssl_isda.base.errors import Interrupted
from ssl_isda.base.progress import duration
from ssl_isda.base.step import Step
from ssl_isda.commands.generate.real_images import RealImages
from ssl_isda.generators.contract import Gan, Losses
from ssl_isda.optim.adamw import Config as Adam
from ssl_isda.optim.adamw import adamw
from ssl_isda.optim.contract import Group
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training.state import RunState
from ssl_isda.training.watching import Signals, Watch, telling_what_fits


@dataclass(frozen=True)
class Length:
    """How long, and how fast: ``learning_rate``, ``beta_1`` and ``beta_2`` are Adam's."""

    num_steps: int
    log_steps: int
    seed: int
    learning_rate: float
    beta_1: float
    beta_2: float
    checkpoint_minutes: float = 10.0


class GanTrainer:
    """One training of a pair, from ``next_step`` to its end. It computes in fp32: a gradient of a
    gradient in bf16 is noise."""

    def __init__(self, gan: Gan, real: RealImages, length: Length, tracker: Tracker) -> None:
        self.gan, self.real, self.length, self.tracker = gan, real, length, tracker
        self.parts = {"critic": list(gan.critic.parameters())}
        self.parts["generator"] = list(gan.generator.parameters())
        groups = [Group(parameters) for parameters in self.parts.values()]
        adam = Adam(length.beta_1, length.beta_2, weight_decay=0.0)
        self.optimizer = adamw(adam)(groups, real.device)
        for group in self.optimizer.param_groups:
            group["lr"] = length.learning_rate
        self.watch = Watch(tracker, real.device, lambda step: "")
        file = tracker.checkpoint_file
        self.state = RunState(gan, nn.Module(), self.optimizer, self.watch, "fp32", file)
        self.signals = Signals()

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
            No checkpoint can be used, or it belongs to another pair.
        """
        changes = self.state.resume(self.length.num_steps)
        done = self.step(self.next_step - 1) if self.next_step else None
        self.tracker.resume_at(done.epoch + (not self.watch.loss_sums) if done else 0)
        if changes:
            self.tracker.say(
                f"note: {', '.join(changes)}: from here on the bits may differ from those of a training "
                "that was never moved"
            )
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
        images = 2 * self.real.batch_size
        fitting = telling_what_fits(self.real.device, lambda: self.next_step, images)
        with self.signals, fitting, progress as advance:
            self._train(advance)
        self.save()

    def _train(self, advance: Callable[[], object]) -> None:
        saved = began = time.monotonic()
        first = self.next_step
        self.gan.train()
        while self.next_step < self.length.num_steps:
            step = self.step(self.next_step)
            self.train_step(step)
            self.state.next_step += 1
            advance()
            if step.is_last_of_epoch:
                self._log(step, time.monotonic() - began, self.next_step - first)
                began, first = time.monotonic(), self.next_step
            self._stop_if_asked()
            if time.monotonic() - saved >= 60 * self.length.checkpoint_minutes:
                self.save()
                saved = time.monotonic()

    def train_step(self, step: Step) -> Losses:
        """The critic's steps and the generator's; the last losses of both."""
        gan, losses = self.gan, {}
        for number in range(gan.critic_steps):
            draw = self.real.draw(step, f"generated {number}", gan.generator)
            losses = gan.critic_losses(*self.real.batch(step, number), draw)
            self._descend("critic", losses)
        draw = self.real.draw(step, "generated", gan.generator)
        of_generator = gan.generator_losses(draw)
        self._descend("generator", of_generator)
        losses = {name: loss.detach().clone() for name, loss in (losses | of_generator).items()}
        self.watch.record(losses, step)
        return losses

    def _descend(self, part: str, losses: Losses) -> None:
        """One step of Adam with the parameters of one part; those that the loss does not reach stay."""
        total: Tensor = torch.stack([*losses.values()]).sum()
        for parameters in self.parts.values():
            for parameter in parameters:
                parameter.grad = None
        own = self.parts[part]
        for parameter, gradient in zip(
            own, torch.autograd.grad(total, own, allow_unused=True), strict=True
        ):
            parameter.grad = gradient
        self.optimizer.step()

    def _log(self, step: Step, seconds: float, num_steps: int) -> None:
        losses = self.watch.mean_losses(step)
        done = {"epoch": step.epoch + 1, "step": step.index + 1}
        rate = num_steps * self.real.batch_size * self.gan.critic_steps / max(seconds, 1e-9)
        timing = {"epoch": step.epoch + 1, "seconds": seconds, "images_per_second": rate}
        left = (self.length.num_steps - step.index - 1) * seconds / max(1, num_steps)
        told = "  ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
        line = f"step {step.index + 1:,}/{step.num_steps:,}  {told}  {duration(left)} left"
        self.tracker.log_epoch({**done, **losses}, timing, line)
        self.watch.forget()

    def save(self) -> None:
        """Write the checkpoint, unless a loss is not finite."""
        if self.watch.loss_sums:
            self.watch.check_finite(self.step(self.next_step - 1))
        self.tracker.secure()
        self.state.save()

    def _stop_if_asked(self) -> None:
        number = self.signals.number
        if number is None:
            return
        self.save()
        raise Interrupted(
            f"{SignalNames(number).name} at step {self.next_step} of {self.length.num_steps}: saved; the "
            "same command goes on from here",
            number,
        )
