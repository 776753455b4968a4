"""Passes in evaluation mode: how good the network is that is tested, and the student beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ssl_isda.base.precision import Precision, autocast
from ssl_isda.models.contract import Network, Prediction
from ssl_isda.parallel import distributed
from ssl_isda.tasks.contract import Calibration, Rows, Tally
from ssl_isda.training.compilation import begin_passes
from ssl_isda.training.diagnostics import PseudoLabels
from ssl_isda.training.objective import Objective

LabeledBatches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Images and their labels, from the first batch on whenever it is called."""


class Final(NamedTuple):
    """How good a network is at the end of a run."""

    confusion: Tensor
    """(c, c) int64: true classes in rows, predicted ones in columns."""
    scores: dict[str, Any]
    """The task's final scores, by name."""


class Evaluation:
    """Of one run.

    Parameters
    ----------
    compiled : whether the networks are: what they give then holds for the evaluated batch
    before_pass : called before each pass on one process; may raise to stop the evaluation
    """

    def __init__(
        self,
        student: Network,
        objective: Objective,
        *,
        precision: Precision,
        compiled: bool,
        before_pass: Callable[[], None],
    ) -> None:
        self.student, self.objective = student, objective
        self.precision, self.compiled, self.before_pass = precision, compiled, before_pass
        self.device = next(student.parameters()).device

    @torch.no_grad()
    def predictions(self, batches: LabeledBatches) -> Iterator[tuple[Prediction, Tensor]]:
        """Of the network that the method names, with the labels, batch by batch."""
        network = self.objective.evaluated(self.student).eval()
        for images, labels in batches():
            begin_passes(self.compiled)
            yield self._pass(network, images), labels

    def final(self, batches: LabeledBatches, class_names: Sequence[str]) -> Final:
        """What a finished run tells of a set, from one pass; the processes share the work."""
        tally = Tally(self.student.head.weight.shape[0], self.device)
        calibration = Calibration(self.device)
        for prediction, labels in self.predictions(lambda: distributed.dealt(batches())):
            rows = self.objective.task.judged(prediction, labels)
            tally.add(rows)
            calibration.add(rows)
        confusion = tally.confusion()
        return Final(
            confusion, self.objective.task.final_scores(confusion, calibration, class_names)
        )

    def scores(self, batches: LabeledBatches) -> dict[str, float]:
        """The task's, by name; and how often images of many classes are not among a few guesses."""
        of_images = not self.objective.task.is_dense
        tally = Tally(self.student.head.weight.shape[0], self.device, of_images=of_images)
        for prediction, labels in self.predictions(lambda: distributed.dealt(batches())):
            tally.add(self.objective.task.judged(prediction, labels))
        confusion = tally.confusion()
        return {**self.objective.task.scores(confusion), **tally.of_guesses(confusion)}

    @torch.no_grad()
    def pseudo_labels(self, batches: LabeledBatches) -> dict[str, float]:
        """Of the student on unlabeled images, as ``PseudoLabels.percentages``; -1 is no label."""
        student = self.student.eval()
        evaluated = self.objective.evaluated(student).eval()
        counts = PseudoLabels()
        for images, labels in batches():
            begin_passes(self.compiled)
            other = None if evaluated is student else self._rows(evaluated, images, labels).logits
            rows = self._rows(student, images, labels)
            counts.add(rows.logits, other, rows.labels)
        return counts.percentages()

    def _rows(self, network: nn.Module, images: Tensor, labels: Tensor) -> Rows:
        return self.objective.task.judged(self._pass(network, images), labels)

    def _pass(self, network: nn.Module, images: Tensor) -> Prediction:
        if distributed.num_processes() == 1:  # several only agree between steps
            self.before_pass()
        with autocast(self.device, self.precision):
            return self.objective.task.predicted(network, images)
