"""Pixels as rows: the loss, the covariances and the scores of a segmentation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_isda.base.step import Step
from ssl_isda.base.void import VOID
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.propositions import isda_cross_entropy
from ssl_isda.isda.terms import IsdaTerms
from ssl_isda.losses.label_smoothing import LabelSmoothing
from ssl_isda.models.contract import Prediction
from ssl_isda.tasks.contract import Rows, Tally
from ssl_isda.tasks.segmentation import Config, Segmentation, cells_of, masks_of_cells
from ssl_isda.tasks.sliding import Passes
from tests.pixels_of_several_processes import build

C, A, STRENGTH = 4, 5, 0.75


def example(
    size: tuple[int, int] = (6, 7), pixels: tuple[int, int] = (6, 7), seed: int = 0
) -> tuple[nn.Conv2d, Tensor, Tensor]:
    """A head, features (2, A, *size) and masks (2, *pixels) with pixels without a class, in float64."""
    torch.manual_seed(seed)
    head = nn.Conv2d(A, C, 1).double()
    features = torch.randn(2, A, *size, dtype=torch.float64, requires_grad=True)
    masks = torch.randint(0, C, (2, *pixels))
    masks[0, :2], masks[1, 3, 3] = VOID, VOID
    return head, features, masks


def terms_of(head: nn.Conv2d, covariance: ClassCovariance) -> IsdaTerms:
    config = IsdaConfig(lambda_0=STRENGTH, lambda_schedule="constant", covariance="diagonal")
    return IsdaTerms(config, covariance, head, Step(0, 10, 2))


def loss_of(head: nn.Conv2d, features: Tensor, masks: Tensor) -> tuple[Tensor, ClassCovariance]:
    """As the objective makes it: the covariances take the rows in, the loss is of what is judged."""
    task, covariance = Segmentation(), ClassCovariance(C, A, "diagonal").double()
    prediction = Prediction(head(features), features)
    rows = task.rows(prediction, masks)
    covariance.update(rows.features.detach(), rows.labels)
    judged = task.judged(prediction, masks, terms_of(head, covariance).augmented)
    return F.cross_entropy(judged.logits, judged.labels), covariance


def test_loss_and_covariance_of_pixels_are_those_of_rows_and_of_a_double_loop() -> None:
    head, features, masks = example()
    loss, covariance = loss_of(head, features, masks)
    labels, rows = masks.flatten(), cells_of(features).detach()
    known = labels != VOID
    flat = ClassCovariance(C, A, "diagonal").double()
    flat.update(rows[known], labels[known])
    weight, logits = head.weight, cells_of(head(features))
    by_rows = isda_cross_entropy(logits[known], labels[known], weight, flat, STRENGTH)
    torch.testing.assert_close(loss, by_rows, rtol=1e-13, atol=0)
    total = 0.0
    for row, label in zip(logits[known].detach(), labels[known].tolist(), strict=True):
        mine = rows[labels == label]
        variance = (mine - mine.mean(0)).square().mean(0)
        torch.testing.assert_close(covariance.matrix(label).diagonal(), variance)
        w = weight.detach().flatten(1)
        exponents = [
            float(row[j] + STRENGTH / 2 * sum((w[j] - w[label]) ** 2 * variance)) for j in range(C)
        ]
        total += float(torch.tensor(exponents, dtype=torch.float64).logsumexp(0) - row[label])
    assert float(loss.detach()) == pytest.approx(total / int(known.sum()), rel=1e-12)


def test_pixels_without_a_class_change_nothing_to_the_bit() -> None:
    found = []
    for junk in (0.0, 1e3):
        head, features, masks = example()
        with torch.no_grad():
            features[(masks == VOID)[:, None].expand_as(features)] = junk
        loss, covariance = loss_of(head, features, masks)
        found.append(
            (loss, *torch.autograd.grad(loss, [head.weight, head.bias]), *covariance.buffers())
        )
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_augmentation_at_the_cells_and_loss_at_the_pixels_are_the_official_ones() -> None:
    """Against the official formulation, with its tensors of cells x classes x features."""
    head, features, masks = example((4, 5), (13, 17))
    loss, covariance = loss_of(head, features, masks)
    small = F.interpolate(masks[:, None].double(), (4, 5), mode="nearest")[:, 0].long()
    assert torch.equal(masks_of_cells(masks, (4, 5)), small)
    known = small.flatten() != VOID
    labels = small.flatten().where(known, 0)
    n, w = len(labels), head.weight.flatten(1)
    difference = w.expand(n, C, A) - w[labels][:, None]
    variances = torch.stack([covariance.matrix(c).diagonal() for c in range(C)])
    shift = STRENGTH * (difference.square() * variances[labels][:, None]).sum(2) * known[:, None]
    augmented = head(features) + 0.5 * shift.view(2, 4, 5, C).permute(0, 3, 1, 2)
    up = F.interpolate(augmented, (13, 17), mode="bilinear", align_corners=True)
    torch.testing.assert_close(loss, F.cross_entropy(up, masks, ignore_index=VOID))


@pytest.mark.parametrize("pixels", [(6, 7), (13, 17)])
def test_what_isda_added_goes_up_to_the_pixels_with_the_logits(pixels: tuple[int, int]) -> None:
    head, features, masks = example(pixels=pixels)
    task, covariance = Segmentation(), ClassCovariance(C, A, "diagonal").double()
    prediction = Prediction(head(features), features)
    rows = task.rows(prediction, masks)
    covariance.update(rows.features.detach(), rows.labels)
    judged = task.judged(prediction, masks, terms_of(head, covariance).augmented)
    plain = task.judged(prediction, masks)
    assert plain.added is None and judged.added is not None
    torch.testing.assert_close(judged.added, (judged.logits - plain.logits).mean(1))
    if pixels == (6, 7):
        loss = LabelSmoothing(num_classes=C)(judged, head, Step(0, 10, 2))
        shared = (rows.logits, rows.labels, head.weight, covariance, STRENGTH)
        torch.testing.assert_close(loss, isda_cross_entropy(*shared, label_smoothing=0.1))


class Largest(TorchDispatchMode):
    """The number of entries of the largest tensor that is made."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(each, Tensor):
                self.entries = max(self.entries, each.numel())
        return found


