"""A grid of small runs in one process against the same training written as a bare loop.

Digits as vectors of 64 numbers, 100 labels, 600 steps of 32 + 64 rows on an ``mlp`` of 256 and 64
features, the Π-model with gradients through both passes. The grid makes run folders, checkpoints, metrics
and results, and tests after every epoch; the loop trains and tests once at the end. With ISDA the loop
calls ``ISDALoss`` and ``SemanticConsistency`` as docs/own-loop.md does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda import ISDALoss, SemanticConsistency
from ssl_isda.commands.grid.command import command
from tests.benchmarks.measurement import Row, Settings, interleaved

NUM_CLASSES, NUM_LABELED, NUM_COLUMNS = 10, 100, 64
LABELED_ROWS, UNLABELED_ROWS = 32, 64
HIDDEN, FEATURES, NOISE, WEIGHT = 256, 64, 0.3, 30.0
TARGET = 2.0
MOST_ROUNDS = 5
GRID = """\
settings:
  dataset: digits_vectors
  labels: {labels}
  steps: {steps}
  noise_std: {noise}
  batch_size: {labeled}
  unlabeled_batch_size: {unlabeled}
  threads: 1
  wandb: disabled
runs:
  - method: [pi_model]
    consistency_weight: [{weight}]
    input_noise: [0.0]  # beside noise_std
    isda: [{isda}]
    seed: {seeds}
"""


def measure(settings: Settings, num_steps: int = 600, num_runs: int = 4) -> Iterator[Row]:
    """One row without ISDA and one with it: seconds of a run, of ``num_runs`` in a grid."""
    rounds = min(settings.rounds, MOST_ROUNDS)
    settings = dataclasses.replace(settings, rounds=rounds, seconds=0)
    data = digits()
    for isda in (False, True):
        calls = {
            "grid": lambda isda=isda: grid(isda=isda, num_steps=num_steps, num_runs=num_runs),
            "loop": lambda isda=isda: [
                bare_loop(data, isda=isda, num_steps=num_steps) for _ in range(num_runs)
            ],
        }
        seconds = {
            name: [time / num_runs for time in times]
            for name, times in interleaved(calls, settings).items()
        }
        case = f"a run of {num_steps} steps{' + ISDA' * isda}, {num_runs} a grid"
        images = num_steps * (LABELED_ROWS + UNLABELED_ROWS)
        yield Row("small_runs", case, seconds["grid"], seconds["loop"], TARGET, images=images)


def grid(*, isda: bool, num_steps: int, num_runs: int) -> None:
    """Train a grid in folders of its own, one run after another in this process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "grid.yaml")
        numbers = {"labels": NUM_LABELED, "steps": num_steps, "noise": NOISE, "weight": WEIGHT}
        batches = {"labeled": LABELED_ROWS, "unlabeled": UNLABELED_ROWS}
        which = {"isda": str(isda).lower(), "seeds": [*range(num_runs)]}
        file.write_text(GRID.format(**numbers, **batches, **which))
        with contextlib.redirect_stdout(io.StringIO()):
            code = command([str(file), "--runs-dir", f"{folder}/runs", "--workers", "1"])
        assert code == 0


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(1347, 64) rows, standardised, and their labels; (450, 64) and theirs, to test."""
    from sklearn.datasets import load_digits

    found = load_digits()
    rows, labels = torch.from_numpy(found.data), torch.from_numpy(found.target)
    train, test = rows[450:], rows[:450]
    std = train.std(0, correction=0)
    mean, std = train.mean(0), std.where(std > 0, 1)
    train, test = (((part - mean) / std).float() for part in (train, test))
    return train, labels[450:], test, labels[:450]


def bare_loop(data: tuple[Tensor, Tensor, Tensor, Tensor], *, isda: bool, num_steps: int) -> float:
    """Test error in percent after so many steps."""
    rows, labels, test_rows, test_labels = data
    body, head = network(), nn.Linear(FEATURES, NUM_CLASSES)
    student = nn.Sequential(body, head)
    optimizer = torch.optim.SGD(
        student.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True, fused=True
    )
    supervised = ISDALoss(NUM_CLASSES, FEATURES, total_steps=num_steps)
    semantic = SemanticConsistency(supervised)

    def seen(places: Tensor) -> Tensor:
        return rows[places] + NOISE * torch.randn(len(places), NUM_COLUMNS)

    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 + math.cos(math.pi * step / num_steps))
        some = torch.randint(NUM_LABELED, (LABELED_ROWS,))
        others = torch.randperm(len(rows))[:UNLABELED_ROWS]
        features = body(torch.cat([seen(some), seen(others)]))
        logits, second = head(features), student(seen(others))
        if isda:
            loss = supervised(features[:LABELED_ROWS], labels[some], head)
            loss = loss + semantic(features[LABELED_ROWS:], head)
        else:
            loss = F.cross_entropy(logits[:LABELED_ROWS], labels[some])
        gaps = logits[LABELED_ROWS:].softmax(1) - second.softmax(1)
        loss = loss + WEIGHT * gaps.square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        wrong = student.eval()(test_rows).argmax(1) != test_labels
    return 100 * wrong.float().mean().item()


def network() -> nn.Sequential:
    """What stands before the head."""
    widths = ((NUM_COLUMNS, HIDDEN), (HIDDEN, FEATURES))
    layers = [
        (nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU(inplace=True)) for a, b in widths
    ]
    return nn.Sequential(*(each for layer in layers for each in layer))
