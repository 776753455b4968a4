"""How long a user waits: whole processes, by the wall clock."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks.measurement import Call, Row, Settings, interleaved

ROOT = Path(__file__).resolve().parents[2]
MOST_ROUNDS = 3
PAUSE = 0.01
"""Seconds between two looks whether the first step is done."""
SECONDS_TO_FIRST_STEP = 10.0
WHITENED = ("--preprocessing", "zca", "--labels", "40", "--width", "0.1")
"""The first start keeps the whitened images, the next ones are about what is left. A narrow network,
since the passes of a wide one are no part of a start."""
NUM_DIFFERENT = 50
"""Images of each class that are not links."""
TWO_STEPS = ("--steps", "2", "--snapshots", "1")
"""A training that writes ``SECOND_STEP`` between its steps."""
SECOND_STEP = "snapshots/step0000001.pt"


def measure(settings: Settings, num_images: int = 50_000) -> Iterator[Row]:
    """``--help`` against an idle Python; one training step on digits, and on as many images as CIFAR-10
    has, whitened, against ``import torch`` and against the ten seconds that it may take."""
    rounds = min(settings.rounds, MOST_ROUNDS)
    settings = dataclasses.replace(settings, rounds=rounds, seconds=0, whole_processes=True)
    help_ = functools.partial(run_python, "run.py", "--help")
    yield _compare("run.py --help", help_, "python -c pass", "pass", settings)
    device = ("--device", settings.device.type)
    target = 1.0 if settings.device.type == "cpu" else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "images", num_images)
        commands = {
            "digits": first_step(folder, "digits", *device),
            f"{num_images:,} ZCA images": first_step(folder, "folder", *WHITENED, *device),
        }
        for data, command in commands.items():
            case = f"first step on {data}"
            call = functools.partial(take_first_step, folder / "runs", *command)
            row = _compare(case, call, "import torch", "import torch", settings)
            yield row
            allowed = [SECONDS_TO_FIRST_STEP] * len(row.ours)
            yield Row("startup", f"{case} / 10 s", row.ours, allowed, target)


def first_step(folder: Path, dataset: str, *others: str) -> tuple[str, ...]:
    """The command of a training on ``dataset`` that writes into ``folder``."""
    what = ("--dataset", dataset, "--method", "vat", "--isda", *TWO_STEPS, *others)
    where = ("--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "images"))
    return "run.py", *what, *where, "--wandb", "disabled", "--threads", str(torch.get_num_threads())


def write_images(folder: Path, num_images: int) -> None:
    """Two classes of noise, 32 x 32; most files are links, which are written in no time."""
    from PIL import Image

    noise = np.random.default_rng(0)
    for part, number in (("train", num_images), ("test", 20)):
        for name in ("a", "b"):
            place = folder / part / name
            place.mkdir(parents=True)
            for index in range(number // 2):
                file = place / f"{index}.png"
                if index < NUM_DIFFERENT:
                    pixels = noise.integers(256, size=(32, 32, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(file)
                else:
                    os.link(place / f"{index % NUM_DIFFERENT}.png", file)


def _compare(case: str, ours: Call, reference: str, statement: str, settings: Settings) -> Row:
    calls = {
        "ours": ours,
        "reference": functools.partial(run_python, "-c", statement),
    }
    seconds = interleaved(calls, settings)
    return Row("startup", f"{case} / {reference}", seconds["ours"], seconds["reference"])


def run_python(*arguments: str) -> None:
    """Python on ``arguments`` in the project's folder.

    Raises
    ------
    CalledProcessError
        It failed.
    """
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def take_first_step(runs: Path, *arguments: str) -> int:
    """Start a training that writes into ``runs``, and end it as soon as its first step is done; the most
    memory that it held.

    Raises
    ------
    CalledProcessError
        It ended before.
    """
    shutil.rmtree(runs, ignore_errors=True)
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as child:
        while not any(runs.glob(f"*/*/seed0/{SECOND_STEP}")):
            if child.poll() is not None:
                raise subprocess.CalledProcessError(child.returncode, command)
            time.sleep(PAUSE)
        peak = peak_bytes(child.pid)
        child.kill()
    return peak


def peak_bytes(process: int) -> int:
    """The most memory that a running process has held, by Linux's account."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
