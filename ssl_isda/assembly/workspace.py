"""What all seeds of a command share: the device, and the data in memory, prepared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_isda import plugins
from ssl_isda.assembly.devices import device_named, precision_of
from ssl_isda.assembly.parts import options_of
from ssl_isda.base.errors import UsageError
from ssl_isda.base.memory import in_words
from ssl_isda.data.amounts import Amounts
from ssl_isda.data.batches import evaluation_batches
from ssl_isda.data.facts import bytes_to_load, data_digests
from ssl_isda.data.folder.listing import ListingOptions, listed_once
from ssl_isda.data.images.image_data import DATASETS, ImageData
from ssl_isda.data.images.memory import room_for_data
from ssl_isda.data.preparation import FILE_NAME, Preparation, PreparedImages
from ssl_isda.data.preprocessing import Prepared, prepare, prepare_by, prepare_like
from ssl_isda.data.source import DataSource, InMemory
from ssl_isda.data.splits import Split, check_split, load_split, make_split
from ssl_isda.models import MODELS
from ssl_isda.models.library import LibraryConfig, TrainedOn
from ssl_isda.runs.data_digest import refuse_other_images
from ssl_isda.runs.memory import free_bytes
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.settings.config import Resolved, RunConfig
from ssl_isda.training import dense, frozen
from ssl_isda.training.exported import is_exported, read_safetensors


class Workspace:
    """What all seeds of a command share: the device, the data in memory, prepared."""

    def __init__(self, resolved: Resolved, own: ImageData | None = None) -> None:
        config = resolved.config
        self._threads = config.threads
        self.set_threads()
        self.device = device_named(config.device)
        self.precision = precision_of(resolved, self.device)
        plugins.load(config.plugin)
        self.data: ImageData = own or images_of(resolved)
        dense.refuse_whitening(config.preprocessing, self.data)
        train, test, preparation = _prepared(resolved, self.data)
        _refuse_what_no_gpu_holds([train, test], self.device)
        self.train_images: PreparedImages = train.to(self.device)
        self.test_images: PreparedImages = test.to(self.device)
        self.preparation: Preparation = self.data.completed(preparation)
        options = ListingOptions.of(resolved.values)
        listed = () if own else data_digests(config.dataset, config.data_dir, options)
        self.digests: tuple[str, ...] = listed or self.data.digests
        """Of the images, in every version."""
        self.backbone: frozen.Backbone | None = None
        """What made features of the images, where those are trained on."""

    def set_threads(self) -> None:
        """Have PyTorch use as many threads as the run asks for."""
        if self._threads:
            torch.set_num_threads(self._threads)

    def train_batches(self, indices: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Training images, all or those at ``indices``, with their labels, without augmentation."""
        return evaluation_batches(self.train_images, self.data.train_targets, indices=indices)

    def test_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The test images with their labels."""
        return evaluation_batches(self.test_images, self.data.test_targets)


def read_alike(resolved: Resolved) -> tuple[object, ...]:
    """What a ``Workspace`` depends on beside the content of the data: equal for runs that can share."""
    config = resolved.config
    plugins.load(config.plugin)
    how = (config.device, config.precision, config.threads, config.plugin, config.preprocessing)
    options = _options_of_data(resolved)
    listing = ListingOptions.of(resolved.values)
    network = (config.weights, options_of(MODELS, config.model, resolved))
    of_network = network if config.preprocessing == "network" else ()
    return *how, config.dataset, config.data_dir, options, listing, *of_network


def _prepared(resolved: Resolved, data: ImageData) -> Prepared:
    """The images under the run's preprocessing; ``network``: the one of the weights that it starts from.

    Raises
    ------
    UsageError
        Nothing says which one that is.
    """
    config = resolved.config
    if config.preprocessing != "network":
        return prepare(config.preprocessing, data, config.data_dir)
    if config.weights is not None and config.weights.is_dir():
        return prepare_like(Preparation.read(config.weights), data)
    if config.weights is not None and is_exported(config.weights):
        return prepare_like(read_safetensors(config.weights)[1], data)
    found = _trained_on(resolved)
    if found is None:
        raise UsageError(
            "--preprocessing network is what the network's weights were trained with: it needs a run or "
            "an exported network as --weights, or --model timm or torchvision"
        )
    return prepare_by(found.mean, found.std, data)


def of_a_library(resolved: Resolved) -> LibraryConfig | None:
    """The network's options, if it is one of a library."""
    options = options_of(MODELS, resolved.config.model, resolved)
    return options if isinstance(options, LibraryConfig) else None


