"""The Python interface gives what the command gives."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

import ssl_isda
from ssl_isda.data.arrays import image_data
from ssl_isda.datasets.digits import digits
from tests.commands import CELL, SUPERVISED, ends_like, train

SETTINGS: dict[str, Any] = {
    "dataset": "digits",
    "method": "supervised",
    "model": "mlp",
    "hidden": 16,
    "features": 16,
    "threads": 1,
    "wandb": "disabled",
    "unlabeled_batch_size": 600,
    "steps": 6,
    "quiet": True,
}
IMAGES, TARGETS = digits(None, Path()).test.images, digits(None, Path()).test.labels
PIXELS, LABELS = IMAGES.numpy(), TARGETS.numpy()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ssl_isda.Run:
    """Trained in a thread."""
    folder, runs = tmp_path_factory.mktemp("api"), []
    settings = {**SETTINGS, "runs_dir": folder}
    thread = threading.Thread(target=lambda: runs.append(ssl_isda.train(**settings)))
    thread.start()
    thread.join()
    return runs[0]


@pytest.mark.slow
def test_it_leaves_the_bytes_of_the_command_which_takes_its_run_for_done(
    run: ssl_isda.Run, tmp_path: Path
) -> None:
    train(*SUPERVISED, cwd=tmp_path)
    assert ends_like(run.path, tmp_path / CELL)
    said = train(*SUPERVISED, "--runs-dir", str(run.path.parents[2]), cwd=tmp_path)
    assert said.startswith(f"{run.path}: test error {run.error:.2f} %") and said.count("\n") == 1


def test_a_silent_run_prints_nothing(run: ssl_isda.Run, capsys: pytest.CaptureFixture[str]) -> None:
    again = {**SETTINGS, "runs_dir": run.path.parents[2]}
    assert ssl_isda.train(**again) == run and capsys.readouterr() == ("", "")
    ssl_isda.train(**{**again, "quiet": False})
    assert "test error" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"method": "vat", "labls": 20}, "did you mean '--labels'"),
        ({"method": "vta"}, "did you mean 'vat'"),
        ({"method": "vat", "labels": 7}, "7 labels: "),
        ({"method": "vat", "isda": "yes"}, "--isda stands alone"),
        ({"method": "vat", "seeds": (0, 1)}, "call it once for each"),
        ({"method": "vat", "test_data": (PIXELS, LABELS)}, "test_data goes with data"),
        ({"method": "vat", "data": "images.npy"}, "got str"),
        ({"method": "vat", "data": (PIXELS, LABELS), "data_dir": "x"}, "leave one of them out"),
        ({"method": "vat", "print_config": True}, "a flag of the command line"),
    ],
)
def test_errors_are_the_commands_lines(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ssl_isda.UsageError, match=text) as caught:
        ssl_isda.train(**{"dataset": "digits", **settings})
    assert "\n" not in str(caught.value)


def test_every_form_of_the_same_images_has_the_same_prediction(
    run: ssl_isda.Run, tmp_path: Path
) -> None:
    model = ssl_isda.load(run.path)
    found = model.predict(PIXELS)
    error = 100 * np.mean(found.labels != LABELS)
    assert error == pytest.approx(run.result["last_epoch_error"])
    assert found.names == [str(label) for label in found.labels]
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-5)
    assert found.features.shape == (450, model.network.head.in_features)
    forms = [
        *(PIXELS[:, 0], PIXELS[:, 0, :, :, None], IMAGES),
        *(model.prepare(IMAGES), PIXELS.repeat(3, axis=1)),
    ]
    for form in forms:
        assert np.array_equal(model.predict(form, batch_size=100).labels, found.labels)
    paths = [tmp_path / f"{number}.png" for number in range(20)]
    for path, pixels in zip(paths, PIXELS, strict=False):
        Image.fromarray(pixels[0]).save(path)
    from_files = model.predict(paths)
    np.testing.assert_allclose(from_files.probabilities, found.probabilities[:20], atol=0.02)
    larger = PIXELS.repeat(2, axis=2).repeat(2, axis=3)
    assert np.mean(model.predict(larger).labels == found.labels) > 0.7


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (PIXELS.astype(np.int64), "uint8 or floating-point, got int64"),
        (PIXELS[0, 0], r"got \(16, 16\)"),
        (np.zeros((2, 1, 8, 8)), r"of shape \(1, 16, 16\) each"),
        ("nowhere.png", "nowhere.png is not there"),
    ],
)
def test_what_cannot_be_predicted_is_said(run: ssl_isda.Run, images: Any, text: str) -> None:
    with pytest.raises(ssl_isda.UsageError, match=text):
        ssl_isda.load(run.path).predict(images)


def test_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(ssl_isda.UsageError, match="no such run"):
        ssl_isda.load(tmp_path / "nowhere")


class Pairs(Dataset[Any]):
    """A torch Dataset as torchvision makes them, images as floats."""

    classes = ("zero", "one", "two")

    def __init__(self, labels: list[Any]) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, Any]:
        return torch.full((1, 4, 4), position / 255), self.labels[position]


def test_arrays_and_a_dataset_become_image_data() -> None:
    labels = [0, 1, 2, -1] * 10
    pixels = np.arange(40, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    made = [
        image_data("mine", (pixels, np.array(labels))),
        image_data("mine", (torch.tensor(pixels), [None if k < 0 else f"{k}" for k in labels])),
        image_data("mine", Pairs(labels)),
    ]
    assert len({data.train.fingerprint for data in made}) == 1
    assert made[0].class_names == ("0", "1", "2") and made[2].class_names == Pairs.classes
    assert torch.bincount(made[0].test.labels).tolist() == [2, 2, 2]  # a fifth of ten
    assert torch.bincount(made[0].train.labels + 1).tolist() == [10, 8, 8, 8]
    given = image_data("mine", Pairs(labels), Pairs([2, 1, 0]))
    assert given.test.labels.tolist() == [2, 1, 0] and len(given.train) == 40
    half = image_data("mine", Pairs(labels), test_fraction=0.5)
    assert torch.bincount(half.test.labels).tolist() == [5, 5, 5] and len(half.drawn_test) == 15
    with pytest.raises(ssl_isda.UsageError, match="test_fraction goes without test_data"):
        image_data("mine", Pairs(labels), Pairs([0]), test_fraction=0.5)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ((PIXELS, LABELS[:3]), "450 images and 3 labels"),
        ((PIXELS / 3.0, LABELS), "must be uint8"),
        ((PIXELS[:, :, :, 0], LABELS, 3), "got tuple"),
        ((PIXELS[:2], [1, -1]), "two classes"),
    ],
)
def test_data_of_another_form_are_said(data: Any, text: str) -> None:
    with pytest.raises(ssl_isda.UsageError, match=text):
        image_data("mine", data)


@pytest.mark.slow
def test_own_images_train_and_are_recognized_when_they_change(tmp_path: Path) -> None:
    settings = {**SETTINGS, "dataset": "mine", "runs_dir": tmp_path}
    settings["method"] = "temporal_ensembling"  # it keeps something for each image
    some = np.where(np.arange(450) < 300, LABELS, -1)
    run = ssl_isda.train(data=(PIXELS, some), **settings)
    assert run.path == tmp_path / "mine-all/temporal_ensembling-mlp/seed0"
    assert ssl_isda.train(data=(PIXELS, some), **settings) == run
    assert ssl_isda.load(run.path).predict(PIXELS).features.shape[0] == 450
    with pytest.raises(ssl_isda.UsageError, match="other images"):
        ssl_isda.train(data=(255 - PIXELS, some), **settings)
