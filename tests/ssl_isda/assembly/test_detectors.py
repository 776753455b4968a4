"""The backbone that a detector takes from a run."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
from torch import nn

import ssl_isda
from ssl_isda.assembly import detectors


def test_the_file_that_is_recorded_is_the_checkpoint_that_was_used(
    tmp_path: Path, monkeypatch
) -> None:
    """The one before, where the newest is damaged."""
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), np.uint8)
    run = ssl_isda.train(
        data=(images, np.arange(12) % 2),
        method="supervised",
        model="linear",
        preprocessing="normalize",
        steps=1,
        batch_size=4,
        threads=1,
        wandb="disabled",
        quiet=True,
        runs_dir=tmp_path,
    )
    newest = run.path / "checkpoint.pt"
    used = shutil.copy(newest, run.path / "checkpoint.pt.previous")
    newest.write_bytes(newest.read_bytes()[:-1])
    monkeypatch.setattr(detectors, "detector", lambda *a, **sizes: nn.Identity())
    monkeypatch.setattr(detectors, "freeze_batchnorm", lambda body: None)
    _, sha256 = detectors.detector_of(
        "faster_rcnn", 2, weights=run.path, name=None, seed=0, frozen_stages=None
    )
    assert sha256 == hashlib.sha256(used.read_bytes()).hexdigest()
