"""Code on the pages, run as it stands there."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_isda.datasets.folder import folder
from tests.commands import CELL, SUPERVISED, train
from tests.pages import snippet


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
    data = folder(Path("cifar10_images"), image_size=32)
    assert data.class_names == ("cat", "dog")
    assert data.train_labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    expected = [kept[f"a_s_00000{k}.png"] for k in (0, 3, 4, 7, 1, 2, 5, 6)]
    assert (data.train_images.flatten(1).numpy() == np.stack(expected)).all()
    assert len(data.test_images) == 4


def test_a_trained_network_comes_back(tmp_path: Path) -> None:
    train(*SUPERVISED, cwd=tmp_path)
    code = snippet("README.md", "load_latest")
    assert "width=1.0, in_channels=3" in code
    names = {"path_of_run": tmp_path / CELL, "images": torch.zeros(2, 1, 16, 16)}
    exec(code.replace("width=1.0, in_channels=3", "width=0.05, in_channels=1"), names)
    logits, features = names["logits"], names["features"]
    assert logits.shape == (2, 10) and torch.equal(names["network"].head(features), logits)
