"""Runs on folders that are not clean: what they tell and keep, and how they predict afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ssl_isda
from ssl_isda.base.errors import UsageError

SETTINGS: dict[str, Any] = {
    "method": "supervised",
    "model": "linear",
    "steps": 2,
    "batch_size": 4,
    "threads": 1,
    "wandb": "disabled",
    "quiet": True,
    "dataset": "folder",
    "image_size": 8,
}


def write_folder(root: Path, most: int) -> None:
    """Grey files of 16 bits with values up to ``most``; test lacks the class c."""
    rng = np.random.default_rng(0)
    for part, classes in (("train", "abc"), ("test", "ab")):
        for name in classes:
            for k in range(4):
                path = root / part / name / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                values = rng.integers(0, most + 1, (8, 8), np.uint16)
                values[0, 0] = most
                Image.fromarray(values).save(path)


def trained(place: Path, **options: Any) -> ssl_isda.Run:
    folders = {"data_dir": place / "photos", "runs_dir": place / "runs"}
    return ssl_isda.train(**{**SETTINGS, **folders, **options})


@pytest.mark.fault(39)
@pytest.mark.parametrize("streaming", [False, True])
def test_fault_39_a_run_tells_and_keeps_what_it_left_out(tmp_path: Path, streaming: bool) -> None:
    write_folder(tmp_path / "photos", 4095)
    for name in ("bad.png", "new\nline.png", "Thumbs.db"):
        (tmp_path / "photos" / "train" / "a" / name).write_bytes(b"words")
    with pytest.raises(UsageError, match=r"2 images of .* cannot be read"):
        trained(tmp_path, streaming=streaming)
    run = trained(tmp_path, streaming=streaming, skip_unreadable=True)
    lines = (run.path / "unreadable.txt").read_text().splitlines()
    reason = "not an image: save it as one, or remove it"
    assert lines == [f"train/a/bad.png\t{reason}", f"'train/a/new\\nline.png'\t{reason}"]
    log = (run.path / "log.txt").read_text()
    for words in (
        "passed over 1 file that has no image's extension (Thumbs.db)",
        "test has no image of the class 'c'",
        "left out 2 images that cannot be read: train/a/bad.png, ",
        "20 images have 16 bits a value, of which the largest, 4,095, needs 12",
    ):
        assert words in log


def test_images_are_predicted_with_the_bits_that_they_had_in_training(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", 4095)
    model = ssl_isda.load(trained(tmp_path).path)
    path = tmp_path / "photos" / "test" / "a" / "0.png"
    levels = np.asarray(Image.open(path)).astype(np.float64) * 255 / 4095
    grey = np.repeat(levels.round().astype(np.uint8)[None], 3, 0)
    expected = model.predict(grey[None]).probabilities
    assert np.array_equal(model.predict([path]).probabilities, expected)
