"""Golden loss traces: a refactor leaves them as they are; whoever changes them says so in CHANGELOG.md.

Recorded in float64, so that rounding between processors does not matter. This records the cells that
the file lacks; an entry that is deleted from it first is recorded anew:

    python -m tests.test_golden
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch

from ssl_isda.base.randomness import generator, global_draws
from ssl_isda.base.step import Step
from ssl_isda.data.augmentations.weak import Weak
from ssl_isda.data.batch import Batch
from ssl_isda.data.batches import TwoStreamBatches
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import InMemory
from ssl_isda.data.splits import Split
from ssl_isda.data.views import AUGMENTATIONS, Augmentation
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.models import CNN13
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training.method import METHODS
from ssl_isda.training.objective import Objective
from ssl_isda.training.trainer import Trainer, TrainerConfig
from tests.methods import tiny

for each in ("methods", "data.augmentations"):
    importlib.import_module(f"ssl_isda.{each}")
FILE = Path(__file__).with_name("golden.json")
FORMS = {
    "learned": {"covariance": "learned", "uncertainty_weight": 0.1},
    "explicit": {"augmentation": "explicit", "augmentation_samples": 3},
    "constant": {"lambda_schedule": "constant", "lambda_0": 0.25, "eta_1": 2.0},
    **{form: {"covariance": form} for form in ("diagonal", "shared", "identity")},
    **{form: {"consistency": form} for form in ("centered_bound", "second_order")},
}
"""The settings of ISDA that the paper compares with its own, by the word behind a cell's name."""
CELLS = [f"{name}{isda}" for name in sorted(METHODS) for isda in ("", "+isda")]
CELLS += [f"{name}+isda {form}" for name in ("pi_model", "supervised") for form in FORMS]
NUM_STEPS = 9


class DoubleBatches(TwoStreamBatches):
    """The product's batches, in float64."""

    def batch(self, step: Step) -> Batch:
        b = super().batch(step)
        views, labeled_views = (tuple(v.double() for v in s) for s in (b.views, b.labeled_views))
        return Batch(b.images.double(), b.labels, views, b.indices, labeled_views)


def named(name: str) -> Augmentation:
    config = AUGMENTATIONS.config(name)()
    return AUGMENTATIONS[name](config, flip=True, max_translation=2)


def trace(cell: str, folder: Path) -> list[dict[str, float]]:
    """The losses of nine steps (three epochs) of the real training loop, term by term."""
    cell, _, form = cell.partition(" ")
    name, isda, _ = cell.partition("+isda")
    images = torch.randint(
        0, 256, (24, 3, 16, 16), dtype=torch.uint8, generator=generator(0, 0, "golden images")
    )
    labels = torch.arange(24) % 4
    prepared = PreparedImages(
        InMemory(images), torch.full((3, 1, 1), 1 / 64), torch.full((3, 1, 1), -2.0)
    )
    with global_draws(0, 0, "golden weights", torch.device("cpu")):
        student = CNN13(4, width=0.05).double()
    # At VAT's own 1e-6 the finite difference would magnify the rounding of another processor.
    options = {"xi": 1e-3} if name == "vat" else tiny.LIVELY.get(name, {})
    config = importlib.import_module(f"ssl_isda.methods.{name}").Config(**options)
    method = METHODS[name](config, student=student, num_images=24, num_classes=4)
    settings = IsdaConfig(**FORMS.get(form, {})) if isda else None
    objective = Objective(method, settings, 4, student.head.in_features).double()
    data = DoubleBatches(
        prepared,
        labels,
        Split("golden", "none", 0, tuple(range(8))),
        labeled_batch_size=4,
        unlabeled_batch_size=8,
        seed=0,
        augmentation=Weak(flip=True),
        views=method.views,
        labeled_views=method.labeled_views,
        named={name: named(name) for name in ("weak", "strong")},
    )
    schedule = TrainerConfig(NUM_STEPS, data.steps_per_epoch, 12, learning_rate=0.02)
    trainer = Trainer(student, objective, data, {}, schedule, Tracker(folder, quiet=True))
    every = []
    for t in range(NUM_STEPS):
        terms = trainer.train_step(trainer.step(t))
        every.append({name: loss.item() for name, loss in terms.losses.items()})
    return every


@pytest.mark.parametrize("cell", CELLS)
def test_losses_are_what_they_were(cell: str, tmp_path: Path) -> None:
    expected = json.loads(FILE.read_text())[cell]
    got = trace(cell, tmp_path)
    assert [losses.keys() for losses in got] == [losses.keys() for losses in expected]
    near = 1e-7 if cell.startswith("vat") else 1e-12  # VAT divides a rounded difference by xi
    for t, (losses, recorded) in enumerate(zip(got, expected, strict=True)):
        assert losses == pytest.approx(recorded, rel=near, abs=1e-12), f"step {t}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    traces = json.loads(FILE.read_text())
    traces |= {cell: trace(cell, Path("/nonexistent")) for cell in CELLS if cell not in traces}
    FILE.write_text(json.dumps(traces, indent=1) + "\n")
