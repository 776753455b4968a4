"""The training loop: Alg. 1 of ISDA, read from top to bottom."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_isda.base.errors import Interrupted, OutOfMemory, RunError, TrainingFailed, UsageError
from ssl_isda.base.files import output_failed
from ssl_isda.base.precision import Precision, autocast
from ssl_isda.base.progress import duration
from ssl_isda.base.step import Step
from ssl_isda.data.batch import Batch
from ssl_isda.models.contract import Classifier
from ssl_isda.optim.schedules.cosine import cosine
from ssl_isda.optim.sgd import SGD
from ssl_isda.parallel import distributed
from ssl_isda.runs import checkpoint
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training.diagnostics import (
    PseudoLabels,
    confusion_matrix,
    error_percent,
    gradient_norm,
    mean_variance,
)
from ssl_isda.training.objective import Objective, Terms

LabeledBatches = Callable[[], Iterable[tuple[Tensor, Tensor]]]


class TrainingData(Protocol):
    """Where batches come from: each a pure function of its step."""

    def batch(self, step: Step) -> Batch: ...


@dataclass(frozen=True)
class TrainerConfig:
    """The schedule: SGD with Nesterov momentum, its rate falling to zero as a cosine of t/T."""

    num_steps: int
    steps_per_epoch: int
    images_per_step: int
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    seed: int = 0
    precision: Precision = "fp32"
    checkpoint_minutes: float = 10.0
    checkpoint_epochs: int | None = None
    num_snapshots: int = 0
    compiled: bool = False
    """The networks are: what they give then holds to the end of the step, or of the evaluated batch."""

    @property
    def snapshot_steps(self) -> frozenset[int]:
        """The steps before which networks and covariances are kept; the last step is one of them."""
        last, n = self.num_steps - 1, self.num_snapshots
        return frozenset(round(k * last / n) for k in range(1, n + 1))


class Trainer:
    """One run.

    Parameters
    ----------
    evaluations : the labeled sets to test on by name, ``test`` among them
    pseudo_labeled : unlabeled images with their hidden labels (-1 where there is none), to be looked
        at after each epoch; no step sees them
    """

    def __init__(
        self,
        student: Classifier,
        objective: Objective,
        data: TrainingData,
        evaluations: Mapping[str, LabeledBatches],
        config: TrainerConfig,
        tracker: Tracker,
        pseudo_labeled: LabeledBatches | None = None,
    ) -> None:
        self.pseudo_labeled = pseudo_labeled
        self.student, self.objective, self.data = student, objective, data
        self.evaluations, self.config, self.tracker = evaluations, config, tracker
        self.device = next(student.parameters()).device
        self.parameters = [*student.parameters(), *objective.trained_parameters()]
        self.optimizer = SGD(
            self.parameters,
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.momentum > 0,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.num_classes = student.head.out_features
        self.next_step = 0
        self.loss_sums: dict[str, Tensor] = {}
        self.gradient_norms: dict[str, Tensor] = {}
        self._dead_terms: set[str] = set()
        self.checkpoint_file = tracker.folder / "checkpoint.pt"
        self._signal: int | None = None

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
        restore_handlers = self._watch_signals()
        try:
            progress = self.tracker.progress(self.next_step, self.config.num_steps)
            with self._telling_what_fits(), progress as advance:
                self._train(advance)
            self.save()
        except RunError as error:
            # Whoever has further runs to train shall not.
            error.signal_number = error.signal_number or self._signal
            raise
        finally:
            restore_handlers()

    def dry_step(self) -> None:
        """Take the memory of the heaviest kind of step, the last one of an epoch.

        It keeps the whole graph while it differentiates terms, beside the gradients of the step before
        and the optimizer's momentum. Covariances, targets and BatchNorm take the batch in as ever: a
        trainer that has made a dry step is to be thrown away. CUDA graphs, which ``--compile`` records,
        come on top, and on a CPU what ISDA needs for classes that only a trained network predicts.

        Raises
        ------
        OutOfMemory
            GPU memory is too small.
        """
        with self._telling_what_fits():
            trained = self._trained_parameters()
            for parameter in trained:
                parameter.grad = torch.zeros_like(parameter)
            self._set_learning_rate(0.0)
            self.optimizer.step()
            gradient_norm(self._terms(self.step(self.next_step)).total, trained)

    @contextmanager
    def _telling_what_fits(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError as error:
            total = torch.cuda.get_device_properties(self.device).total_memory
            raise OutOfMemory(
                f"step {self.next_step}: {self.config.images_per_step} images a step do not fit in "
                f"the {total / 1e9:.1f} GB of GPU memory; try a smaller --batch-size and "
                "--unlabeled-batch-size, or a smaller --width"
            ) from error

    def _train(self, advance: Callable[[], object]) -> None:
        saved = epoch_began = time.monotonic()
        epoch_first_step = self.next_step
        if self.loss_sums and self.step(self.next_step - 1).is_last_of_epoch:
            self._finish_epoch(self.step(self.next_step - 1))  # it was stopped in its evaluation
        snapshot_steps = self.config.snapshot_steps
        while self.next_step < self.config.num_steps:
            if self.next_step in snapshot_steps:
                self._keep_snapshot()
            step = self.step(self.next_step)
            self.train_step(step)
            self.next_step += 1
            advance()
            self._stop_if_asked()
            if step.is_last_of_epoch:
                self._check_finite(step)  # a GPU is done when it has answered
                seconds = time.monotonic() - epoch_began
                self._finish_epoch(step, seconds, self.next_step - epoch_first_step)
                epoch_began, epoch_first_step = time.monotonic(), self.next_step
            if self._is_time_to_save(step, time.monotonic() - saved):
                self.save()
                saved = time.monotonic()

    def _is_time_to_save(self, step: Step, seconds_since: float) -> bool:
        every = self.config.checkpoint_epochs
        at_epoch = every and step.is_last_of_epoch and (step.epoch + 1) % every == 0
        return bool(at_epoch) or seconds_since >= 60 * self.config.checkpoint_minutes

    def step(self, index: int) -> Step:
        """Step ``index`` of this run."""
        config = self.config
        return Step(index, config.num_steps, config.steps_per_epoch, config.seed)

    def train_step(self, step: Step) -> Terms:
        """One step of SGD on Eq. 19. Nothing waits for a GPU, save for one look at the losses every
        hundred steps, at the last step of an epoch, and in PyTorch's SyncBatchNorm
        (``--sync-batchnorm``)."""
        self._set_learning_rate(self.config.learning_rate * cosine(step.progress))
        terms = self._terms(step)
        if step.is_last_of_epoch:
            self._look_at_gradients(terms, step)
        self.optimizer.zero_grad(set_to_none=True)
        terms.total.backward()
        losses = {name: loss.detach().clone() for name, loss in terms.losses.items()}
        if distributed.num_processes() > 1:
            shared = [*self._gradients(), *losses.values(), *self._running_statistics()]
            distributed.average_(shared)
        self._record(losses, step)
        self.optimizer.step()
        self.objective.regularizer.after_step(self.student, step)
        return terms

    def _set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _terms(self, step: Step) -> Terms:
        """The forward passes of a step."""
        self._begin_passes()
        self.student.train()
        self.objective.train()
        batch = self.data.batch(step)
        with self._as_written(step), autocast(self.device, self.config.precision):
            terms: Terms = self.objective(self.student, batch, step)
        return terms

    def _as_written(self, step: Step) -> AbstractContextManager[None]:
        """The last step of an epoch is not compiled: its terms are differentiated one by one, which
        keeps what CUDA graphs cannot keep (PyTorch's issue 154306)."""
        eager: AbstractContextManager[None] = nullcontext()
        if self.config.compiled and step.is_last_of_epoch:
            eager = torch.compiler.set_stance("force_eager")
        return eager

    def _trained_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.parameters if p.requires_grad]

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self.parameters if p.grad is not None]

    def _running_statistics(self) -> list[Tensor]:
        """Of student and teacher: each process's own, unless BatchNorm is synchronized."""
        return [
            statistic
            for module in (*self.student.modules(), *self.objective.modules())
            if isinstance(module, _BatchNorm)
            for statistic in (module.running_mean, module.running_var)
            if statistic is not None
        ]

    def evaluate(self, batches: LabeledBatches) -> float:
        """Error in percent of the network that the method names. Raises as ``predict``."""
        return error_percent(self.confusion(batches))

    def confusion(self, batches: LabeledBatches) -> Tensor:
        """(C, C) int64: true classes in rows, predicted ones in columns. Raises as ``predict``."""
        counts = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64)
        counts = counts.to(self.device)
        for logits, _, labels in self.predict(lambda: distributed.dealt(batches())):
            counts += confusion_matrix(logits, labels)
        return distributed.total(counts)

    @torch.no_grad()
    def predict(self, batches: LabeledBatches) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Logits (n, c), features (n, a) and labels (n,), batch by batch, of that same network.

        Raises
        ------
        Interrupted
            A signal came; the state is saved, and the same command begins with this evaluation.
        """
        network = self.objective.regularizer.evaluated(self.student).eval()
        for images, labels in batches():
            self._begin_passes()
            yield *self._pass(network, images), labels

    def _begin_passes(self) -> None:
        """CUDA graphs may use the memory of what came before again, and of nothing that comes now.

        Unless told, they take a forward pass after a backward one for a new step: VAT has one between.
        """
        if self.config.compiled:
            torch.compiler.cudagraph_mark_step_begin()

    def _pass(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        if distributed.num_processes() == 1:  # several only agree between steps
            self._stop_if_asked()
        with autocast(self.device, self.config.precision):
            logits, features = network(images)
        return logits, features

    @torch.no_grad()
    def _diagnose(self) -> dict[str, float]:
        """What is looked at beside losses and errors, by the name of its metric."""
        found = {f"gradient_norm_{name}": n.item() for name, n in self.gradient_norms.items()}
        if self.objective.covariance is not None:
            found["mean_variance"] = mean_variance(self.objective.covariance)
        if self.pseudo_labeled is None:
            return found
        student = self.student.eval()
        evaluated = self.objective.regularizer.evaluated(student).eval()
        counts = PseudoLabels()
        for images, labels in self.pseudo_labeled():
            self._begin_passes()
            other = None if evaluated is student else self._pass(evaluated, images)[0]
            counts.add(self._pass(student, images)[0], other, labels)
        return found | counts.percentages()

    # Losses: summed over the epoch on the device, looked at where that costs nothing.

    def _record(self, losses: Mapping[str, Tensor], step: Step) -> None:
        for name, loss in losses.items():
            if name not in self.loss_sums:
                self.loss_sums[name] = torch.zeros((), device=self.device)
            self.loss_sums[name] += loss
        if self.device.type == "cpu" or step.index % 100 == 0:
            self._check_finite(step)

    def _check_finite(self, step: Step) -> None:
        if torch.stack([*self.loss_sums.values()]).isfinite().all():
            return
        for name, loss_sum in self.loss_sums.items():
            if not torch.isfinite(loss_sum):
                raise TrainingFailed(
                    f"step {step.index}: the {name} loss is {loss_sum.item()}; try a smaller "
                    f"--learning-rate than {self.config.learning_rate:g}. The last checkpoint stays"
                )

    def _look_at_gradients(self, terms: Terms, step: Step) -> None:
        """A term with a weight must move the student: other frameworks shipped one that did not."""
        trained = self._trained_parameters()
        self.gradient_norms = {n: gradient_norm(t, trained) for n, t in terms.losses.items()}
        if step.index < step.num_steps // 4:
            return  # lambda and ramps begin at 0
        for name, norm in self.gradient_norms.items():
            if name == "uncertainty":
                continue  # a hinge may rest, and moves the covariances alone
            if terms.weights[name] and not norm and name not in self._dead_terms:
                self._dead_terms.add(name)
                self.tracker.warn(
                    f"the {name} term has weight {terms.weights[name]:.3g} at step {step.index} "
                    "but gives the student no gradient: it does not train"
                )

    def _finish_epoch(self, step: Step, seconds: float = 0.0, num_steps: int = 0) -> None:
        """Evaluate and log; ``num_steps`` of the epoch were made here and took ``seconds``."""
        self._check_finite(step)
        first = step.epoch * step.steps_per_epoch
        losses = {n: s.item() / (step.index + 1 - first) for n, s in self.loss_sums.items()}
        errors = {f"{name}_error": self.evaluate(b) for name, b in self.evaluations.items()}
        if distributed.is_first():
            self._log(step, losses, errors, seconds, num_steps)
        self.loss_sums, self.gradient_norms = {}, {}  # from here on the epoch is done

    def _log(
        self,
        step: Step,
        losses: Mapping[str, float],
        errors: dict[str, float],
        seconds: float,
        num_steps: int,
    ) -> None:
        metrics: dict[str, float | int] = {"epoch": step.epoch + 1, "step": step.index + 1}
        metrics |= {f"{name}_loss": loss for name, loss in losses.items()}
        metrics["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        metrics["consistency_weight"] = self.objective.regularizer.weight(step)
        if self.objective.isda:
            metrics["lambda"] = self.objective.isda.strength(step.progress)
        metrics |= errors | self._diagnose()
        timing: dict[str, float | int] = {"epoch": step.epoch + 1, "seconds": seconds}
        speed = ""
        if num_steps:
            rate = num_steps * self.config.images_per_step / max(seconds, 1e-9)
            timing["images_per_second"] = rate
            left = (step.num_steps - step.index - 1) * seconds / num_steps
            speed = f"{rate:,.0f} images/s  {f'{duration(left)} left' if left else 'done'}"
        self.tracker.log_epoch(metrics, timing, _line(step, metrics, speed))

    # State: everything that the next step depends on and that no key can recompute.

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "next_step": self.next_step,
            "student": self.student.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss_sums": self.loss_sums,
            "gradient_norms": self.gradient_norms,
            "computed_on": self._place(),
        }

    def _place(self) -> dict[str, str | int]:
        """What bits depend on beside the settings."""
        return {
            "device": self.device.type,
            "precision": self.config.precision,
            "threads": torch.get_num_threads(),
            "processes": distributed.num_processes(),
            "torch": str(torch.__version__),
        }

    def _keep_snapshot(self) -> None:
        """What the next step begins with, as far as its loss depends on it; a resumed run repeats it."""
        if not distributed.is_first():
            return
        folder = self.tracker.folder / "snapshots"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise output_failed(error, folder, 0) from error
        whole = self.state()
        state = {name: whole[name] for name in ("next_step", "student", "objective")}
        checkpoint.write(folder / f"step{self.next_step:07d}.pt", state)

    def save(self) -> None:
        """Write the checkpoint: the first process does, and the others' state is the same."""
        if self.loss_sums:
            self._check_finite(self.step(self.next_step - 1))
        if distributed.is_first():
            checkpoint.save(self.checkpoint_file, self.state())

    def resume(self) -> bool:
        """Take up the newest whole checkpoint, if there is one; says whether there was.

        Raises
        ------
        UsageError
            No checkpoint can be used, or it belongs to another network.
        """
        state, complaints = distributed.from_first(self._read)
        for complaint in complaints:
            self.tracker.warn(complaint)
        if state is None:
            self.tracker.resume_at(0)
            return False
        with self._refusing_other_states():
            self._load(state)
            before = dict(state["computed_on"])
        self.tracker.resume_at(self._num_finished_epochs())
        self._note_another_place(before)
        return True

    def _read(self) -> tuple[dict[str, Any] | None, list[str]]:
        try:
            return checkpoint.load_latest(self.checkpoint_file)
        except checkpoint.CheckpointDamaged as error:
            raise UsageError(f"{error}. Nothing was deleted; --fresh starts over") from error

    def _load(self, state: dict[str, Any]) -> None:
        self.load_networks(state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.next_step = state["next_step"]
        self.loss_sums, self.gradient_norms = (
            {name: value.to(self.device) for name, value in state[key].items()}
            for key in ("loss_sums", "gradient_norms")
        )
        if not 0 <= self.next_step <= self.config.num_steps:
            raise ValueError(f"step {self.next_step} of {self.config.num_steps}")

    def _num_finished_epochs(self) -> int:
        """An epoch with losses in its sums is not over, even where its last step is done."""
        if self.next_step == 0:
            return 0
        return self.step(self.next_step - 1).epoch + (not self.loss_sums)

    def _note_another_place(self, before: dict[str, str | int]) -> None:
        changes = [
            f"{name} was {before[name]} and is {now}"
            for name, now in self._place().items()
            if name in before and before[name] != now
        ]
        if changes:
            self.tracker.say(
                f"note: {', '.join(changes)}: from here on the bits may differ from those of a run "
                "that was never moved"
            )

    def load_networks(self, state: Mapping[str, Any]) -> None:
        """Take student, method and covariances out of a checkpoint's state: enough to evaluate.

        Raises
        ------
        UsageError
            It belongs to another network, or is no state of a run.
        """
        with self._refusing_other_states():
            _load_into(self.student, state["student"], self.checkpoint_file)
            _load_into(self.objective, state["objective"], self.checkpoint_file)

    @contextmanager
    def _refusing_other_states(self) -> Iterator[None]:
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UsageError(
                f"{self.checkpoint_file} does not hold the state of a run ({reason}). "
                "Nothing was deleted; --fresh starts over"
            ) from error

    # Signals: the first asks for a clean stop, the second stops at once.

    def _watch_signals(self) -> Callable[[], None]:
        def remember(number: int, frame: FrameType | None) -> None:
            self._signal = number
            signal.signal(number, signal.SIG_DFL)

        watched = (signal.SIGTERM, signal.SIGINT)
        try:
            before = {number: signal.signal(number, remember) for number in watched}
        except ValueError:  # not the main thread: whoever started it decides
            return lambda: None

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        return restore

    def _stop_if_asked(self) -> None:
        asked = distributed.largest(self._signal or 0)
        if not asked:
            return
        self.save()
        raise Interrupted(
            f"{signal.Signals(asked).name} at step {self.next_step} of "
            f"{self.config.num_steps}: saved; the same command goes on from here",
            asked,
        )


def _load_into(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    expected = module.state_dict()
    missing, unexpected = sorted(expected.keys() - state), sorted(state.keys() - expected)
    reshaped = sorted(k for k in expected.keys() & state if expected[k].shape != state[k].shape)
    problems = [
        f"{what} {', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("shape", reshaped))
        if keys
    ]
    if problems:
        raise UsageError(f"{path} belongs to another network or method: {'; '.join(problems)}")
    module.load_state_dict(state)


def _line(step: Step, metrics: Mapping[str, float | int], speed: str) -> str:
    losses = [
        f"{name.removesuffix('_loss')} {value:.4f}"
        for name, value in metrics.items()
        if name.endswith("_loss")
    ]
    errors = [
        f"{name.removesuffix('_error')} error {value:.2f} %"
        for name, value in metrics.items()
        if name.endswith("_error")
    ]
    extra = [f"weight {metrics['consistency_weight']:.3g}"]
    if "lambda" in metrics:
        extra.append(f"lambda {metrics['lambda']:.3f}")
    width = len(str(step.num_epochs))
    epoch = f"epoch {step.epoch + 1:>{width}}/{step.num_epochs}"
    return "  ".join([epoch, *losses, *extra, *errors, speed]).rstrip()
