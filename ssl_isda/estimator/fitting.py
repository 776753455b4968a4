"""Rows and classes to a trained network: in memory, or in a run folder."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl_isda.assembly.start import starting_weights
from ssl_isda.assembly.trained import evaluated_network
from ssl_isda.assembly.training import build_trainer
from ssl_isda.assembly.workspace import Workspace
from ssl_isda.base.errors import Interrupted
from ssl_isda.base.progress import silence
from ssl_isda.commands.train_one import train_one, weights_to_begin_with
from ssl_isda.data.preparation import Preparation
from ssl_isda.data.source import InMemory
from ssl_isda.data.splits import Split
from ssl_isda.data.vectors.standardization import standardized
from ssl_isda.data.vectors.vector_data import VectorData
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.runs.tracking import MemoryTracker, Tracker
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.options import Place

ROWS_AT_ONCE = 4_096
_ONE_AT_A_TIME = threading.Lock()
"""PyTorch's generator, from which initial weights come, and its number of threads belong to the whole
process: two trainings in threads would disturb each other."""


@dataclass(frozen=True)
class FittedNetwork:
    """The network that the method tests, on the CPU in float64, with its preparation of rows.

    In float64 what it says of a row does not depend on the rows beside it, up to about 1e-15.
    """

    network: nn.Module
    mean: np.ndarray
    std: np.ndarray
    num_steps: int
    history: list[dict[str, Any]]

    @classmethod
    def of(
        cls, network: nn.Module, preparation: Preparation, history: list[dict[str, Any]]
    ) -> FittedNetwork:
        arrays: Mapping[str, np.ndarray] = preparation.arrays
        plain = network.cpu().double().eval().requires_grad_(False)
        steps = int(history[-1]["step"])
        return cls(plain, arrays["mean"], arrays["std"], steps, history)

    @torch.no_grad()
    def __call__(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (n, c) and features (n, a), float64, of finite rows (n, d)."""
        mean, std = torch.from_numpy(self.mean), torch.from_numpy(self.std)
        found: list[tuple[Tensor, Tensor]] = []
        for first in range(0, len(rows), ROWS_AT_ONCE):
            part = torch.from_numpy(rows[first : first + ROWS_AT_ONCE].astype(np.float64))
            logits, features = self.network(standardized(part, mean, std).double())
            found.append((logits.softmax(1), features))
        probabilities, features = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        return probabilities, features


def fit(
    resolved: Resolved,
    rows: np.ndarray,
    numbers: np.ndarray,
    class_names: tuple[str, ...],
    *,
    folder: Path | None,
    verbose: bool,
) -> FittedNetwork:
    """Train on all rows, and on the classes of those that have one.

    Parameters
    ----------
    numbers : (n,) int64, the class of each row; -1 for none
    folder : where the run is kept, or is already; None: nothing is written

    Raises
    ------
    RunError
        As ``ssl_isda.train``. A signal that came meanwhile is raised again.
    """
    parts = (_in_memory(rows, numbers), _in_memory(rows[:0], numbers[:0]))  # there is no test part
    data = VectorData("vectors", class_names, *parts)
    with _ONE_AT_A_TIME, _threads_put_back(), nullcontext() if verbose else silence():
        try:
            if folder is not None:
                return _fit_in_folder(RunFolder(resolved, folder), data)
            return _fit_in_memory(resolved, data, verbose=verbose)
        except Interrupted as error:
            # As if nobody had waited for the end of a step.
            signal.raise_signal(error.signal_number)
            raise


def _fit_in_memory(resolved: Resolved, data: VectorData, *, verbose: bool) -> FittedNetwork:
    workspace = Workspace(resolved, data)
    tracker = MemoryTracker(quiet=not verbose)
    split = Split(data.name, "", resolved.config.seed, labeled=_labeled(data))
    weights = starting_weights(resolved)
    trainer = build_trainer(resolved, workspace, split, tracker, weights=weights)
    trainer.pseudo_labeled = None  # nobody knows their labels
    trainer.run()
    network = trainer.objective.evaluated(trainer.student)
    return FittedNetwork.of(network, workspace.preparation, tracker.history())


def _in_memory(rows: np.ndarray, numbers: np.ndarray) -> InMemory:
    """Without a copy where torch can share the rows."""
    shared = np.require(rows, requirements=["C", "A", "W"])
    return InMemory(torch.from_numpy(shared), torch.from_numpy(np.ascontiguousarray(numbers)))


def _labeled(data: VectorData) -> tuple[int, ...]:
    assert data.train.labels is not None
    return tuple((data.train.labels >= 0).nonzero().flatten().tolist())


def _fit_in_folder(folder: RunFolder, data: VectorData) -> FittedNetwork:
    """Train, or go on with, the run there; one that is done stays as it is."""
    if folder.finished(data.digests) is None:
        with folder.opened():
            weights = weights_to_begin_with(folder)
            train_one(folder, Workspace(folder.resolved, data), weights)
    config = folder.resolved.config
    place = Place(data_dir=None, device="cpu", threads=config.threads, plugin=config.plugin)
    network, preparation, _ = evaluated_network(folder.path, place)
    return FittedNetwork.of(network, preparation, Tracker(folder.path).history())


@contextmanager
def _threads_put_back() -> Iterator[None]:
    """A run sets how many threads PyTorch has."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
