"""``SemiSupervisedClassifier.fit`` against a loop of the same steps, written by hand in PyTorch.

1,800 digits of 64 numbers, 100 of which have a label; 600 steps of 32 labeled and 64 unlabeled rows, on
a network of 256 and 64 units. Both standardise, draw batches and noise, keep a teacher, and compute the
loss of a mean teacher; with ISDA the loop calls ``ISDALoss`` and ``SemanticConsistency`` as
docs/own-loop.md does.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ssl_isda import ISDALoss, SemanticConsistency, SemiSupervisedClassifier
from tests.benchmarks.measurement import Row, Settings, interleaved

NUM_ROWS, NUM_COLUMNS, NUM_CLASSES, NUM_LABELED = 1_800, 64, 10, 100
NUM_STEPS, LABELED_ROWS, UNLABELED_ROWS = 600, 32, 64
HIDDEN, FEATURES, NOISE = 256, 64, 0.15
TARGET = 1.5


def measure(settings: Settings, num_steps: int = NUM_STEPS) -> Iterator[Row]:
    """One row without ISDA and one with it."""
    X, y = rows_and_labels()
    once = dataclasses.replace(settings, seconds=0.0)
    for isda in (False, True):
        classifier = SemiSupervisedClassifier(
            isda=isda,
            steps=num_steps,
            hidden=HIDDEN,
            features=FEATURES,
            noise=NOISE,
            random_state=0,
        )
        calls = {
            "ours": lambda classifier=classifier: classifier.fit(X, y),
            "loop": lambda isda=isda: bare_loop(X, y, isda=isda, num_steps=num_steps),
        }
        seconds = interleaved(calls, once)
        case = f"fit of {len(X):,} digits{' + ISDA' * isda}, {num_steps} steps"
        images = num_steps * (LABELED_ROWS + UNLABELED_ROWS)
        yield Row("fit", case, seconds["ours"], seconds["loop"], TARGET, images=images)


def rows_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """(1800, 64) float64 and (1800,) int64, -1 for no label; ten of each class have one."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = np.concatenate([digits.data, digits.data])[:NUM_ROWS]
    classes = np.concatenate([digits.target, digits.target])[:NUM_ROWS]
    y = np.full(NUM_ROWS, -1)
    for label in range(NUM_CLASSES):
        chosen = np.flatnonzero(classes == label)[: NUM_LABELED // NUM_CLASSES]
        y[chosen] = label
    return rows, y


def bare_loop(X: np.ndarray, y: np.ndarray, *, isda: bool, num_steps: int) -> nn.Module:
    """The teacher after so many steps."""
    torch.manual_seed(0)
    std = X.std(0)
    rows = torch.from_numpy((X - X.mean(0)) / np.where(std == 0, 1, std)).float()
    labeled = torch.from_numpy(np.flatnonzero(y >= 0))
    labels = torch.from_numpy(y)
    body, head = network(NUM_COLUMNS), nn.Linear(FEATURES, NUM_CLASSES)
    student = nn.Sequential(body, head)
    teacher = copy.deepcopy(student).requires_grad_(False)
    optimizer = torch.optim.SGD(
        student.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4, nesterov=True, fused=True
    )
    supervised = ISDALoss(NUM_CLASSES, FEATURES, total_steps=num_steps)
    semantic = SemanticConsistency(supervised)
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.015 * (1 + math.cos(math.pi * step / num_steps))
        some = labeled[torch.randint(len(labeled), (LABELED_ROWS,))]
        others = torch.randperm(len(rows))[:UNLABELED_ROWS]
        first, second = (
            rows[others] + NOISE * torch.randn(UNLABELED_ROWS, NUM_COLUMNS) for _ in range(2)
        )
        seen = rows[some] + NOISE * torch.randn(LABELED_ROWS, NUM_COLUMNS)
        features = body(torch.cat([seen, first]))
        logits = head(features)
        with torch.no_grad():
            target = teacher(second).softmax(1)
        if isda:
            loss = supervised(features[:LABELED_ROWS], labels[some], head)
            loss = loss + semantic(features[LABELED_ROWS:], head)
        else:
            loss = F.cross_entropy(logits[:LABELED_ROWS], labels[some])
        weight = 100 * math.exp(-5 * (1 - min(1, 5 * step / num_steps)) ** 2)
        loss = loss + weight * F.mse_loss(logits[LABELED_ROWS:].softmax(1), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay = min(1 - 1 / (step + 2), 0.999)
        torch._foreach_lerp_([*teacher.parameters()], [*student.parameters()], 1 - decay)
    return teacher


def network(num_columns: int) -> nn.Sequential:
    """What stands before the head."""
    widths = ((num_columns, HIDDEN), (HIDDEN, FEATURES))
    layers = [
        (nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU(inplace=True)) for a, b in widths
    ]
    return nn.Sequential(*(each for layer in layers for each in layer))
