"""The paper's own cells on a GPU that is there for a quarter of an hour, as many pairs as fit.

    python -m tests.benchmarks.quarter_hour pack cifar10 --data-dir data --out build/packed
    python -m tests.benchmarks.quarter_hour train build/packed --out build/quarter_hour --minutes 12

``pack`` writes the images in three files below 64 MiB. ``train`` needs torch and numpy alone. It trains
one cell after another, each without and with ISDA, in the order of ``jobs``, saves when the time is over,
and goes on from there when it is called again with the same ``--out``. ``runs.jsonl`` there holds every
finished run and is read by ``run.py analyze comparison``; ``done.jsonl`` has the step times, too.
``--share 0.01`` trains each run for a hundredth of its steps: a rehearsal.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_isda import methods
from ssl_isda.base.errors import Interrupted
from ssl_isda.base.precision import fastest_precision
from ssl_isda.base.progress import show
from ssl_isda.base.randomness import global_draws
from ssl_isda.data.amounts import Amounts
from ssl_isda.data.augmentations.weak import Weak
from ssl_isda.data.batches import TwoStreamBatches, evaluation_batches
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preprocessing import Prepared, prepare
from ssl_isda.data.source import DataSource
from ssl_isda.data.splits import Split, make_split
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.models import MODELS
from ssl_isda.optim import SCHEDULES
from ssl_isda.optim.schedules import cosine, multistep
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training.method import METHODS
from ssl_isda.training.objective import Objective
from ssl_isda.training.trainer import Trainer, TrainerConfig

PARTS, NUM_TEST_IMAGES = 3, 10_000
STEPS_PER_EPOCH = 390


@dataclass(frozen=True)
class Job:
    """One run; all but the seed are the settings of its cell."""

    model: str
    method: str
    labels: int | None
    isda: bool
    seed: int
    steps: int
    preprocessing: str
    schedule: str
    max_translation: int
    width: float = 1.0

    @property
    def name(self) -> str:
        words = (
            self.model,
            self.method,
            self.labels or "all",
            "isda" if self.isda else "plain",
            self.seed,
        )
        return "-".join(map(str, words))

    @property
    def settings(self) -> dict[str, object]:
        settings = asdict(self)
        del settings["seed"]
        return {"dataset": "cifar10", "data_dir": "data", "lambda_0": 0.5, "eta_1": 1.0, **settings}


def jobs(seeds: int, share: float, width: float) -> Iterator[Job]:
    """Pairs, most telling first: one seed of every cell before the next one of any."""
    for seed in range(seeds):
        for model, method, labels, steps in (
            ("cnn13", "vat", 1_000, 4_000),
            ("cnn13", "pi_model", 1_000, 4_000),
            ("cnn13", "pi_model", 4_000, 4_000),
            ("cnn13", "vat", 4_000, 4_000),
            ("resnet32", "supervised", None, 160 * STEPS_PER_EPOCH),
        ):
            kind = ("zca", "cosine", 2) if model == "cnn13" else ("normalize", "multistep", 4)
            for isda in (False, True):
                length = max(2, round(share * steps))
                yield Job(model, method, labels, isda, seed, length, *kind, width)


def pack(images: np.ndarray, labels: np.ndarray, out: Path) -> None:
    """Training images, then test images, (N, 3, 32, 32) uint8: a row each, its label in front."""
    rows = np.concatenate([labels.astype(np.uint8)[:, None], images.reshape(len(images), -1)], 1)
    out.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(np.array_split(rows, PARTS)):
        np.save(out / f"part{number}.npy", part)


def unpacked(folder: Path, num_test: int) -> ImageData:
    rows = np.concatenate([np.load(folder / f"part{number}.npy") for number in range(PARTS)])
    images, labels = rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)
    parts = (images[:-num_test], labels[:-num_test]), (images[-num_test:], labels[-num_test:])
    names = [str(c) for c in range(int(labels.max()) + 1)]
    return ImageData.from_arrays("cifar10", names, *parts)


def trainer_of(
    job: Job, data: ImageData, prepared: Prepared, folder: Path, split: Split
) -> Trainer:
    """The run as ``run.py`` would build it with these settings."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape, num_classes = data.train.shape, len(data.class_names)
    with global_draws(job.seed, 0, "initial weights", torch.device("cpu")):
        of_network = MODELS.config(job.model)(width=job.width)
        student = MODELS[job.model](of_network, num_classes=num_classes, shape=shape)
    student = student.to(device, memory_format=torch.channels_last)
    of_method = getattr(methods, job.method).Config()
    method = METHODS[job.method](
        of_method, student=student, num_images=len(data.train), num_classes=num_classes
    )
    batches = TwoStreamBatches(
        prepared.train.to(device),
        _labels(data.train),
        split,
        labeled_batch_size=min(128, len(split.labeled)),
        unlabeled_batch_size=min(128, len(data.train)),
        seed=job.seed,
        augmentation=Weak(flip=True, max_translation=job.max_translation),
        views=method.views,
        labeled_views=method.labeled_views,
        device=device,
    )
    isda = IsdaConfig(lambda_0=0.5) if job.isda else None
    objective = Objective(method, isda, num_classes, student.head.weight.shape[1]).to(device)
    test = prepared.test.to(device)
    kind = {"cosine": cosine, "multistep": multistep}[job.schedule]
    per_epoch = min(batches.steps_per_epoch, job.steps)
    return Trainer(
        student,
        objective,
        batches,
        {"test": partial(evaluation_batches, test, _labels(data.test))},
        TrainerConfig(
            job.steps,
            per_epoch,
            images_per_step=256 if method.views else 128,
            seed=job.seed,
            precision=fastest_precision(device),
        ),
        Tracker(folder, quiet=True),
        schedule=SCHEDULES[job.schedule](kind.Config()),
    )


