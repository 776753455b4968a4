"""A trained run as visualize looks at it: its network, the features of its images, its covariances."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ssl_isda.assembly.trained import Loaded, features_of, loaded
from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest, printed, shown
from ssl_isda.data.preparation import Preparation
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.learned import LearnedCovariance
from ssl_isda.results.features import LABELED, TEST, Features
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.settings.config import Resolved

MOST_NAMED = 20
"""Classes that an error names."""


@dataclass(frozen=True)
class Covariances:
    """Sigma_c of each class: ``of(c)`` is (a, a) float64 on the CPU."""

    of: Callable[[int], Tensor]
    told: str
    """Where they come from, as half a sentence."""


class TrainedRun:
    """The network of a run folder, in evaluation mode, with all its images in view.

    Parameters
    ----------
    training : the images to show are labeled training images, not test images

    Raises
    ------
    UsageError
        The run is on vectors, or it is no classification.
    """

    def __init__(self, folder: Path, resolved: Resolved, *, training: bool = False) -> None:
        self.path, self._training = folder, training
        if resolved.config.task != "classification":
            raise UsageError(f"visualize is for classification; {printed(folder)} is another task")
        self._folder = RunFolder(resolved, folder)
        with self._folder.locked():
            self._run: Loaded = loaded(self._folder)
        if len(self.preparation.shape) != 3:
            raise UsageError(f"visualize shows images; {printed(folder)} is a run on vectors")
        self.network: nn.Module = self._run.trainer.objective.evaluated(self._run.trainer.student)
        self.network.eval().requires_grad_(False)
        isda = resolved.isda if resolved.config.isda else None
        self.lambda_0 = isda.lambda_0 if isda else None

    @cached_property
    def found(self) -> Features:
        """What the network makes of all images, in the run's own precision."""
        return features_of(self._folder, self._run, test_only=False)

    @property
    def preparation(self) -> Preparation:
        return self._run.workspace.preparation

    @property
    def device(self) -> torch.device:
        return self._run.workspace.device

    @property
    def class_names(self) -> Sequence[str]:
        return self._run.workspace.data.class_names

    @cached_property
    def train_features(self) -> Tensor:
        """(N, a) of the training images in order, which stand before the test images."""
        count = int((self.found.part != TEST).sum())
        return torch.from_numpy(self.found.features[:count])

    @cached_property
    def train_classes(self) -> Tensor:
        """(N,): the label of each labeled training image, and the network's answer for the others."""
        found, training = self.found, self.found.part != TEST
        known = np.where(found.part == LABELED, found.labels, found.predictions)
        return torch.from_numpy(known[training])

    def train_pixels(self, places: Sequence[int]) -> np.ndarray:
        """(n, c, h, w) uint8."""
        return self._run.workspace.data.train.fetch(torch.tensor(places)).numpy()

    @property
    def images_to_show(self) -> str:
        """ "test", or "training" if these are asked for or there is no test part."""
        is_test = len(self._run.workspace.data.test) and not self._training
        return "test" if is_test else "training"

    @cached_property
    def labels_to_show(self) -> Tensor:
        """(n,) of the images to show, in order; -1 where the run knows none."""
        data = self._run.workspace.data
        if self.images_to_show == "test":
            assert data.test.labels is not None
            return data.test.labels
        assert data.train.labels is not None
        known = torch.full_like(data.train.labels, -1)
        labeled = torch.tensor(self._run.split.labeled)
        known[labeled] = data.train.labels[labeled]
        return known

    def places_to_show(self, classes: Sequence[int], most: int) -> list[int]:
        """Up to ``most`` of the images to show, of these classes in turn.

        Raises
        ------
        UsageError
            None of them has such an image.
        """
        found = [(self.labels_to_show == c).nonzero().flatten().tolist() for c in classes]
        turns = itertools.chain.from_iterable(itertools.zip_longest(*found))
        places = [place for place in turns if place is not None][:most]
        if not places:
            names = ", ".join(self.class_names[c] for c in classes)
            raise UsageError(f"no image to show is of {names}: --class takes another one")
        return places

    def shown_images(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Pixels (n, c, h, w) uint8 and labels (n,) of the images to show."""
        data, chosen = self._run.workspace.data, torch.tensor(places)
        source = data.test if self.images_to_show == "test" else data.train
        return source.fetch(chosen), self.labels_to_show[chosen]

    def classes_named(self, name: str | None) -> list[int]:
        """The number of the class of this name; of all classes where none is named.

        Raises
        ------
        UsageError
            There is no such class: which ones there are.
        """
        known = list(self.class_names)
        if name is None:
            return [*range(len(known))]
        if name not in known:
            listed = ", ".join(known[:MOST_NAMED]) + ", ..." * (len(known) > MOST_NAMED)
            raise UsageError(
                f"--class: {printed(self.path)} has no class {shown(name)}{nearest(name, known)} "
                f"(its classes: {listed})"
            )
        return [known.index(name)]

    @cached_property
    def covariances(self) -> Covariances:
        """Those that the run keeps; where it keeps none, of the features of its training images."""
        kept = self._run.trainer.objective.covariance
        if isinstance(kept, (ClassCovariance, LearnedCovariance)) and _has_directions(kept):
            form = kept.form if isinstance(kept, ClassCovariance) else "learned"
            return Covariances(lambda c: kept.matrix(c).double().cpu(), f"kept by the run ({form})")
        return Covariances(
            self._estimated,
            f"estimated from the features of the {len(self.train_classes):,} training images, under "
            "their label or else the network's answer, because the run keeps none",
        )

    def _estimated(self, c: int) -> Tensor:
        """One class at a time: at the size of ImageNet all of them do not fit into memory."""
        rows = self.train_features[self.train_classes == c].double()
        estimate = ClassCovariance(1, rows.shape[1]).double()
        estimate.update(rows, torch.zeros(len(rows), dtype=torch.long))
        return estimate.matrix(0)


def _has_directions(kept: ClassCovariance | LearnedCovariance) -> bool:
    if isinstance(kept, LearnedCovariance):
        return True
    return kept.form != "identity" and bool(kept.count.any())
