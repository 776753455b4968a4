"""Table 3 of ISDA: what it adds to a training step, counted in operations and measured in time.

Operations are those of the forward pass: torch's own counter on the whole objective with ISDA, less
that without. It counts convolutions and matrix products, an addition and a multiplication as one, as the
paper does; what goes element by element is in neither. Time is that of whole steps, forward, backward and
optimizer, with and without in turns.
"""

from __future__ import annotations

import dataclasses
import itertools
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ssl_isda import plugins
from ssl_isda.assembly.devices import device_named
from ssl_isda.base.errors import UsageError
from ssl_isda.base.precision import Precision, autocast, fastest_precision
from ssl_isda.base.progress import show
from ssl_isda.base.step import Step
from ssl_isda.commands.analyze.options import CostConfig
from ssl_isda.data.batch import Batch
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.models import MODELS
from ssl_isda.models.contract import Network
from ssl_isda.training.method import METHODS, Method
from ssl_isda.training.objective import Objective, Terms

STEP = Step(50_001, 156_000, 390)
"""In the middle of a long training: all terms have their weight."""
NUMBERS_OF_CLASSES = (10, 100)
Shape = Sequence[int]


@dataclass(frozen=True)
class Case:
    """One network in one kind of training."""

    model: str
    width: float
    method: str
    num_classes: int
    isda: bool = False


@dataclass(frozen=True)
class Setup:
    """Where and how it is measured."""

    batch_size: int
    """Labeled images in a step, and as many unlabeled ones where the method has views."""
    rounds: int
    """Steps that are timed, of each kind."""
    device: torch.device
    precision: Precision