def _labels(source: DataSource) -> torch.Tensor:
    assert source.labels is not None
    return source.labels


def _split(job: Job, data: ImageData) -> Split:
    return make_split(
        _labels(data.train),
        num_classes=len(data.class_names),
        amounts=Amounts(labels=job.labels),
        seed=job.seed,
        dataset="cifar10",
        checksum=data.train.fingerprint,
    )


def train(job: Job, data: ImageData, prepared: Prepared, out: Path) -> dict[str, Any]:
    """Train, or go on; what is kept of the run.

    Raises
    ------
    Interrupted
        The time is over; the state is saved.
    """
    folder = out / job.name
    folder.mkdir(parents=True, exist_ok=True)
    split = _split(job, data)
    split.save(folder / "split.json")
    trainer = trainer_of(job, data, prepared, folder, split)
    trainer.resume()
    start, first = time.perf_counter(), trainer.next_step
    trainer.run()
    seconds = time.perf_counter() - start
    confusion, _ = trainer.final(trainer.evaluations["test"], data.class_names)
    for file in folder.glob("checkpoint.pt*"):
        file.unlink()
    steps = job.steps - first
    return {
        "job": asdict(job),
        "error": 100 * (1 - float(confusion.trace()) / float(confusion.sum())),
        "split": json.loads((folder / "split.json").read_text())["digest"],
        "milliseconds_per_step": 1000 * seconds / steps if steps else None,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def as_cells(done: list[dict[str, Any]], digest: str) -> str:
    """The finished runs as ``ssl_isda.results.gathered`` writes them."""
    cells: dict[str, list[tuple[int, float, str]]] = {}
    for run in done:
        job = Job(**run["job"])
        cells.setdefault(json.dumps(job.settings), []).append(
            (job.seed, run["error"], run["split"][:12])
        )
    lines = []
    for settings, runs in cells.items():
        seeds, errors, splits = (list(column) for column in zip(*sorted(runs), strict=True))
        columns = {
            "seeds": seeds,
            "errors": errors,
            "losses": [None] * len(seeds),
            "splits": splits,
        }
        lines.append(
            json.dumps({"settings": json.loads(settings), **columns, "data_digest": digest})
        )
    return "".join(f"{line}\n" for line in lines)


def train_all(data: ImageData, out: Path, minutes: float, wanted: Iterable[Job]) -> int:
    """As many of the runs as fit; 0 when all are done, 3 when the time was over first."""
    out.mkdir(parents=True, exist_ok=True)
    timer = threading.Timer(60 * minutes, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    signal.signal(signal.SIGTERM, _time_is_over)  # where no trainer listens
    file = out / "done.jsonl"
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    names = {Job(**run["job"]).name for run in done}
    prepared: dict[str, Prepared] = {}
    for job in wanted:
        if job.name in names:
            continue
        try:
            if job.preprocessing not in prepared:
                prepared[job.preprocessing] = prepare(job.preprocessing, data, out)
            done.append(train(job, data, prepared[job.preprocessing], out))
        except Interrupted:
            show(f"time is over in {job.name}; call again to go on")
            return 3
        file.write_text("".join(json.dumps(run) + "\n" for run in done))
        (out / "runs.jsonl").write_text(as_cells(done, data.train.fingerprint))
        show(
            f"{job.name}: {done[-1]['error']:.2f} %, {done[-1]['milliseconds_per_step']:.1f} ms a step"
        )
    timer.cancel()
    return 0


def _time_is_over(number: int, _: object) -> None:
    raise Interrupted("the time is over", number)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("dataset")
    packing.add_argument("--data-dir", type=Path, default=Path("data"))
    training = commands.add_parser("train")
    training.add_argument("folder", type=Path)
    training.add_argument("--minutes", type=float, default=12.0)
    training.add_argument("--share", type=float, default=1.0)
    training.add_argument("--seeds", type=int, default=10)
    training.add_argument("--width", type=float, default=1.0)
    training.add_argument("--test-images", type=int, default=NUM_TEST_IMAGES)
    for each in (packing, training):
        each.add_argument("--out", type=Path, required=True)
    words = parser.parse_args()
    if words.command == "train":
        data = unpacked(words.folder, words.test_images)
        wanted = jobs(words.seeds, words.share, words.width)
        return train_all(data, words.out, words.minutes, wanted)
    from ssl_isda.assembly.workspace import images_of
    from ssl_isda.settings.resolve import resolve

    data = images_of(
        resolve(
            [
                "--method",
                "supervised",
                "--dataset",
                words.dataset,
                "--data-dir",
                str(words.data_dir),
            ]
        )
    )
    both = [(part.images.numpy(), part.labels.numpy()) for part in (data.train, data.test)]
    pack(*(np.concatenate(arrays) for arrays in zip(*both, strict=True)), words.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
