"""Code on the pages, run as it stands there."""

from __future__ import annotations

import os
import pickle
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

import ssl_isda
from ssl_isda import DATASETS
from ssl_isda.base.step import Step
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import InMemory
from ssl_isda.datasets.folder import Config
from tests.commands import train
from tests.pages import ROOT, snippet


def test_cifar10_becomes_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive of the published form: the right pixels under the right class and name."""
    monkeypatch.chdir(tmp_path)
    batches = tmp_path / "data/cifar-10-batches-py"
    batches.mkdir(parents=True)
    rng, kept = np.random.default_rng(0), {}
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog"]}))
    for number, file in enumerate(("data_batch_1", "data_batch_2", "test_batch")):
        pixels = rng.integers(0, 256, (4, 3072), np.uint8)
        names = [f"a_s_00000{4 * number + k}.png" for k in range(4)]
        content = {"data": pixels, "labels": [0, 1, 1, 0], "filenames": names}
        (batches / file).write_bytes(pickle.dumps(content))
        kept |= dict(zip(names, pixels, strict=True))
    exec(snippet("docs/reproduction.md", "filenames"), {})
    assert os.readlink("cifar10_images") == "cifar10"
    data = DATASETS["folder"](Config(image_size=32), Path("cifar10_images"))
    assert data.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    expected = [kept[f"a_s_00000{k}.png"] for k in (0, 3, 4, 7, 1, 2, 5, 6)]
    assert (data.train.images.flatten(1).numpy() == np.stack(expected)).all()
    assert len(data.test) == 4


def test_the_pages_loop_and_policy_run() -> None:
    """A loss in a loop of one's own trains its centres too; a policy of one's own is registered."""
    names: dict[str, Any] = {}
    exec(snippet("docs/losses.md", "torch.optim"), names)
    losses = names["value"], names["loss"].centres.grad
    assert all(value.isfinite().all() for value in losses) and losses[1].norm() > 0
    exec(snippet("docs/augmentation.md", "Choice"), names)
    gentle = ssl_isda.AUGMENTATIONS["gentle"](None, flip=True, max_translation=2)
    images = PreparedImages(InMemory(torch.arange(600).view(2, 3, 10, 10).to(torch.uint8)))
    draws = gentle.draw(2, Step(0, 9, 3), "view 0")
    assert gentle.view(images, torch.tensor([1, 0]), draws).shape == (2, 3, 10, 10)


SHORT = ("steps=200", "steps=4, width=0.05, threads=1, unlabeled_batch_size=600, wandb='disabled'")
"""So that the pages' trainings take a second each."""


class Leaves(Dataset[Any]):
    """What the page calls a torch Dataset."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, position: int) -> tuple[Image.Image, int]:
        return Image.new("RGB", (24, 24), (5 * position, 99, 0)), position % 2


def images_with_labels() -> tuple[np.ndarray, np.ndarray]:
    """What the pages load: 45 of the 60 images have a label."""
    images = np.random.default_rng(0).integers(0, 256, (60, 24, 24, 3), np.uint8)
    return images, np.where(np.arange(60) < 45, np.arange(60) % 3, -1)


@pytest.mark.slow
def test_the_python_page_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a ``__main__`` guard, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    images, labels = images_with_labels()
    np.save("images.npy", images)
    np.save("labels.npy", labels)
    names: dict[str, Any] = {
        "__name__": "__main__",
        "images": np.zeros((3, 16, 16), np.uint8),
        "my_dataset": Leaves(),
        "my_test_set": Leaves(),
    }
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.S):
        exec(code.replace(', wandb="disabled"', "").replace(*SHORT), names)
    said = capsys.readouterr().out
    assert "did you mean '--labels'" in said and "(3, 10)" in said
    assert {str(path.parent) for path in Path("runs").rglob("result.json")} == {
        "runs/python/digits-20/vat+isda/seed0",
        "runs/leaves-all/mean_teacher/seed0",
        "runs/leaves2-all/vat/seed0",
        "runs/digits-20/certain/seed0",
    }


@pytest.mark.slow
def test_parts_in_a_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's blocks as one file, and the page's command."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/extending.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    (tmp_path / "my_parts.py").write_text("\n".join(blocks), encoding="utf-8")
    (command,) = re.findall(r"run\.py (--plugin.*?)\n\n", page, re.S)
    words = shlex.split(command.replace("\\\n", ""))
    train(*words, *"--steps 4 --threads 1 --wandb disabled".split(), cwd=tmp_path)
    (result,) = (tmp_path / "runs").rglob("result.json")
    assert result.parts[-4:-3] == ("stripes-8",)
    text = (result.parent / "config.yaml").read_text("utf-8")
    for part in ("tiny", "poly", "late", "stripes", "channels: 12", "bonus: 1.5"):
        assert part in text
    model = ssl_isda.load(result.parent, plugin="my_parts.py")
    assert type(model.network).__name__ == "Tiny"
    train("export", str(result.parent), "--plugin=my_parts.py", "--perplexity=1", cwd=tmp_path)


@pytest.mark.slow
def test_own_images_train_and_are_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the README says in short and the page at length, then the page of the first five minutes."""
    monkeypatch.chdir(tmp_path)
    images, labels = images_with_labels()
    names: dict[str, Any] = {"images": images, "labels": labels}
    np.save("images.npy", images)
    np.save("labels.npy", labels)
    for number in (1, 2):
        Image.fromarray(images[number]).save(f"new_{number}.jpg")
    exec(snippet("README.md", "ssl_isda.train").replace(*SHORT), names)
    for word in ("np.load", "new_1.jpg"):
        exec(snippet("docs/own-images.md", word).replace("epochs=40", SHORT[1]), names)
    words = "--dataset digits --method vat --isda --width 0.05 --threads 1"
    train(
        *words.split(),
        *"--unlabeled-batch-size 600 --steps 4 --wandb disabled".split(),
        cwd=tmp_path,
    )
    exec(snippet("docs/start.md", "ssl_isda.load"), names)
    said = capsys.readouterr().out.splitlines()
    assert said[-2].startswith("['") and said[-1].startswith("['") and said[-1].count("'") == 10
    assert {str(path.parents[2]) for path in Path("runs").rglob("result.json")} == {
        *("runs/leaves-all", "runs/digits-20")
    }
