"""What holds for every task; and a dense one, to prove that the seam is where a task differs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.class_scores import balanced_error, macro_f1
from ssl_isda.base.step import Step
from ssl_isda.data.batch import Batch
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.models.contract import Network, Prediction
from ssl_isda.tasks import TASKS
from ssl_isda.tasks.contract import Calibration, Metric, Rows, Tally
from ssl_isda.training.method import Method
from ssl_isda.training.objective import Objective

C, A, VOID = 3, 4, 255


class Dense(Network):
    """A class for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(2, A, 3, padding=1), nn.Conv2d(A, C, 1)

    def features(self, images: Tensor) -> Tensor:
        return self.body(images).tanh()


class Pixels:
    """Every pixel but the void ones is a row."""

    headline = Metric("mean_iou", "%", lower_is_better=False)
    is_dense = True

    def judged(self, prediction, targets, augmented=None) -> Rows:
        rows = self.rows(prediction, targets)
        return augmented(rows) if augmented else rows

    def rows(self, prediction: Prediction, targets: Tensor | None) -> Rows:
        logits, features = (x.movedim(1, -1).flatten(0, 2) for x in prediction)
        if targets is None:
            return Rows(logits, features, None)
        known = targets.flatten() != VOID
        return Rows(logits[known], features[known], targets.flatten()[known])

    def scores(self, confusion: Tensor) -> dict[str, float]:
        both = confusion.diagonal()
        iou = both / (confusion.sum(0) + confusion.sum(1) - both)
        return {"mean_iou": 100 * iou.mean().item()}


def test_a_dense_task_trains_by_the_same_objective() -> None:
    """Without strength its loss is PyTorch's; with it each class's covariance is that of its pixels."""
    torch.manual_seed(0)
    network, images = Dense().double(), torch.randn(2, 2, 5, 6, dtype=torch.float64)
    masks = torch.randint(0, C, (2, 5, 6))
    masks[0, :2] = VOID
    step, found = Step(5, 10, 2), {}
    for strength in (0.0, 2.0):
        isda = IsdaConfig(lambda_0=strength, covariance="diagonal")
        method = Method()
        method.views = ()
        objective = Objective(method, isda, C, A, task=Pixels()).double()
        terms = objective(network, Batch(images, masks, (), torch.arange(2)), step)
        found[strength] = terms.total
        assert all(g.norm() > 0 for g in torch.autograd.grad(terms.total, network.parameters()))
    logits, features = network(images)
    expected = F.cross_entropy(logits, masks, ignore_index=VOID)
    torch.testing.assert_close(found[0.0], expected, rtol=1e-14, atol=0)
    assert found[2.0] > found[0.0] + 1e-3
    for c in range(C):
        own = features.movedim(1, -1)[masks == c]
        torch.testing.assert_close(
            objective.covariance.matrix(c).diagonal(), own.var(0, correction=0)
        )


def test_the_unlabeled_pixels_of_a_dense_task_are_rows_too() -> None:
    torch.manual_seed(0)
    network, views = Dense(), (torch.randn(2, 2, 5, 6),)
    objective = Objective(Constant(), IsdaConfig(covariance="diagonal"), C, A, task=Pixels())
    batch = Batch(torch.randn(2, 2, 5, 6), torch.zeros(2, 5, 6).long(), views, torch.arange(2))
    terms = objective(network, batch, Step(5, 10, 2))
    assert terms.losses["semantic"] > 0 and terms.losses["consistency"] == 60


class Constant(Method):
    """Counts the pixels that it is given."""

    def forward(self, student, batch, views, step) -> Tensor:
        return torch.tensor(float(views[0].logits[:, 0].numel()))


