"""The Python interface: train a run, and predict with a trained one.

run = ssl_isda.train(dataset="digits", method="vat", isda=True, steps=200)
model = ssl_isda.load(run.path)
model.predict(images).names
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_isda.base.errors import UsageError, missing_package
from ssl_isda.base.progress import silence

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from ssl_isda.base.precision import Precision
    from ssl_isda.data.preparation import Preparation


OWN_DATA = "my_data"
"""What runs are named after if they train on arrays and no name is given."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    path : its folder
    result : what its result.json holds
    """

    path: Path
    result: Mapping[str, Any] = field(repr=False)

    @property
    def error(self) -> float:
        """Test error in percent, the mean of the last epochs.

        Raises
        ------
        UsageError
            The run was judged by another score, such as the mIoU of a segmentation, or had no images to
            test on; ``result`` has what there is.
        """
        if "error" not in self.result:
            raise UsageError(
                f"{self.path} has no test error; its result has {', '.join(self.result)}"
            )
        return float(self.result["error"])


def train(*, data: Any = None, test_data: Any = None, quiet: bool = False, **settings: Any) -> Run:
    """Train one run, as the command line does, and leave the same run folder.

    A run that is done is not trained again, and one that was interrupted goes on.

    Parameters
    ----------
    data, test_data : your own images instead of a data set, as ``ssl_isda.data.arrays`` takes them, or
        vectors (n, d), as ``ssl_isda.data.vectors.vector_data`` does; ``dataset`` is then a name of your
        choice, after which the run's folder is called
    quiet : print nothing
    settings : every flag of the command line with underscores: ``unlabeled_batch_size=64``

    Raises
    ------
    RunError
        With the line that the command would print. ``UsageError``: a setting or the data cannot be
        used; the others are in ``ssl_isda.base.errors``.
    """
    try:
        with silence() if quiet else nullcontext():
            return _trained(data, test_data, settings)
    except ModuleNotFoundError as error:
        raise missing_package(error) from error


def _trained(data: Any, test_data: Any, settings: Mapping[str, Any]) -> Run:
    from ssl_isda.commands.train import put_back, train_seeds
    from ssl_isda.runs.run_folder import RunFolder
    from ssl_isda.settings.resolve import resolve

    if "seeds" in settings:
        raise UsageError("seeds: train makes one run; call it once for each seed=...")
    if data is not None and "data_dir" in settings:
        raise UsageError("data_dir: the samples are those of data=; leave one of them out")
    for name in ("help", "version", "print_config"):
        if name in settings:
            raise UsageError(f"{name} is a flag of the command line, which trains nothing then")
    if data is None and test_data is not None:
        raise UsageError("test_data goes with data; a data set has its own test part")
    own, name = None, settings.get("dataset", OWN_DATA)
    of_vectors = is_of_vectors(data)
    if data is not None:
        kind = "vectors" if of_vectors else "folder"
        settings = {**settings, "dataset": kind, "data_dir": name}
    resolved = resolve(flags(settings))
    if data is not None:
        from ssl_isda.data.arrays import image_data
        from ssl_isda.data.vectors.vector_data import vector_data

        take = vector_data if of_vectors else image_data
        own = take(name, data, test_data, resolved.values["test_fraction"])
    with put_back():
        train_seeds(resolved, own)
    folder = RunFolder(resolved)
    return Run(folder.path, json.loads(folder.result_file.read_text()))


def is_of_vectors(data: Any) -> bool:
    """Whether a user's data are vectors: a ``VectorData``, or (X, y) with rows (n, d)."""
    import numpy as np

    if isinstance(data, tuple):
        return len(data) == 2 and np.ndim(data[0]) == 2
    return type(data).__name__ == "VectorData"


def flags(settings: Mapping[str, Any]) -> list[str]:
    """The command line that says the same: ``labels=40, isda=True`` is ``--labels=40 --isda``."""
    from ssl_isda.settings.flags import as_flag

    return [as_flag(name, value) for name, value in settings.items()]


@dataclass(frozen=True)
class Predictions:
    """What a model says about n images.

    names : n names of classes, the most probable ones
    labels : (n,) int64, their numbers
    probabilities : (n, c) float32, in the order of ``Model.class_names``
    features : (n, a) float32, what the network's last layer sees
    inputs : n words, what each row is about: a path, or ``images[3]``
    """

    names: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    features: np.ndarray
    inputs: list[str]


