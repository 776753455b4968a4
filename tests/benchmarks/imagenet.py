"""Real images in ImageNet's layout: what streaming them costs, and that a run on them survives anything.

    python -m tests.benchmarks.imagenet PLACE --data-dir data --images 20000

writes so many training images of CIFAR-10, which lie in ``--data-dir`` or are downloaded, enlarged to
64 x 64 pixels, as JPEGs of ten class folders into PLACE, and 2,000 test images; then it trains there by
``run.py``, as a user would, and says

- the most memory of a run on all images and on a tenth of them, and what all of them are decoded;
- whether a run that was killed by SIGKILL within an epoch, and given again, ends with the bytes of a run
  that was not;
- how far the losses of two processes of ``torchrun`` are from those of one;
- images per second of our batches and of torchvision's DataLoader with the same transforms, in turns.

``--dataset folder`` takes the images of ``train/<class>`` and ``test/<class>`` in ``--data-dir`` instead.
The last of these is the part ``imagenet`` of ``python -m tests.benchmarks``, with photographs' sizes.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_isda import plugins
from ssl_isda.base.step import Step
from ssl_isda.data.augmentations.resized_crop import ResizedCrop
from ssl_isda.data.batches import TwoStreamBatches
from ssl_isda.data.images.decoding import decode
from ssl_isda.data.images.image_data import DATASETS
from ssl_isda.data.preprocessing import OF_IMAGENET, prepare
from ssl_isda.data.source import DataSource
from ssl_isda.data.splits import Split
from tests.benchmarks.loader import NUM_WORKERS, make_folder, passes_of
from tests.benchmarks.measurement import Row, Settings, interleaved

ROOT = Path(__file__).resolve().parents[2]
SIDE, ENLARGED, NUM_TEST = 32, 64, 2_000
"""Pixels that a network sees, those of a JPEG, and test images."""
BATCH, EPOCHS, TOGETHER = 64, 2, 30
"""Images of a step, epochs of the runs, and steps of the run on two processes."""
CHECKS = ("memory", "kill", "processes", "loader")
FLAGS = [
    *("--config", "imagenet_resnet50", "--model", "resnet20", "--isda"),
    *("--depth", "8", "--width", "0.25"),
    *("--image-size", str(SIDE), "--batch-size", str(BATCH), "--unlabeled-batch-size", str(BATCH)),
    *("--learning-rate", "0.05", "--precision", "fp32", "--threads", "1", "--wandb", "disabled"),
    *("--checkpoint-minutes", "0.05", "--sync-batchnorm"),
]


def measure(settings: Settings, num_images: int = 512, batch: int = BATCH) -> Iterator[Row]:
    """One row: seconds of a pass through photographs of 500 x 375 pixels, by windows of 224 x 224."""
    with tempfile.TemporaryDirectory() as place:
        make_folder(Path(place), num_images)
        (Path(place) / "test").rename(Path(place) / "val")
        yield loader_row(Path(place), 224, num_images, batch, settings)


def loader_row(place: Path, side: int, num_images: int, batch: int, settings: Settings) -> Row:
    """Our batches against a DataLoader's."""
    settings = dataclasses.replace(settings, whole_processes=True, seconds=0)
    calls = {"ours": _ours(place, side, batch), "reference": _reference(place, side, batch)}
    seconds = interleaved(calls, settings)
    case = f"windows of {side} px from JPEG, {NUM_WORKERS} workers each"
    images = num_images // batch * batch
    return Row("imagenet", case, seconds["ours"], seconds["reference"], 1.0, images)


def _ours(place: Path, side: int, batch: int) -> Callable[[], Tensor]:
    plugins.load()
    data = DATASETS["imagenet"](DATASETS.config("imagenet")(image_size=side), place)
    labels = data.train.labels
    assert labels is not None
    batches = TwoStreamBatches(
        prepare("imagenet", data, place).train,
        labels,
        Split("imagenet", "", 0, labeled=tuple(range(len(labels)))),
        labeled_batch_size=batch,
        unlabeled_batch_size=batch,
        seed=0,
        augmentation=ResizedCrop(flip=True),
        views=(),
    )
    steps = (Step(k, 1 << 40, batches.steps_per_epoch) for k in itertools.count())

    def call() -> Tensor:
        passed = itertools.islice(steps, batches.steps_per_epoch)
        return [batches.batch(step).images for step in passed][-1]

    return call