def test_scores_come_from_one_confusion_matrix() -> None:
    confusion = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 1, 1]])
    classification = TASKS["classification"](TASKS.config("classification")())
    assert classification.scores(confusion) == pytest.approx({"error": 40.0})
    expected = 100 * (1 / 2 + 1 / 3 + 1 / 2) / 3
    assert Pixels().scores(confusion) == pytest.approx({"mean_iou": expected})
    tally = Tally(3, torch.device("cpu"))
    for classes, labels in (([0, 1, 1], [0, 0, 1]), ([2, 1], [2, 2])):
        logits = F.one_hot(torch.tensor(classes), 3).float()
        tally.add(Rows(logits, logits, torch.tensor(labels)))
    assert torch.equal(tally.confusion(), confusion)


def test_the_top_5_error_of_many_classes_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import top_k_accuracy_score

    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 100, generator=rng, dtype=torch.float64)
    labels = (logits + torch.randn(400, 100, generator=rng, dtype=torch.float64)).argmax(1)
    tally = Tally(100, torch.device("cpu"), of_images=True)
    for rows, targets in zip(logits.split(150), labels.split(150), strict=True):
        tally.add(Rows(rows, rows, targets))
    right = top_k_accuracy_score(labels, logits, k=5, labels=range(100))
    assert 0.2 < right < 0.8
    assert tally.of_guesses(tally.confusion()) == pytest.approx({"top5_error": 100 - 100 * right})
    for few in (Tally(99, tally.missed.device, of_images=True), Tally(100, tally.missed.device)):
        assert few.of_guesses(tally.confusion()) == {}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_gives_its_headline_and_what_a_result_can_hold(name: str) -> None:
    task = TASKS[name](TASKS.config(name)())
    confusion = torch.eye(2, dtype=torch.int64)
    assert task.headline.name in task.scores(confusion)
    json.dumps(task.final_scores(confusion, calibration_of([[3.0, 1.0]], [0]), ["a", "b"]))


def calibration_of(logits: list[list[float]], labels: list[int]) -> Calibration:
    """Taken in as batches of two."""
    calibration = Calibration(torch.device("cpu"))
    batches = zip(torch.tensor(logits).split(2), torch.tensor(labels).split(2), strict=True)
    for rows, targets in batches:
        calibration.add(Rows(rows, rows, targets))
    return calibration


def test_scores_that_count_classes_alike_are_those_of_scikit_learn() -> None:
    """The last class has no image and no score of its own, although it is predicted."""
    from sklearn.metrics import confusion_matrix, f1_score, recall_score

    labels, predicted = np.random.default_rng(0).integers(0, [[3], [4]], (2, 200))
    confusion = torch.from_numpy(confusion_matrix(labels, predicted))
    classification = TASKS["classification"](TASKS.config("classification")())
    found = classification.final_scores(confusion, calibration_of([[3.0, 1.0]], [0]), "abcd")
    f1 = f1_score(labels, predicted, average=None)
    recall = recall_score(labels, predicted, average=None, zero_division=0)
    assert found["class_errors"].pop("d") is None
    assert [*found["class_errors"].values()] == pytest.approx([*100 - 100 * recall[:3]])
    assert found["balanced_error"] == pytest.approx(100 - 100 * recall[:3].mean())
    assert found["macro_f1"] == pytest.approx(100 * f1[:3].mean())
    assert balanced_error([[0, 0], [0, 0]]) is macro_f1([[0, 0], [0, 0]]) is None


def test_the_calibration_error_is_that_of_its_definition() -> None:
    logits = torch.randn(301, 5, generator=torch.Generator().manual_seed(0)) * 2
    labels = torch.arange(301) % 5
    logits[0] = torch.tensor([9e9, 0, 0, 0, 0])  # confidence 1 belongs to the last bin,
    logits[5] = 0  # 3 / 15 to the third one, and a little more to the fourth
    logits[6] = torch.tensor([0.1, 0, 0, 0, 0])
    confidence, predicted = logits.double().softmax(1).max(1)
    expected = 0.0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if inside.any():
            gap = (predicted == labels)[inside].double().mean() - confidence[inside].mean()
            expected += float(inside.double().mean() * gap.abs())
    found = calibration_of(logits.tolist(), labels.tolist()).error()
    assert found == pytest.approx(100 * expected) and found > 10