class Model:
    """The network of a run that its method tests, with the run's own preparation of images."""

    def __init__(self, network: nn.Module, prepare: Preparation, precision: Precision) -> None:
        self.network, self.prepare, self.precision = network.eval(), prepare, precision
        self.class_names = prepare.class_names

    def predict(
        self, images: Any, batch_size: int | None = None, *, skip_unreadable: bool = False
    ) -> Predictions:
        """Classes, probabilities and features of images, which are in memory batch by batch.

        Parameters
        ----------
        images : paths of image files or of folders of them; or arrays or tensors, (n, h, w),
            (n, h, w, c) or (n, c, h, w): uint8 from 0 to 255, of any size, or floating-point numbers
            that are prepared already. Of a run on vectors: files of them, or (n, d) numbers, which the
            run's own preparation standardises
        batch_size : None: that of the run's evaluation, which makes the predictions equal to the bit
        skip_unreadable : leave out files that cannot be read

        Raises
        ------
        UsageError
            Files are no images, with the names of all; or a form that the network does not take.
        """
        import torch

        from ssl_isda.data.inputs import inputs_of, refuse_unreadable
        from ssl_isda.training.dense import is_dense
        from ssl_isda.training.prediction import predictions

        if is_dense(self.network):
            raise UsageError("the run has a class for each pixel: predict_masks gives its masks")
        parts = inputs_of(images, self.prepare)
        network = (self.network, self.prepare, self.precision)
        found = [
            ([part.names[k] for k in places], logits, features)
            for part in parts
            for places, (logits, features) in predictions(
                *network, part, batch_size=batch_size, skip_unreadable=skip_unreadable
            )
        ]
        if not skip_unreadable or not found:
            refuse_unreadable(parts, "skip_unreadable=True predicts the others, if any")
        inputs = [name for names, *_ in found for name in names]
        logits = torch.cat([logits for _, logits, _ in found])
        features = torch.cat([features for *_, features in found]).numpy()
        labels, probabilities = logits.argmax(1).numpy(), logits.softmax(1).numpy()
        return Predictions(
            [self.class_names[k] for k in labels], labels, probabilities, features, inputs
        )

    def predict_masks(
        self, images: Any, batch_size: int | None = None, *, skip_unreadable: bool = False
    ) -> list[np.ndarray]:
        """For each image the class of each pixel, (h, w) uint8, at its own size.

        Parameters
        ----------
        images, batch_size, skip_unreadable : as in ``predict``

        Raises
        ------
        UsageError
            The run has one class for an image; and as in ``predict``.
        """
        from ssl_isda.data.batches import evaluated_at_once
        from ssl_isda.data.inputs import inputs_of, refuse_unreadable
        from ssl_isda.training.dense import is_dense
        from ssl_isda.training.prediction import mask_of, predictions

        if not is_dense(self.network):
            raise UsageError("the run has one class for an image: predict gives it")
        parts = inputs_of(images, self.prepare)
        size = batch_size or evaluated_at_once(self.prepare.shape)
        network = (self.network, self.prepare, self.precision)
        found = [
            mask_of(logits, part.size(place)).numpy()
            for part in parts
            for places, prediction in predictions(
                *network, part, batch_size=size, skip_unreadable=skip_unreadable
            )
            for place, logits in zip(places.tolist(), prediction.logits, strict=True)
        ]
        if not skip_unreadable or not found:
            refuse_unreadable(parts, "skip_unreadable=True predicts the others, if any")
        return found


def load(path: str | Path, *, device: str = "auto", plugin: str | None = None) -> Model:
    """The trained network of a run folder, as its newest whole checkpoint has it, or of a file that
    ``ssl-isda export-model`` wrote of a run (safetensors).

    Parameters
    ----------
    device : ``auto``, ``cpu`` or ``cuda``
    plugin : the file or module of parts that the run was trained with; its code is run

    Raises
    ------
    UsageError
        There is no such run, it has no checkpoint yet, or what stands there is damaged.
    """
    try:
        from ssl_isda.assembly.trained import evaluated_network, evaluated_passes
        from ssl_isda.settings.options import Place
        from ssl_isda.training.dense import is_dense

        place = Place.model_construct(device=device, plugin=plugin)
        network, prepare, precision = evaluated_network(Path(path), place)
        if is_dense(network):
            network = evaluated_passes(Path(path), network, place)
        return Model(network, prepare, precision)
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