def _reference(place: Path, side: int, batch: int) -> Callable[[], Tensor]:
    from torchvision import datasets, transforms

    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(side),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(*OF_IMAGENET),
        ]
    )
    return passes_of(datasets.ImageFolder(str(place / "train"), transform), batch)


Images = Sequence[tuple[Callable[[], np.ndarray], int]]
"""What gives each image, (3, h, w) uint8, and its class."""


def of_cifar10(data_dir: Path) -> dict[str, Images]:
    """Training and test images of the data set."""
    plugins.load()
    data = DATASETS["cifar10"](DATASETS.config("cifar10")(), data_dir)

    def images(source: DataSource) -> Images:
        assert source.labels is not None
        pixels = source.fetch(torch.arange(len(source))).numpy()
        return [(partial(pixels.__getitem__, k), c) for k, c in enumerate(source.labels.tolist())]

    return {"train": images(data.train), "val": images(data.test)}


def of_folder(data_dir: Path) -> dict[str, Images]:
    """Those of ``train/<class>`` and ``test/<class>``."""
    classes = sorted(path.name for path in (data_dir / "train").iterdir())

    def images(part: str) -> Images:
        paths = sorted((data_dir / part).glob("*/*"))
        return [
            (partial(decode, path, ENLARGED), classes.index(path.parent.name)) for path in paths
        ]

    return {"train": images("train"), "val": images("test")}


