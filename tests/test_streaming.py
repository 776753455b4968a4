"""Runs on images that are decoded when a step needs them end as those on images in memory, to the bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ssl_isda
from tests.commands import ENVIRONMENT, MLP, ROOT, answer, kill_at, train

SETTINGS = [
    *("--dataset", "folder", "--data-dir", "images", "--image-size", "16", *MLP, "--isda"),
    *("--labels-per-class", "4", "--batch-size", "8", "--unlabeled-batch-size", "10"),
    *("--steps", "6", "--wandb", "disabled", "--optimizer", "adamw", "--learning-rate", "0.01"),
    *("--layer-decay", "0.65", "--no-decay-norms", "--warmup-steps", "4"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With 30 images of two classes to train on, three steps of an epoch, and 4 to test on."""
    place = tmp_path_factory.mktemp("streaming")
    draws = np.random.default_rng(0)
    for part, count in (("train", 30), ("test", 4)):
        for k in range(count):
            path = place / "images" / part / "ab"[k % 2] / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draws.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    return place


def ends(folder: Path, runs: str) -> dict[str, bytes]:
    """The final checkpoint and the metrics of the only run there."""
    (run,) = (path.parent for path in (folder / runs).rglob("config.yaml"))
    return {name: (run / name).read_bytes() for name in ("checkpoint.pt", "metrics.jsonl")}


@pytest.mark.parametrize("method", sorted(ssl_isda.METHODS))
def test_killed_in_an_epoch_and_resumed_streaming_it_ends_as_in_memory(
    method: str, folder: Path
) -> None:
    words = [*SETTINGS, "--method", method]
    train(*words, "--no-streaming", "--runs-dir", f"{method}/memory", cwd=folder)
    streamed = [*words, "--streaming", "--runs-dir", f"{method}/streamed"]
    kill_at(4, streamed, folder)
    assert "resuming at step 4 of 6" in train(*streamed, cwd=folder)
    assert ends(folder, f"{method}/streamed") == ends(folder, f"{method}/memory")


def test_images_of_sizes_of_their_own_are_seen_alike_after_a_kill(
    folder: Path,
) -> None:
    """In ImageNet's layout, by windows that are drawn in the size of each image."""
    place = folder / "imagenet"
    draws = np.random.default_rng(0)
    for k in range(34):
        path = place / ("train" if k < 30 else "val") / "ab"[k % 2] / f"{k}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (*draws.integers(12, 30, 2), 3)
        Image.fromarray(draws.integers(0, 256, shape, np.uint8)).save(path)
    words = ["--dataset", "imagenet", "--data-dir", "imagenet", *SETTINGS[4:]]
    words += ["--method", "fixmatch", "--runs-dir"]
    train(*words, "unbroken", cwd=folder)
    kill_at(4, [*words, "killed"], folder)
    assert "resuming at step 4 of 6" in train(*words, "killed", cwd=folder)
    assert ends(folder, "killed") == ends(folder, "unbroken")


HANGING = f"""
import sys, threading
sys.path.insert(0, {str(ROOT)!r})
from ssl_isda import cli
from ssl_isda.data import streaming
from ssl_isda.datasets import folder
streaming.STALLED_SECONDS = 0.3
folder.decode = lambda *how: threading.Event().wait()
sys.exit(cli.main(sys.argv[1:]))
"""
"""A program that answers like run.py where the disk does not, once the training has begun."""


@pytest.mark.fault(48)
def test_fault_48_a_run_ends_though_a_read_does_not(folder: Path) -> None:
    words = [*SETTINGS, "--method", "supervised", "--streaming", "--runs-dir", "hanging"]
    program = [sys.executable, "-c", HANGING, *words]
    done = subprocess.run(
        program, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert ".png: no image could be read for 0.3 s; once the disk answers again" in done.stderr


def test_a_run_of_a_version_that_streamed_on_request_alone_goes_on(folder: Path) -> None:
    words = [*SETTINGS, "--method", "supervised", "--runs-dir", "older"]
    printed = train(*words, cwd=folder)
    (config,) = (folder / "older").rglob("config.yaml")
    text = config.read_text()
    assert "    streaming: null  # default" in text
    config.write_text(text.replace("streaming: null", "streaming: false"))
    assert train(*words, cwd=folder) == printed.splitlines(keepends=True)[-1]
    code, _, err = answer([*words, "--streaming"], folder)
    assert code == 2 and "streaming: false there, true now" in err
