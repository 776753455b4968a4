"""The training loop: Alg. 1 of ISDA, read from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ssl_isda.base.errors import RunError
from ssl_isda.base.precision import autocast
from ssl_isda.base.step import Step
from ssl_isda.data.batch import Batch
from ssl_isda.models.contract import Network
from ssl_isda.optim.contract import Group, OptimizerFactory, Schedule
from ssl_isda.optim.groups import merged
from ssl_isda.optim.schedules.cosine import Config as CosineConfig
from ssl_isda.optim.schedules.cosine import cosine_schedule
from ssl_isda.optim.sgd import Config as SGDConfig
from ssl_isda.optim.sgd import sgd
from ssl_isda.parallel import distributed
from ssl_isda.runs.metrics import loss_of
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training import divergence
from ssl_isda.training.batchnorm import running_statistics
from ssl_isda.training.compilation import as_written, begin_passes
from ssl_isda.training.config import TrainerConfig as TrainerConfig
from ssl_isda.training.diagnostics import gradient_norm
from ssl_isda.training.epochs import diagnosed, in_force, log_epoch
from ssl_isda.training.evaluation import Evaluation, Final, LabeledBatches
from ssl_isda.training.objective import Objective, Terms
from ssl_isda.training.state import RunState, tell_of_move
from ssl_isda.training.watching import Signals, Watch, telling_what_fits


class TrainingData(Protocol):
    """Where batches come from: each a pure function of its step."""

    def batch(self, step: Step) -> Batch: ...


class Trainer:
    """One run.

    Parameters
    ----------
    evaluations : the labeled sets to test on by name, ``test`` among them
    pseudo_labeled : unlabeled images with their hidden labels (-1 where there is none), to be looked
        at after each epoch; no step sees them
    optimizer : by default SGD with Nesterov momentum, as the paper's
    schedule : factor on the learning rate; by default a cosine that falls to 0
    groups : the student's parameters, each in one group; by default all in a single one
    """

    def __init__(
        self,
        student: Network,
        objective: Objective,
        data: TrainingData,
        evaluations: Mapping[str, LabeledBatches],
        config: TrainerConfig,
        tracker: Tracker,
        pseudo_labeled: LabeledBatches | None = None,
        *,
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
        groups: Sequence[Group] | None = None,
    ) -> None:
        self.student, self.objective, self.data = student, objective, data
        self.evaluations, self.pseudo_labeled = evaluations, pseudo_labeled
        self.config, self.tracker = config, tracker
        self.device = next(student.parameters()).device
        of_student = groups or [Group(list(student.parameters()))]
        self.groups = merged([*of_student, *objective.groups()])
        self.parameters = [p for group in self.groups for p in group.parameters]
        self.optimizer = (optimizer or sgd(SGDConfig()))(self.groups, self.device)
        self.schedule = schedule or cosine_schedule(CosineConfig())
        self._set_learning_rate(config.learning_rate)
        diverged = partial(divergence.told, student, objective, config.learning_rate)
        self.watch = Watch(tracker, self.device, diverged)
        self.checkpoint_file = tracker.checkpoint_file
        self.run_state = RunState(
            *(student, objective, self.optimizer, self.watch),
            *(config.precision, self.checkpoint_file),
        )
        self.signals = Signals()
        self._in_training = False

    @property
    def next_step(self) -> int:
        """The step that is made next, from 0 on."""
        return self.run_state.next_step

    @property
    def evaluation(self) -> Evaluation:
        """Passes in evaluation mode, which a signal stops."""
        self._in_training = False
        config = self.config
        return Evaluation(
            *(self.student, self.objective),
            precision=config.precision,
            compiled=config.compiled,
            before_pass=self._stop_if_asked,
        )

    def run(self) -> None:
        """Train from ``next_step`` to the end, saving at the intervals of the config.

        Raises
        ------
        Interrupted
            A signal came; the state is saved.
        TrainingFailed
            A loss is not finite, or GPU memory is too small; the last good checkpoint stays.
        OutputFailed
            The disk is full.
        """
        progress = self.tracker.progress(self.next_step, self.config.num_steps)
        with self.signals:
            try:
                with self._fitting(), progress as advance:
                    self._train(advance)
                self.save()
            except RunError as error:
                # A stop was requested, so the caller must not start its next run.
                error.signal_number = error.signal_number or self.signals.number
                raise

    def _train(self, advance: Callable[[], object]) -> None:
        saved = epoch_began = time.monotonic()
        epoch_first_step = self.next_step
        if self.watch.loss_sums and self.step(self.next_step - 1).is_last_of_epoch:
            self._finish_epoch(self.step(self.next_step - 1))  # it was stopped in its evaluation
        snapshot_steps = self.config.snapshot_steps
        while self.next_step < self.config.num_steps:
            if self.next_step in snapshot_steps:
                self.run_state.keep_snapshot()
            step = self.step(self.next_step)
            self.train_step(step)
            self.run_state.next_step += 1
            advance()
            self._stop_if_asked()
            if step.is_last_of_epoch:
                self.watch.check_finite(step)  # a GPU is done when it has answered
                seconds = time.monotonic() - epoch_began
                self._finish_epoch(step, seconds, self.next_step - epoch_first_step)
                epoch_began, epoch_first_step = time.monotonic(), self.next_step
            if self._is_time_to_save(step, time.monotonic() - saved):
                self.save()
                saved = time.monotonic()

    def train_step(self, step: Step) -> Terms:
        """One step of the optimizer on Eq. 19. Nothing waits for a GPU, save for one look at the
        losses every hundred steps, at the last step of an epoch, and in PyTorch's SyncBatchNorm
        (``--sync-batchnorm``)."""
        self._set_learning_rate(self._learning_rate(step))
        terms = self._terms(step)
        if step.is_last_of_epoch and self.tracker.keeps_diagnostics:
            self.watch.look_at_gradients(terms, self._trained_parameters(), step)
        for parameter in self.parameters:  # as zero_grad, which also writes a line for profilers
            parameter.grad = None
        terms.total.backward()
        losses = {name: loss.detach().clone() for name, loss in terms.losses.items()}
        if distributed.num_processes() > 1:
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            statistics = running_statistics(self.student, self.objective)
            distributed.average_([*gradients, *losses.values(), *statistics])
        self.watch.record(losses, step)
        self.optimizer.step()
        self.objective.after_step(self.student, step)
        return terms

    def _terms(self, step: Step) -> Terms:
        """The forward passes of a step."""
        begin_passes(self.config.compiled)
        self._to_training_mode()
        batch = self.data.batch(step)
        with as_written(self.config.compiled, step), autocast(self.device, self.config.precision):
            terms: Terms = self.objective(self.student, batch, step)
        return terms

    def _to_training_mode(self) -> None:
        """After an evaluation, within which single parts of a method may have been put into the other."""
        if self._in_training and self.student.training and self.objective.training:
            return
        self.student.train()
        self.objective.train()
        self._in_training = True

    def dry_step(self) -> None:
        """Take the memory of the heaviest kind of step, the last one of an epoch.

        It keeps the whole graph while it differentiates terms, beside the gradients of the step before
        and the optimizer's state. Covariances, targets and BatchNorm take the batch in as ever: a
        trainer that has made a dry step is to be thrown away. CUDA graphs, which ``--compile`` records,
        come on top, and on a CPU what ISDA needs for classes that only a trained network predicts.

        Raises
        ------
        OutOfMemory
            GPU memory is too small.
        """
        with self._fitting():
            trained = self._trained_parameters()
            for parameter in trained:
                parameter.grad = torch.zeros_like(parameter)
            self._set_learning_rate(0.0)
            self.optimizer.step()
            gradient_norm(self._terms(self.step(self.next_step)).total, trained)

    def _fitting(self) -> AbstractContextManager[None]:
        return telling_what_fits(self.device, lambda: self.next_step, self.config.images_per_step)

    def step(self, index: int) -> Step:
        """Step ``index`` of this run."""
        config = self.config
        return Step(index, config.num_steps, config.steps_per_epoch, config.seed)

    def _learning_rate(self, step: Step) -> float:
        return self.config.learning_rate * self.schedule(step)

    def _set_learning_rate(self, rate: float) -> None:
        for group, described in zip(self.optimizer.param_groups, self.groups, strict=True):
            group["lr"] = rate * described.rate_scale

    def _trained_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.parameters if p.requires_grad]

    # What it tells.

    def predict(self, batches: LabeledBatches) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Logits, features and labels, batch by batch, of the network that the method names.

        Raises
        ------
        Interrupted
            A signal came; the state is saved, and the same command begins with this evaluation.
        """
        for prediction, labels in self.evaluation.predictions(batches):
            yield *prediction, labels

    def final(self, batches: LabeledBatches, class_names: Sequence[str]) -> Final:
        """What a finished run tells of a set. Raises as ``predict``."""
        return self.evaluation.final(batches, class_names)

    def _finish_epoch(self, step: Step, seconds: float = 0.0, num_steps: int = 0) -> None:
        """Evaluate and log; ``num_steps`` of the epoch were made here and took ``seconds``."""
        losses = self.watch.mean_losses(step)
        scores = {
            f"{name}_{score}": value
            for name, batches in self.evaluations.items()
            for score, value in self.evaluation.scores(batches).items()
        }
        if distributed.is_first():
            metrics = {loss_of(name): loss for name, loss in losses.items()}
            metrics |= in_force(self.objective, step, self._learning_rate(step)) | scores
            metrics |= diagnosed(self.objective, self.watch.gradient_norms)
            if self.pseudo_labeled is not None:
                metrics |= self.evaluation.pseudo_labels(self.pseudo_labeled)
            metrics |= self.objective.method.logged()
            images = num_steps * self.config.images_per_step
            log_epoch(self.tracker, step, metrics, seconds, num_steps, images)
        self.watch.forget()  # from here on the epoch is done

    # What it keeps.

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return self.run_state.whole()

    def save(self) -> None:
        """Write the checkpoint, unless a loss is not finite."""
        if self.watch.loss_sums:
            self.watch.check_finite(self.step(self.next_step - 1))
        self.tracker.secure()
        self.run_state.save()

    def _is_time_to_save(self, step: Step, seconds_since: float) -> bool:
        every = self.config.checkpoint_epochs
        at_epoch = every and step.is_last_of_epoch and (step.epoch + 1) % every == 0
        return bool(at_epoch) or seconds_since >= 60 * self.config.checkpoint_minutes

    def resume(self) -> bool:
        """Take up the newest whole checkpoint, if there is one; says whether there was.

        Raises
        ------
        UsageError
            No checkpoint can be used, it belongs to another network, or epochs of it are not told of.
        """
        changes = self.run_state.resume(self.config.num_steps)
        if changes is None:
            self.tracker.resume_at(0)
            return False
        last = self.step(self.next_step - 1)  # with losses in its sums its epoch is not over
        if self.next_step and not self.watch.loss_sums and not last.is_last_of_epoch:
            self.tracker.resume_at(last.epoch + 1)
            self._open_epoch_again(last)
        finished = last.epoch + (not self.watch.loss_sums) if self.next_step else 0
        self.tracker.resume_at(finished)
        tell_of_move(self.tracker, changes, "run")
        return True

    def _open_epoch_again(self, last: Step) -> None:
        """Of a run that ended within an epoch, and goes on to a greater length: its sums are the means
        that it logged, times the steps. They are saved before the epoch's line goes."""
        logged = distributed.from_first(self.tracker.history)[last.epoch]
        steps = last.index + 1 - last.epoch * last.steps_per_epoch
        self.watch.loss_sums = {
            name.removesuffix("_loss"): torch.tensor(mean * steps, device=self.device)
            for name, mean in logged.items()
            if name.endswith("_loss")
        }
        self.run_state.save()

    def load_networks(self, state: Mapping[str, Any]) -> None:
        """Take student, method and covariances out of a checkpoint's state: enough to evaluate.

        Raises
        ------
        UsageError
            It belongs to another network, or is no state of a run.
        """
        self.run_state.load_networks(state)

    def _stop_if_asked(self) -> None:
        asked = distributed.largest(self.signals.number or 0)
        if asked:
            self.save()
            self.signals.end(asked, self.next_step, self.config.num_steps)
