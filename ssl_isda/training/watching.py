"""What is watched while a run trains: its losses, its gradients, and signals that ask it to stop."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from ssl_isda.base.errors import Interrupted, OutOfMemory, TrainingFailed
from ssl_isda.base.memory import available_bytes, in_words, is_lack_of_memory
from ssl_isda.base.step import Step
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training.diagnostics import gradient_norm
from ssl_isda.training.objective import Terms


class Watch:
    """Sums an epoch's losses on the device and looks at them where that costs nothing.

    ``told`` says of a step whose loss is not finite how strong ISDA was, and what to try.
    """

    def __init__(self, tracker: Tracker, device: torch.device, told: Callable[[Step], str]) -> None:
        self.tracker, self.device, self.told = tracker, device, told
        self.loss_sums: dict[str, Tensor] = {}
        self.gradient_norms: dict[str, Tensor] = {}
        self._dead_terms: set[str] = set()

    def record(self, losses: Mapping[str, Tensor], step: Step) -> None:
        """Take in the losses of a step.

        Raises
        ------
        TrainingFailed
            As ``check_finite``.
        """
        for name, loss in losses.items():
            if name not in self.loss_sums:
                self.loss_sums[name] = torch.zeros((), device=self.device)
            self.loss_sums[name] += loss
        if self.device.type == "cpu" or step.index % 100 == 0:
            self.check_finite(step)

    def check_finite(self, step: Step) -> None:
        """Wait for the device and look at the sums.

        Raises
        ------
        TrainingFailed
            One is not finite; names the step, the term, and the strength of ISDA.
        """
        sums = [*self.loss_sums.values()]
        if not sums or all(map(math.isfinite, torch.stack(sums).tolist())):
            return
        for name, loss_sum in self.loss_sums.items():
            if not torch.isfinite(loss_sum):
                raise TrainingFailed(
                    f"step {step.index}: the {name} loss is {loss_sum.item()}{self.told(step)}. "
                    "The last checkpoint stays"
                )

    def look_at_gradients(self, terms: Terms, trained: Iterable[nn.Parameter], step: Step) -> None:
        """A term with a weight must move the student: other frameworks shipped one that did not."""
        parameters = list(trained)
        self.gradient_norms = {n: gradient_norm(t, parameters) for n, t in terms.losses.items()}
        if step.index < step.num_steps // 4:
            return  # lambda and ramps begin at 0
        for name, norm in self.gradient_norms.items():
            if not terms.weights[name] or norm or name in self._dead_terms:
                continue
            if terms.resting.get(name):
                continue
            self._dead_terms.add(name)
            self.tracker.warn(
                f"the {name} term has weight {terms.weights[name]:.3g} at step {step.index} "
                "but gives the student no gradient: it does not train"
            )

    def mean_losses(self, step: Step) -> dict[str, float]:
        """Of the epoch that ends with ``step``. Raises as ``check_finite``."""
        self.check_finite(step)
        first = step.epoch * step.steps_per_epoch
        return {name: s.item() / (step.index + 1 - first) for name, s in self.loss_sums.items()}

    def forget(self) -> None:
        """The epoch is done."""
        self.loss_sums, self.gradient_norms = {}, {}


@contextmanager
def telling_what_fits(
    device: torch.device, step: Callable[[], int], images_per_step: int
) -> Iterator[None]:
    """Within the block a lack of memory is told in terms of the settings.

    Raises
    ------
    OutOfMemory
        The memory of the GPU, or of the machine, is too small.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not (isinstance(error, torch.OutOfMemoryError) or is_lack_of_memory(error)):
            raise
        there = f"memory, of which {in_words(available_bytes() or 0)} are free"
        if isinstance(error, torch.OutOfMemoryError):
            total = torch.cuda.get_device_properties(device).total_memory
            there = f"{total / 1e9:.1f} GB of GPU memory"
        raise OutOfMemory(
            f"step {step()}: {images_per_step} images a step do not fit in the {there}; try a smaller "
            "--batch-size and --unlabeled-batch-size, or a smaller --width"
        ) from error


class Signals:
    """Within the block the first SIGTERM or SIGINT is remembered in ``number``, the second ends the
    program. Outside the main thread whoever started it decides, and nothing is remembered."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._remember)
        except ValueError:  # not the main thread
            pass
        return self

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        signal.signal(number, signal.SIG_DFL)

    def end(self, number: int, step: int, num_steps: int) -> NoReturn:
        """End a training whose state of ``step`` is saved.

        Raises
        ------
        Interrupted
            By the signal of this number.
        """
        name = signal.Signals(number).name
        raise Interrupted(
            f"{name} at step {step} of {num_steps}: saved; the same command goes on from here",
            number,
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