@dataclass(frozen=True)
class Cost:
    """What ISDA adds to one network in one kind of training."""

    case: Case
    num_features: int
    plain: float
    """Multiply-adds of the objective without ISDA, for each labeled image, forward."""
    added: float
    """What ISDA adds to them."""
    ratios: tuple[float, ...]
    """Time of a step with ISDA over that of one without, round by round."""

    @property
    def formula(self) -> int:
        """The paper's count for one sample, Sec. 4.3: D^2 for the covariance, C D^2 for the bound."""
        return (1 + self.case.num_classes) * self.num_features**2

    @property
    def time(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of the additional time, in percent."""
        if len(self.ratios) == 1:
            return (100 * (self.ratios[0] - 1),) * 3
        low, middle, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return 100 * (low - 1), 100 * (middle - 1), 100 * (high - 1)


def costs_of(options: CostConfig) -> tuple[list[Cost], str]:
    """Every kind of training of each network, and where it was measured.

    Raises
    ------
    UsageError
        There is no such network or device.
    """
    plugins.load()
    try:
        for model in options.model:
            if "name" in MODELS.config(model).__dataclass_fields__:
                raise ValueError(f"{model} stands for many networks: take networks of the project")
    except ValueError as error:
        raise UsageError(f"--model: {error}") from error
    if options.threads:
        torch.set_num_threads(options.threads)
    device = device_named(options.device)
    precision = fastest_precision(device) if options.precision == "auto" else options.precision
    setup = Setup(options.batch_size, options.rounds, device, precision)
    costs = []
    for cell in itertools.product(options.model, options.methods, NUMBERS_OF_CLASSES):
        model, method, num_classes = cell
        case = Case(model, options.width, method, num_classes)
        show(f"{case.model}, width {case.width:g}, {method}, {num_classes} classes ...")
        costs.append(measure(case, setup))
    place = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    threads = f"{torch.get_num_threads()} threads"
    return costs, f"{place}, {threads}, {precision}, torch {torch.__version__}"


def measure(case: Case, setup: Setup) -> Cost:
    """Count and time one case with and without ISDA, on images of noise."""
    cases = [dataclasses.replace(case, isda=isda) for isda in (False, True)]
    steps = [_Steps(each, setup) for each in cases]
    plain, with_isda = (each.multiply_adds() / setup.batch_size for each in steps)
    ratios = tuple(_ratios(steps[0], steps[1], setup.rounds))
    return Cost(case, steps[0].student.head.weight.shape[1], plain, with_isda - plain, ratios)


class _Steps:
    """The same step, again and again."""

    def __init__(self, case: Case, setup: Setup) -> None:
        torch.manual_seed(0)
        self.setup = setup
        student, objective = network_and_objective(case, setup.batch_size)
        student.to(setup.device).to(memory_format=torch.channels_last)
        self.student, self.objective = student.train(), objective.to(setup.device).train()
        self.batch = _noise(case.num_classes, objective.method, setup)
        self._spread_predictions()
        rate = 1e-4  # noise teaches nothing: stay where numbers are ordinary
        self.optimizer = torch.optim.SGD(student.parameters(), rate, 0.9, nesterov=True)

    @torch.no_grad()
    def _spread_predictions(self) -> None:
        """A new network sees one class everywhere; Prop. 2 works on every class that it sees."""
        images = self.batch.views[0] if self.batch.views else self.batch.images
        head, (_, features) = self.student.head, self.student(images)
        assert head.bias is not None
        head.bias.copy_(-(features.float() @ head.weight.T).mean(0))

    def multiply_adds(self) -> int:
        """Of one forward pass of the objective."""
        from torch.utils.flop_counter import FlopCounterMode  # whose Triton takes half a second

        with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
            self._loss()
        return int(counter.get_total_flops()) // 2

    def seconds(self) -> float:
        """Of one whole step: on one CPU thread the processor's, which other programs disturb least."""
        alone = self.setup.device.type == "cpu" and torch.get_num_threads() == 1
        clock = time.process_time if alone else time.perf_counter
        self._wait()
        began = clock()
        self.optimizer.zero_grad(set_to_none=True)
        self._loss().backward()
        self.optimizer.step()
        self.objective.method.after_step(self.student, STEP)
        self._wait()
        return clock() - began

    def _loss(self) -> torch.Tensor:
        with autocast(self.setup.device, self.setup.precision):
            terms: Terms = self.objective(self.student, self.batch, STEP)
            return terms.total

    def _wait(self) -> None:
        if self.setup.device.type == "cuda":
            torch.cuda.synchronize(self.setup.device)


def _ratios(plain: _Steps, isda: _Steps, rounds: int) -> Iterator[float]:
    """Side by side, the first one in turns, so that what slows the machine slows both."""
    plain.seconds(), isda.seconds()
    for number in range(rounds):
        if number % 2:
            with_isda, without = isda.seconds(), plain.seconds()
        else:
            without, with_isda = plain.seconds(), isda.seconds()
        yield with_isda / without


def _noise(num_classes: int, method: Method, setup: Setup) -> Batch:
    """Images of CIFAR's size, labels in turn."""
    n, first = setup.batch_size, 1 + len(method.views)
    images = torch.randn(first + len(method.labeled_views), n, 3, 32, 32).to(setup.device)
    labeled, *views = (one.contiguous(memory_format=torch.channels_last) for one in images)
    labels = torch.arange(n, device=setup.device)
    own, of_labeled = tuple(views[: first - 1]), tuple(views[first - 1 :])
    return Batch(labeled, labels % num_classes, own, labels, of_labeled)


def _product(out: Shape, a: Shape, b: Shape, *rest: object, **options: object) -> int:
    """Operations of ``out += a @ b``, for matrices and for batches of them."""
    *batch, rows, inner = a
    count = 2 * rows * inner * b[-1]
    return count * batch[0] if batch else count


def _outer(out: Shape, a: Shape, b: Shape, *rest: object, **options: object) -> int:
    """Operations of ``out += a b^T``."""
    return 2 * a[0] * b[0]


IN_PLACE = {
    torch.ops.aten.addmm_: _product,
    torch.ops.aten.baddbmm_: _product,
    torch.ops.aten.addr_: _outer,
}
"""What torch's counter passes over: the covariances are updated in place."""


def network_and_objective(case: Case, num_images: int) -> tuple[Network, Objective]:
    """As a run has them, on the CPU, with the method's default options."""
    plugins.load()
    config = MODELS.config(case.model)()
    if hasattr(config, "width"):
        config = dataclasses.replace(config, width=case.width)
    student = MODELS[case.model](config, num_classes=case.num_classes, shape=(3, 32, 32))
    method = METHODS[case.method](
        METHODS.config(case.method)(),
        student=student,
        num_images=num_images,
        num_classes=case.num_classes,
    )
    isda = IsdaConfig() if case.isda else None
    return student, Objective(method, isda, case.num_classes, student.head.weight.shape[1])