def write_images(images: Images, number: int, folder: Path) -> None:
    """So many, evenly chosen, as JPEGs of ``ENLARGED`` pixels in class folders."""
    from PIL import Image

    size = (ENLARGED, ENLARGED)
    for k in range(number):
        pixels, label = images[k * len(images) // number]
        path = folder / f"n{label:08d}" / f"n{label:08d}_{k}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.ascontiguousarray(pixels().transpose(1, 2, 0)))
        image.resize(size, Image.Resampling.BICUBIC).save(path, "JPEG", quality=90)


def make_real_folder(place: Path, images: dict[str, Images], number: int) -> None:
    """``place/all`` and ``place/tenth``, which share their test images."""
    for part, count in (("all", number), ("tenth", number // 10)):
        write_images(images["train"], count, place / part / "train")
    write_images(images["val"], min(NUM_TEST, number), place / "all" / "val")
    (place / "tenth" / "val").symlink_to(place / "all" / "val")


def command(place: Path, runs: str, *flags: str, of: str = "all", processes: int = 1) -> list[str]:
    """``run.py`` on one process, or on several."""
    start = [sys.executable, "run.py"]
    if processes > 1:
        several = ("--standalone", "--nproc-per-node", str(processes))
        start = [sys.executable, "-m", "torch.distributed.run", *several, "run.py"]
    where = ("--data-dir", str(place / of), "--runs-dir", str(place / runs), "--follow-links")
    return [*start, *FLAGS, *where, *flags]


def trained(words: Sequence[str], until: Callable[[], bool] | None = None) -> tuple[str, int]:
    """What a command printed, and the most memory that it held; killed once ``until`` says so."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        words,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        stderr=subprocess.STDOUT,
    )
    if until:
        while started.poll() is None and not until():
            time.sleep(0.02)
        started.send_signal(signal.SIGKILL)
    assert started.stdout is not None
    printed = started.stdout.read()
    _, status, usage = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode not in (0, -signal.SIGKILL if until else 0):
        raise SystemExit(printed)
    return printed, usage.ru_maxrss * 1024


def is_within_the_last_epoch(folder: Path) -> Callable[[], bool]:
    """Whether a run has saved since its last epoch but one."""

    def is_so() -> bool:
        metrics, saved = (
            next(folder.rglob(name), None) for name in ("metrics.jsonl", "checkpoint.pt")
        )
        if metrics is None or saved is None or not metrics.read_bytes().count(b"\n"):
            return False
        return saved.stat().st_mtime > metrics.stat().st_mtime + 0.5

    return is_so


def ends(folder: Path) -> dict[str, bytes]:
    """The final state and the metrics of the only run there."""
    (run,) = (path.parent for path in folder.rglob("config.yaml"))
    return {name: (run / name).read_bytes() for name in ("checkpoint.pt", "metrics.jsonl")}


def losses(folder: Path) -> list[float]:
    """The supervised loss of each epoch."""
    lines = ends(folder)["metrics.jsonl"].splitlines()
    return [json.loads(line)["supervised_loss"] for line in lines]


def tell_of_memory(place: Path, num_images: int) -> None:
    """Of whole runs, which the other checks use again."""
    steps = ("--epochs", str(EPOCHS))
    printed, most = trained(command(place, "unbroken", *steps))
    print(printed.splitlines()[-1].partition(": ")[2])
    _, of_tenth = trained(command(place, "tenth_runs", *steps, of="tenth"))
    decoded = 3 * ENLARGED**2 * num_images
    print(
        f"memory at its peak: {most / 1e6:,.0f} MB with {num_images:,} images, {of_tenth / 1e6:,.0f} MB "
        f"with a tenth of them; decoded they are {decoded / 1e6:,.0f} MB",
        flush=True,
    )


def tell_of_kill(place: Path) -> None:
    """SIGKILL within the last epoch, and the same command again."""
    words = command(place, "killed", "--epochs", str(EPOCHS))
    trained(words, is_within_the_last_epoch(place / "killed"))
    printed, _ = trained(words)
    resumed = next(line for line in printed.splitlines() if line.startswith("resuming"))
    same = ends(place / "killed") == ends(place / "unbroken")
    print(
        f"killed, {resumed}: {'the same bytes' if same else 'OTHER BYTES'} at the end", flush=True
    )


def tell_of_processes(place: Path) -> None:
    """The mean loss of some steps."""
    steps = ("--steps", str(TOGETHER))
    trained(command(place, "one", *steps))
    trained(command(place, "two", *steps, processes=2))
    (one,), (two,) = losses(place / "one"), losses(place / "two")
    print(
        f"two processes: loss {two:.7f}, one: {one:.7f}, {abs(two / one - 1):.1e} apart", flush=True
    )


def tell_of_loader(place: Path, num_images: int, rounds: int) -> None:
    """Seconds of passes in turns."""
    settings = Settings(rounds=rounds, width=1.0, batch_size=BATCH, seconds=0, warm_up=1)
    row = loader_row(place / "all", SIDE, num_images, BATCH, settings)
    low, middle, high = row.quartiles
    rates = [row.images / statistics.median(each) for each in (row.ours, row.reference)]
    print(
        f"loader: {rates[0]:,.0f} images/s, DataLoader {rates[1]:,.0f}; time over its, median of "
        f"{rounds} rounds: {middle:.2f} [{low:.2f} {high:.2f}]",
        flush=True,
    )


def main(arguments: Sequence[str]) -> None:
    """Write the images, unless they are there, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.imagenet")
    parser.add_argument("place", type=Path, help="a folder for images and runs")
    parser.add_argument("--dataset", choices=("cifar10", "folder"), default="cifar10")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="where its images lie")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument(
        "--only", nargs="+", choices=CHECKS, default=CHECKS, help="kill needs the runs of memory"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of the loader")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    place = given.place.resolve()
    if not (place / "tenth" / "val").exists():
        read = of_cifar10 if given.dataset == "cifar10" else of_folder
        make_real_folder(place, read(given.data_dir), given.images)
    checks: dict[str, Callable[[], None]] = {
        "memory": lambda: tell_of_memory(place, given.images),
        "kill": lambda: tell_of_kill(place),
        "processes": lambda: tell_of_processes(place),
        "loader": lambda: tell_of_loader(place, given.images, given.rounds),
    }
    for name in given.only:
        checks[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