def _trained_on(resolved: Resolved) -> TrainedOn | None:
    """The images of a library's network; None of other networks."""
    library = of_a_library(resolved)
    try:
        return library.trained_on() if library else None
    except ValueError as error:
        raise UsageError(f"--model {resolved.config.model}: {error}") from error


def _options_of_data(resolved: Resolved) -> Any:
    """The data set's options, with the network's own where they are left to it."""
    options = options_of(DATASETS, resolved.config.dataset, resolved)
    left = [name for name in ("image_size", "interpolation") if getattr(options, name, "") is None]
    found = _trained_on(resolved) if left else None
    if found is None:
        return options
    known = {"image_size": found.side, "interpolation": found.interpolation}
    return replace(options, **{name: known[name] for name in left})


def _refuse_what_no_gpu_holds(parts: Sequence[PreparedImages], device: torch.device) -> None:
    """Images in memory go to the GPU as a whole."""
    sources = (part.source for part in parts)
    needed = sum(source.images.nbytes for source in sources if isinstance(source, InMemory))
    free = free_bytes(device) if device.type == "cuda" else None
    if free is not None and needed > free:
        raise UsageError(
            f"the images need {in_words(needed)} of GPU memory, {in_words(free)} are free: of a folder, "
            "--streaming or a smaller --image-size fits; --device cpu uses the machine's memory"
        )


def images_of(resolved: Resolved) -> ImageData:
    """The data set of a run."""
    config = resolved.config
    plugins.load(config.plugin)
    extra = bool(resolved.values.get("svhn_extra"))
    with room_for_data(config.dataset, bytes_to_load(config.dataset, extra=extra)):
        return DATASETS[config.dataset](_options_of_data(resolved), config.data_dir)


def labels_of(source: DataSource) -> Tensor:
    assert source.labels is not None
    return source.labels


def split_of(folder: RunFolder, workspace: Workspace) -> Split:
    """The run's labeled images: those it began with, the user's, or those that the seed draws."""
    config, data = folder.resolved.config, workspace.data
    labels, checksum = labels_of(data.train), data.train.fingerprint
    source = folder.split_file if folder.split_file.exists() else config.split
    if data.is_dense:
        dense.refuse_amounts(config, data)
    num_classes, amounts = data.num_label_groups, Amounts.of(config)
    belongs: dict[str, Any] = {"dataset": data.name, "checksum": checksum, "test": data.drawn_test}
    if config.split is not None and data.labeled is not None:
        raise UsageError(
            "--split and --fold both say which images are labeled: leave one of them out"
        )
    if source is not None:
        split = load_split(source, labels=labels, **belongs)
        check_split(source, split, labels, num_classes, amounts, config.validation)
    elif data.labeled is not None:
        split = Split(data.name, checksum, config.seed, data.labeled)
        check_split(Path("of --fold"), split, labels, num_classes, amounts, config.validation)
    else:
        split = make_split(
            labels,
            num_classes=num_classes,
            amounts=amounts,
            seed=config.seed,
            validation_fraction=0.25 if config.validation else 0.0,
            **belongs,
        )
    if not folder.split_file.exists():
        split.save(folder.split_file)
    return split


def workspace_of(folder: RunFolder) -> Workspace:
    """The images of a run, read anew.

    Raises
    ------
    UsageError
        They are other images than those that the run was made on.
    """
    with listed_once():
        workspace = Workspace(folder.resolved)
    path, place = folder.path, folder.resolved.config.data_dir
    preparation = Preparation.read(path) if (path / FILE_NAME).is_file() else None
    if preparation:
        refuse_other_preparation(preparation, workspace, folder.resolved.config)
    began = preparation.digest if preparation else ""
    for kept in (began, folder.recorded_digest()):
        refuse_other_images(
            *(kept, workspace.digests, f"{path} was made on other images", place),
            "bring them back, or say where they are with --data-dir",
        )
    return workspace


def refuse_other_preparation(kept: Preparation, workspace: Workspace, config: RunConfig) -> None:
    """Refuse to go on where weights, which say how images are prepared, say something else by now.

    Raises
    ------
    UsageError
        They were exchanged, or are gone.
    """
    if config.preprocessing == "network" and not kept.computes_as(workspace.preparation):
        raise UsageError(
            f"the run began with images prepared by {kept.name}, as --weights {config.weights} said, "
            "which is gone or has changed: bring it back"
        )