def test_no_tensor_of_pixels_x_classes_x_features_is_made() -> None:
    n, c, a = 2 * 30 * 30, 19, 64
    head, task = nn.Conv2d(a, c, 1), Segmentation()
    features, masks = torch.randn(2, a, 30, 30), torch.randint(0, c, (2, 30, 30))
    covariance = ClassCovariance(c, a, "diagonal")
    with Largest() as made:
        prediction = Prediction(head(features), features)
        rows = task.rows(prediction, masks)
        covariance.update(rows.features, rows.labels)
        judged = task.judged(prediction, masks, terms_of(head, covariance).augmented)
        F.cross_entropy(judged.logits, judged.labels).backward()
    assert made.entries == n * a


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_iou_is_torchmetrics(seed: int) -> None:
    """The last class occurs nowhere in the second case."""
    classification = pytest.importorskip("torchmetrics").classification
    torch.manual_seed(seed)
    masks, predicted = torch.randint(0, C - (seed == 1), (2, 3, 9, 9))
    masks[:, 0] = VOID
    task, tally = Segmentation(), Tally(C, torch.device("cpu"))
    logits = F.one_hot(predicted, C).movedim(-1, 1).float()
    tally.add(task.judged(Prediction(logits, logits), masks))
    options = {"num_classes": C, "ignore_index": VOID}
    jaccard = classification.MulticlassJaccardIndex(**options)
    accuracy = classification.MulticlassAccuracy(**options, average="micro")
    scores = task.scores(tally.confusion())
    assert scores["mean_iou"] == pytest.approx(100 * float(jaccard(predicted, masks)), rel=1e-6)
    assert scores["pixel_accuracy"] == pytest.approx(
        100 * float(accuracy(predicted, masks)), rel=1e-6
    )


@pytest.mark.parametrize(
    "options", [{"window": 8}, {"window": 32}, {"flip": True}, {"window": 7, "flip": True}]
)
def test_windows_and_mirrored_passes_agree_with_a_whole_one(options: dict[str, object]) -> None:
    """For a network that looks at single pixels, and one that is wrong on padding."""
    network = Pointwise()
    images = torch.randn(2, 3, 13, 19, generator=torch.Generator().manual_seed(0))
    whole = Passes()(network, images).logits
    found = Passes(**options)(network, images).logits  # type: ignore[arg-type]
    torch.testing.assert_close(found, whole)


def test_scales_are_brought_back_before_they_are_averaged() -> None:
    network = Pointwise()
    images = torch.linspace(0, 1, 24).expand(1, 3, 16, 24)  # bilinear both ways keeps a ramp
    found = Passes(scales=(0.75, 1.0, 1.5))(network, images).logits
    torch.testing.assert_close(found, network(images)[0], atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="positive factors"):
        Segmentation(Config(evaluation_scales=(0.0,)))


class Pointwise(nn.Module):
    def forward(self, images: Tensor) -> Prediction:
        torch.manual_seed(0)
        return Prediction(F.conv2d(images, torch.randn(C, 3, 1, 1)), images)


def test_unlabeled_cells_are_rows_all_of_them() -> None:
    head, features, _ = example()
    rows: Rows = Segmentation().rows(Prediction(head(features), features), None)
    assert rows.logits.shape == (84, C) and rows.features.shape == (84, A) and rows.targets is None


@pytest.mark.parametrize("isda", ["plain", "diagonal", "matched"])
def test_a_batch_whose_pixels_have_no_class_moves_nothing(isda: str, tmp_path: Path) -> None:
    kind = "pixels" if isda == "matched" else "auxiliary"
    trainer = build("supervised", isda, kind, tmp_path, num_steps=8)
    batch = trainer.data.batch(trainer.step(0))
    nothing = replace(batch, labels=torch.full_like(batch.labels, VOID))
    terms = trainer.objective(trainer.student, nothing, trainer.step(0))
    assert all(loss.item() == 0 and terms.resting[name] for name, loss in terms.losses.items())
    terms.total.backward()
    gradients = [each.grad for each in trainer.parameters]
    assert all(each is not None and not each.any() for each in gradients)
