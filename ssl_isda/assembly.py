"""From the settings of a run to the run itself: data, network, method, objective and trainer, joined.

Everything that trains or evaluates goes through here: the commands and the Python interface.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from ssl_isda import plugins
from ssl_isda.base.errors import UsageError
from ssl_isda.base.memory import in_words
from ssl_isda.base.precision import Precision, autocast, fastest_precision
from ssl_isda.base.progress import counted, duration, show
from ssl_isda.base.randomness import global_draws
from ssl_isda.base.registry import Registry
from ssl_isda.base.step import Step
from ssl_isda.data.amounts import Amounts
from ssl_isda.data.array_cache import cached_arrays
from ssl_isda.data.batches import TwoStreamBatches, evaluation_batches
from ssl_isda.data.facts import bytes_to_load, data_digests
from ssl_isda.data.folder_listing import ListingOptions, listed_once
from ssl_isda.data.generated import Generated
from ssl_isda.data.image_data import DATASETS, ImageData
from ssl_isda.data.image_memory import room_for_data
from ssl_isda.data.masks.building import mask_batches
from ssl_isda.data.masks.mask_data import MaskData
from ssl_isda.data.preparation import FILE_NAME, Preparation, PreparedImages
from ssl_isda.data.preprocessing import Prepared, prepare, prepare_by, prepare_like
from ssl_isda.data.resized_crop import cropped
from ssl_isda.data.source import DataSource, InMemory
from ssl_isda.data.splits import Split, check_split, load_split, make_split
from ssl_isda.data.vectors.augmentation import VectorAugmentation
from ssl_isda.data.vectors.prepared import PreparedVectors
from ssl_isda.data.views import AUGMENTATIONS, AnyAugmentation, names_for_vectors
from ssl_isda.generators.joining import BatchShare, joining
from ssl_isda.losses import LOSSES
from ssl_isda.losses.contract import SupervisedLoss
from ssl_isda.models import MODELS
from ssl_isda.models.contract import Network
from ssl_isda.models.library import LibraryConfig, TrainedOn
from ssl_isda.models.linear import Linear
from ssl_isda.optim import OPTIMIZERS, SCHEDULES
from ssl_isda.optim.contract import Group, Schedule
from ssl_isda.optim.groups import groups_of
from ssl_isda.optim.warmup import warmed_up
from ssl_isda.parallel.distributed import from_first, num_processes
from ssl_isda.parallel.launch import local_rank, num_launched
from ssl_isda.parallel.whole_batch import act_on_whole_batch
from ssl_isda.results.features import Features, parts
from ssl_isda.runs import checkpoint
from ssl_isda.runs.data_digest import refuse_other_images
from ssl_isda.runs.memory import free_bytes
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.runs.tracking import Tracker
from ssl_isda.settings.config import Resolved, RunConfig
from ssl_isda.settings.options import Place
from ssl_isda.settings.recorded import no_checkpoint, settings_of_run
from ssl_isda.tasks import TASKS
from ssl_isda.tasks.contract import Task
from ssl_isda.training import dense, frozen
from ssl_isda.training.compilation import compile_networks
from ssl_isda.training.evaluated import Evaluated
from ssl_isda.training.evaluation import LabeledBatches
from ssl_isda.training.exported import is_exported, read_safetensors
from ssl_isda.training.isda_memory import refuse_what_does_not_fit
from ssl_isda.training.method import METHODS, Method
from ssl_isda.training.objective import Objective
from ssl_isda.training.trainer import Trainer, TrainerConfig
from ssl_isda.training.weights import Weights, read_weights

_Predict = Callable[[LabeledBatches], Iterator[tuple[Tensor, Tensor, Tensor]]]
DIAGNOSED_IMAGES = 2_000
"""Unlabeled images whose pseudo-labels are looked at after each epoch."""


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


def _of_a_library(resolved: Resolved) -> LibraryConfig | None:
    """The network's options, if it is one of a library."""
    options = options_of(MODELS, resolved.config.model, resolved)
    return options if isinstance(options, LibraryConfig) else None


def _trained_on(resolved: Resolved) -> TrainedOn | None:
    """The images of a library's network; None of other networks."""
    library = _of_a_library(resolved)
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


def options_of(registry: Registry[Any], name: str, resolved: Resolved) -> Any:
    """The part's own ``Config``, as the settings of the run have it."""
    config, values = registry.config(name), resolved.values
    return config(
        **{each.name: values[each.name] for each in fields(config) if each.name in values}
    )


def chosen(registry: Registry[Any], kind: str, resolved: Resolved) -> Callable[..., Any]:
    """The part that the setting ``kind`` names, with its options; the rest is still to be given."""
    name = getattr(resolved.config, kind)
    return functools.partial(registry[name], options_of(registry, name, resolved))


def _labels(source: DataSource) -> Tensor:
    assert source.labels is not None
    return source.labels


def build_trainer(
    resolved: Resolved,
    workspace: Workspace,
    split: Split,
    tracker: Tracker,
    batches: TwoStreamBatches | None = None,
    weights: Weights | None = None,
) -> Trainer:
    """The run's network, method, objective and data, joined.

    Parameters
    ----------
    batches : if they are made already
    weights : that the network starts from, and so does every copy that its method makes
    """
    config, data = resolved.config, workspace.data
    task = task_of(resolved, data)
    student = student_of(resolved, workspace)
    if weights:
        tracker.say(weights.load_into(student, data.class_names))
    shape = (len(data.class_names), student.head.weight.shape[1])
    loss = loss_of(resolved, student)
    student = loss.prepared(student)
    method = method_of(resolved, student, len(data.train))
    if task.is_dense:
        dense.refuse_what_has_no_pixels(resolved, student, method)
    method.num_unlabeled = len(split.unlabeled_pool(len(data.train)))
    batches = batches or batches_of(resolved, workspace, split, method)
    evaluations = {"test": workspace.test_batches} if len(data.test) else {}
    if split.validation:
        held_out = torch.tensor(split.validation)
        evaluations["validation"] = lambda: workspace.train_batches(held_out)
    sample = split.unlabeled_sample(len(data.train), DIAGNOSED_IMAGES)
    isda = resolved.isda if config.isda else None
    if isda:
        largest = max(config.batch_size, batches.sampler.unlabeled_batch_size)
        refuse_what_does_not_fit(isda.covariance, *shape, largest, workspace.device)
    second = getattr(student, "auxiliary_head", None) if task.is_dense else None
    if second is not None:
        dense.refuse_what_has_no_second_head(config.model, isda)
    objective = Objective(
        *(method, isda, *shape),
        loss=loss,
        task=task,
        auxiliary_features=None if second is None else second.weight.shape[1],
    ).to(workspace.device)
    if config.evaluation_ema is not None:
        _average_for_evaluation(objective, student, config)
    if config.compile:
        copies = (each for each in objective.modules() if isinstance(each, Network))
        compile_networks((student, *copies), workspace.device)
    trainer_config = _trainer_config(resolved, workspace, batches, method)
    return Trainer(
        student,
        objective,
        batches,
        evaluations,
        trainer_config,
        tracker,
        (lambda: workspace.train_batches(sample)) if len(sample) else None,
        optimizer=chosen(OPTIMIZERS, "optimizer", resolved)(),
        schedule=schedule_of(resolved, trainer_config),
        groups=_groups_of(student, config),
    )


def task_of(resolved: Resolved, data: ImageData) -> Task:
    """What is learned of an image, which the data have.

    Raises
    ------
    UsageError
        They do not, or an option of the task is out of range.
    """
    config = resolved.config
    try:
        task: Task = chosen(TASKS, "task", resolved)()
    except ValueError as error:
        raise UsageError(f"--task {config.task}: {error}") from error
    dense.refuse_other_task(config, task, data)
    return task


def _groups_of(student: Network, config: RunConfig) -> list[Group]:
    try:
        return groups_of(student, layer_decay=config.layer_decay, decay_norms=config.decay_norms)
    except ValueError as error:
        raise UsageError(f"--layer-decay: {error}") from error


def _average_for_evaluation(objective: Objective, student: Network, config: RunConfig) -> None:
    assert config.evaluation_ema is not None
    try:
        objective.average_for_evaluation(student, config.evaluation_ema)
    except ValueError as error:
        raise UsageError(
            f"--evaluation-ema: {config.method} tests an average of its own, its teacher; leave the "
            "flag out"
        ) from error


def _trainer_config(
    resolved: Resolved, workspace: Workspace, batches: TwoStreamBatches, method: Method
) -> TrainerConfig:
    config = resolved.config
    num_unlabeled = batches.sampler.unlabeled_batch_size if method.views else 0
    return TrainerConfig(
        num_steps=config.steps or config.epochs * batches.steps_per_epoch,
        steps_per_epoch=batches.steps_per_epoch,
        images_per_step=config.batch_size + num_unlabeled,
        learning_rate=config.learning_rate,
        seed=config.seed,
        precision=workspace.precision,
        checkpoint_minutes=config.checkpoint_minutes,
        checkpoint_epochs=config.checkpoint_epochs,
        num_snapshots=config.snapshots or 0,
        compiled=config.compile,
    )


def schedule_of(resolved: Resolved, config: TrainerConfig) -> Schedule:
    """How the learning rate changes over a run of this length."""
    try:
        schedule: Schedule = chosen(SCHEDULES, "schedule", resolved)()
        schedule(Step(0, config.num_steps, config.steps_per_epoch))
    except ValueError as error:
        raise UsageError(f"--schedule {resolved.config.schedule}: {error}") from error
    steps = _warmup_steps(resolved.config, config)
    return warmed_up(schedule, steps) if steps else schedule


def _warmup_steps(config: RunConfig, length: TrainerConfig) -> int:
    """Of the warm-up; 0 without one."""
    steps, epochs = config.warmup_steps, config.warmup_epochs
    if steps is not None and epochs is not None:
        raise UsageError("warmup_steps and warmup_epochs are both given; one of them is enough")
    found = steps or math.ceil((epochs or 0) * length.steps_per_epoch)
    if found >= length.num_steps:
        flag = f"--warmup-steps {steps}" if steps else f"--warmup-epochs {epochs:g}"
        raise UsageError(
            f"{flag}: the run has {length.num_steps:,} steps, and the warm-up must end before it does"
        )
    return found


def student_of(resolved: Resolved, workspace: Workspace) -> Network:
    """The run's network for the data of the workspace; of a frozen backbone, its head alone."""
    data = workspace.data
    if workspace.backbone:
        with global_draws(resolved.config.seed, 0, "initial weights", torch.device("cpu")):
            return workspace.backbone.student().to(workspace.device)
    return network_of(resolved, len(data.class_names), data.train.shape, workspace.device)


def network_of(
    resolved: Resolved, num_classes: int, shape: tuple[int, ...], device: torch.device
) -> Network:
    """The network with its initial weights, for inputs of this shape."""
    config = resolved.config
    make = chosen(MODELS, "model", resolved)
    try:
        with global_draws(config.seed, 0, "initial weights", torch.device("cpu")):
            student: Network = make(num_classes=num_classes, shape=shape)
    except ValueError as error:
        raise UsageError(f"--model {config.model}: {error}") from error
    try:
        student.eval().features(torch.zeros(1, *dense.smallest_look(student, shape)))
    except ValueError as error:
        advice = "try a larger --image-size" if len(shape) == 3 else "vectors take mlp or linear"
        raise UsageError(f"--model {config.model}: {error}; {advice}") from error
    student.to(device).to(memory_format=torch.channels_last)
    if num_processes() > 1:
        act_on_whole_batch(student, synchronize_batchnorm=config.sync_batchnorm)
    return student


def ready_to_train(
    folder: RunFolder, workspace: Workspace, weights: Weights | None = None
) -> tuple[Workspace, list[str]]:
    """The workspace that a run trains on, and what there is to say of it: with ``--freeze backbone`` that
    of the images' features, under the backbone that the run keeps, or ``weights`` if it begins.

    Raises
    ------
    UsageError
        The network gives no features to train a head on, or the run's backbone is gone.
    """
    resolved = folder.resolved
    if resolved.config.freeze is None:
        return workspace, []
    network = student_of(resolved, workspace)
    frozen.refuse_head(network, resolved.config.model)
    has_begun = from_first(folder.has_begun)
    kept = from_first(lambda: frozen.read_backbone(folder.path)) if has_begun else None
    lines = []
    if kept:
        network.load_state_dict(kept["network"])
    elif weights:
        lines.append(weights.load_into(network, workspace.data.class_names))
    arrays, line = _features(resolved, workspace, network)
    parts = [torch.from_numpy(arrays[name]) for name in ("train", "test")]
    backbone = frozen.standardising(network, parts[0])
    if kept is None:
        from_first(lambda: backbone.save(folder.path))
    ready = copy.copy(workspace)
    ready.backbone, ready.data = backbone, frozen.of_features(workspace.data, *parts)
    ready.train_images, ready.test_images = (
        PreparedVectors(part, backbone.std, backbone.mean).to(workspace.device)
        for part in (ready.data.train, ready.data.test)
    )
    return ready, [*lines, line]


def _features(
    resolved: Resolved, workspace: Workspace, network: Network
) -> tuple[dict[str, np.ndarray], str]:
    """Of the training and the test images, kept beside them, or in the folder of runs; and in words."""
    config, began = resolved.config, time.monotonic()
    parts = {"train": workspace.train_images, "test": workspace.test_images}
    about = (config.model, options_of(MODELS, config.model, resolved))
    how = (workspace.preparation, workspace.data, workspace.precision)
    key = frozen.key_of(network, about, *how)
    place = config.data_dir if config.data_dir.is_dir() else config.runs_dir
    folder = place / ".cache" / f"features-{key[:16]}"
    seconds: list[float] = []

    def compute() -> dict[str, np.ndarray]:
        show("computing the features of all images, once ...")
        found = frozen.computed(network, parts, workspace.precision)
        seconds.append(time.monotonic() - began)
        return found

    arrays = cached_arrays(folder, key, compute)
    size = in_words(sum(each.nbytes for each in arrays.values()))
    count, width = sum(map(len, arrays.values())), arrays["train"].shape[1]
    how_long = f"computed in {duration(seconds[0])}" if seconds else "read"
    return (
        arrays,
        f"features of {count:,} images, {width:,} numbers each, {size}: {how_long}, {folder}",
    )


def refuse_to_freeze(resolved: Resolved) -> None:
    """Refuse ``--freeze backbone`` where there is nothing to freeze, or features cannot stand in for
    images.

    Raises
    ------
    UsageError
        The network has no weights yet, or the method does with images what features do not show.
    """
    config = resolved.config
    if config.freeze is None:
        return
    plugins.load(config.plugin)
    if config.weights is None and not resolved.values.get("pretrained"):
        raise UsageError(
            "--freeze backbone trains the last layer of a network that has learned already: add "
            "--weights RUN_OR_FILE, or --pretrained to a network of a library"
        )
    method = method_of(resolved, Linear(2, 1), num_images=1)
    if method.needs_images:
        raise UsageError(
            f"--freeze backbone: {config.method} {method.needs_images}, which features that are computed "
            "once cannot show; take another method, or leave the flag out"
        )
    _refuse_settings_of_images(resolved)
    augmentations_of(resolved, method, is_vectors=True, largest=0)


def loss_of(resolved: Resolved, student: Network) -> SupervisedLoss:
    num_classes, num_features = student.head.weight.shape[:2]
    seed = resolved.config.seed
    with global_draws(seed, 0, "initial weights of the loss", torch.device("cpu")):
        loss: SupervisedLoss = chosen(LOSSES, "loss", resolved)(
            num_classes=num_classes, num_features=num_features
        )
    return loss


def starting_weights(resolved: Resolved) -> Weights | None:
    """What ``--weights`` names: the network that a run's method tests, also as exported, or a file; or
    the file of ``--pretrained``.

    Raises
    ------
    UsageError
        It is not there or cannot be used.
    """
    plugins.load(resolved.config.plugin)
    config, library = resolved.config, _of_a_library(resolved)
    if library and library.pretrained:
        return read_weights(_pretrained_file(resolved, library))
    if config.weights is None:
        return None
    if not (config.weights.is_dir() or is_exported(config.weights)):
        return read_weights(config.weights)
    place = Place(data_dir=None, device="cpu", threads=None, plugin=config.plugin)
    network, preparation, _ = evaluated_network(config.weights, place)
    return Weights(config.weights, network.state_dict(), preparation.class_names)


def _pretrained_file(resolved: Resolved, library: LibraryConfig) -> Path:
    if resolved.config.weights is not None:
        raise UsageError("--pretrained and --weights are both given; one of them is enough")
    try:
        return library.weights_file()
    except ValueError as error:
        raise UsageError(f"--pretrained: {error}") from error


def method_of(resolved: Resolved, student: Network, num_images: int) -> Method:
    num_classes = len(student.head.weight)
    method: Method = chosen(METHODS, "method", resolved)(
        student=student, num_images=num_images, num_classes=num_classes
    )
    if not method.any_loss and resolved.config.loss != "cross_entropy":
        raise UsageError(
            f"--loss {resolved.config.loss}: {resolved.config.method} makes the supervised term itself, "
            "a cross-entropy; leave the flag out"
        )
    return method


def batches_of(
    resolved: Resolved, workspace: Workspace, split: Split, method: Method
) -> TwoStreamBatches:
    """The run's labeled and unlabeled batches, with the views that its method declares.

    Raises
    ------
    UsageError
        A translation or a batch size that these images or processes do not allow.
    """
    config = resolved.config
    shape = workspace.data.train.shape
    is_vectors = len(shape) == 1
    if isinstance(workspace.data, MaskData):
        return _batches_of_masks(resolved, workspace, workspace.data, split, method)
    if is_vectors:
        _refuse_settings_of_images(resolved)
    _refuse_settings_of_other_placements(resolved)
    largest = 0 if is_vectors else largest_translation(resolved, method, shape)
    own, named = augmentations_of(resolved, method, is_vectors, largest)
    generated = generated_of(resolved, workspace, split)
    batches = TwoStreamBatches(
        workspace.train_images,
        _labels(workspace.data.train),
        split,
        labeled_batch_size=config.batch_size - (generated.count if generated else 0),
        unlabeled_batch_size=config.unlabeled_batch_size,
        seed=config.seed,
        partial=config.partial_batches,
        augmentation=own,
        views=method.views,
        labeled_views=method.labeled_views,
        named=named,
        device=workspace.device,
        generated=generated,
    )
    _refuse_batch_sizes(config, batches)
    return batches


def augmentations_of(
    resolved: Resolved, method: Method, is_vectors: bool, largest: int
) -> tuple[AnyAugmentation, dict[str, AnyAugmentation]]:
    """The run's own augmentation, and those that the method's views name; a weak view of vectors is the
    run's own.

    Parameters
    ----------
    largest : translation, in pixels

    Raises
    ------
    UsageError
        One is made for images and the run is on vectors, or the other way round.
    """
    config = resolved.config

    def augmentation(name: str) -> AnyAugmentation:
        options = options_of(AUGMENTATIONS, name, resolved)
        made = AUGMENTATIONS[name](options, flip=config.flip, max_translation=largest)
        if isinstance(made, VectorAugmentation) != is_vectors:
            _refuse_augmentation(config, name, is_vectors)
        return made if is_vectors else _placed(config, name, made)

    views = (*method.views, *method.labeled_views)
    names = dict.fromkeys(v.augmentation for v in views if v.augmentation is not None)
    of_vectors = {"weak": config.policy} if is_vectors else {}
    named = {name: augmentation(of_vectors.get(name, name)) for name in names}
    return augmentation(config.policy), named


def generated_of(resolved: Resolved, workspace: Workspace, split: Split) -> Generated | None:
    """The images of ``--generated``, if it is given. Raises as ``joining``."""
    config = resolved.config
    if config.generated is None:
        return None
    if num_launched() > 1:
        raise UsageError("--generated works on one process; leave it out under torchrun")
    of_seed = config.generated / f"seed{config.seed}"
    place = of_seed if of_seed.is_dir() else config.generated
    size = BatchShare(config.batch_size, config.generated_share)
    return joining(place, size, workspace.data, split, workspace.preparation, workspace.device)


def _batches_of_masks(
    resolved: Resolved, workspace: Workspace, data: MaskData, split: Split, method: Method
) -> TwoStreamBatches:
    config = resolved.config
    dense.refuse_policy(config)
    views = (*method.views, *method.labeled_views)
    batches = mask_batches(
        data,
        options_of(AUGMENTATIONS, "crops", resolved),
        options_of(AUGMENTATIONS, "strong", resolved),
        flip=config.flip,
        names=[view.augmentation for view in views if view.augmentation is not None],
        prepared=workspace.train_images,
        labels=_labels(data.train),
        split=split,
        labeled_batch_size=config.batch_size,
        unlabeled_batch_size=config.unlabeled_batch_size,
        seed=config.seed,
        partial=config.partial_batches,
        views=method.views,
        device=workspace.device,
    )
    _refuse_batch_sizes(config, batches)
    return batches


def _placed(config: RunConfig, name: str, made: AnyAugmentation) -> AnyAugmentation:
    """With resized crops in place of translation, where the settings say so.

    Raises
    ------
    UsageError
        The augmentation does not translate.
    """
    if config.resized_crop == "none" or (config.resized_crop == "strong" and name == "weak"):
        return made
    crop = cropped(made, config.smallest_crop)
    if crop is None:
        raise UsageError(f"--resized-crop: {name} places images itself; leave the flag out")
    return crop


def _refuse_batch_sizes(config: RunConfig, batches: TwoStreamBatches) -> None:
    if config.compile and num_launched() > 1:
        raise UsageError("--compile works on one process; leave it out under torchrun")
    sizes = batches.sampler.batch_sizes
    for flag, size, each in (
        ("--batch-size", config.batch_size, sizes["labeled"]),
        ("--unlabeled-batch-size", batches.sampler.unlabeled_batch_size, sizes["unlabeled"]),
    ):
        if size % num_launched():
            raise UsageError(
                f"{flag} must be a multiple of the {num_launched()} processes, got {size}"
            )
        left = min(each)
        if left % num_launched() or left == 1 < size:
            whom = f"{num_launched()} processes" if num_launched() > 1 else "BatchNorm"
            raise UsageError(
                f"--partial-batches leaves {left} for the last batch of a pass, too few for "
                f"{whom}: choose another {flag}"
            )


def largest_translation(resolved: Resolved, method: Method, shape: Sequence[int]) -> int:
    """In pixels, for images of this shape: the run's setting, or the method's share of the shorter side.

    Raises
    ------
    UsageError
        It does not fit these images, or is given for a method that has its own.
    """
    config, smaller_side = resolved.config, min(shape[1:])
    if method.translation is not None:
        if resolved.sources["max_translation"] == "flag":
            raise UsageError(
                f"--max-translation: {config.method} translates by a share of the image's side; give "
                f"--translation instead, such as {method.translation:g}"
            )
        return round(method.translation * smaller_side)
    if config.max_translation >= smaller_side:
        raise UsageError(
            f"--max-translation must be 0 to {smaller_side - 1} for these images, "
            f"got {config.max_translation}"
        )
    return config.max_translation


def _refuse_settings_of_images(resolved: Resolved) -> None:
    for name in ("flip", "max_translation", "resized_crop", "smallest_crop"):
        if resolved.sources[name] == "flag":
            raise UsageError(
                f"--{name.replace('_', '-')} is for images, and {_vectors_of(resolved.config)}: leave it "
                "out"
            )


def _refuse_settings_of_other_placements(resolved: Resolved) -> None:
    crop, given = resolved.config.resized_crop, resolved.sources
    if crop == "none" and given["smallest_crop"] == "flag":
        raise UsageError("--smallest-crop is for resized crops: add --resized-crop strong, or all")
    for name in ("max_translation", "translation"):
        if crop == "all" and given.get(name) == "flag":
            raise UsageError(
                f"--{name.replace('_', '-')}: with --resized-crop all nothing is translated; leave one "
                "of them out"
            )


def _refuse_augmentation(config: RunConfig, name: str, is_vectors: bool) -> None:
    """One that is made for images does not change vectors, nor the other way round."""
    made_for = "images" if is_vectors else "vectors"
    given = _vectors_of(config) if is_vectors else f"{config.dataset} has images"
    if name == config.policy:
        fitting = f"one of {', '.join(names_for_vectors())}" if is_vectors else "weak"
        raise UsageError(f"--policy {name} is made for {made_for}, and {given}: take {fitting}")
    raise UsageError(
        f"--method {config.method} needs {name}, which is made for {made_for}, and {given}: take another "
        "method"
    )


def _vectors_of(config: RunConfig) -> str:
    """Why the run is on vectors."""
    if config.freeze:
        return "a frozen backbone has features"
    return f"{config.dataset} has vectors"


def split_of(folder: RunFolder, workspace: Workspace) -> Split:
    """The run's labeled images: those it began with, the user's, or those that the seed draws."""
    config, data = folder.resolved.config, workspace.data
    labels, checksum = _labels(data.train), data.train.fingerprint
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


def precision_of(resolved: Resolved, device: torch.device) -> Precision:
    return _precision(resolved.config.precision, device)


def _precision(asked: str, device: torch.device) -> Precision:
    return fastest_precision(device) if asked == "auto" else cast(Precision, asked)


def device_named(name: str) -> torch.device:
    """The device that ``--device`` stands for on this process.

    Raises
    ------
    UsageError
        There is no GPU, or fewer than processes.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: no GPU is available here; --device cpu trains without one")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if num_launched() == 1:
        return torch.device("cuda")
    if local_rank() >= torch.cuda.device_count():
        raise UsageError(
            f"{torch.cuda.device_count()} GPUs are here, and process {local_rank()} finds none left: "
            "start as many processes as there are GPUs (torchrun --nproc-per-node)"
        )
    torch.cuda.set_device(local_rank())
    return torch.device("cuda", local_rank())


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


def evaluate(folder: RunFolder, *, test_only: bool) -> Features:
    """The run's network, as its newest whole checkpoint has it, on the images that it was made on."""
    dense.refuse_features(folder.path, folder.resolved.config)
    workspace = workspace_of(folder)
    split = split_of(folder, workspace)
    predict, digest = _predicting(folder, workspace, split)
    return _gathered(folder, workspace, split, predict, digest, test_only)


def features_of(folder: RunFolder, run: Loaded, *, test_only: bool) -> Features:
    """What its network makes of the images."""
    trainer, workspace, split, digest = run
    return _gathered(folder, workspace, split, trainer.predict, digest, test_only)


class Loaded(NamedTuple):
    """A run as its newest whole checkpoint has it, with its images."""

    trainer: Trainer
    workspace: Workspace
    split: Split
    checkpoint_sha256: str


def loaded(folder: RunFolder) -> Loaded:
    """The run that is there; no file of it is changed.

    Raises
    ------
    UsageError
        Its backbone is frozen: what it trained is no network of images.
    """
    if folder.resolved.config.freeze is not None:
        raise UsageError(
            f"{folder.path} was trained with --freeze backbone, on features alone; choose a run that "
            "trained the whole network"
        )
    workspace = workspace_of(folder)
    split = split_of(folder, workspace)
    trainer = build_trainer(folder.resolved, workspace, split, Tracker(folder.path, quiet=True))
    return Loaded(trainer, workspace, split, _load_newest(trainer))


def _gathered(
    folder: RunFolder,
    workspace: Workspace,
    split: Split,
    predict: _Predict,
    digest: str,
    test_only: bool,
) -> Features:
    data = workspace.data
    part = parts(len(data.train), split.labeled, split.validation, len(data.test))
    sets = [workspace.train_batches, workspace.test_batches]
    if test_only:
        part, sets = part[len(data.train) :], sets[1:]
    batches = itertools.chain.from_iterable(map(predict, sets))
    show(f"{folder.path}: {len(part):,} images through the network ...")
    shown = counted(batches, len(part), "image", lambda batch: len(batch[0]))
    return Features.gathered(shown, part, data.class_names, digest, workspace.digests[0])


def _predicting(folder: RunFolder, workspace: Workspace, split: Split) -> tuple[_Predict, str]:
    """What gives logits, features and labels of batches, and the SHA-256 of the checkpoint."""
    if folder.resolved.config.freeze is None:
        tracker = Tracker(folder.path, quiet=True)
        trainer = build_trainer(folder.resolved, workspace, split, tracker)
        return trainer.predict, _load_newest(trainer)
    network, used = _tested_network(
        folder.resolved, folder.path, workspace.preparation, workspace.device
    )
    precision = workspace.precision

    @torch.no_grad()
    def predict(batches: LabeledBatches) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for images, labels in batches():
            with autocast(workspace.device, precision):
                yield *network.eval()(images), labels

    return predict, hashlib.sha256(used.read_bytes()).hexdigest()


def _load_newest(trainer: Trainer) -> str:
    """Read the checkpoint into the networks, change no file; the SHA-256 of the one that was used."""
    assert trainer.checkpoint_file is not None
    state, used = _newest(trainer.checkpoint_file, trainer.device)
    trainer.load_networks(state)
    return hashlib.sha256(used.read_bytes()).hexdigest()


def _newest(file: Path, device: torch.device) -> tuple[dict[str, Any], Path]:
    """The state of the newest whole checkpoint, and the file that it was read from."""
    try:
        state, complaints = checkpoint.load_latest(file, device)
    except checkpoint.CheckpointDamaged as error:
        raise UsageError(f"{error}. Nothing can be read from it") from error
    if state is None:
        raise UsageError(no_checkpoint(file.parent))
    for complaint in complaints:
        show(f"warning: {complaint}; the one before is used", stream=sys.stderr)
    return state, checkpoint.candidates(file)[len(complaints)]


@contextmanager
def opened_trainer(path: Path, place: Place) -> Iterator[Trainer]:
    """The trainer of a run that is there, while no other process uses its folder."""
    resolved = settings_of_run(path, place)

    folder = RunFolder(resolved, path)
    with folder.locked():
        workspace, _ = ready_to_train(folder, workspace_of(folder))
        split = split_of(folder, workspace)
        yield build_trainer(resolved, workspace, split, Tracker(path, quiet=True))


def evaluated_network(path: Path, place: Place) -> tuple[nn.Module, Preparation, Precision]:
    """A run's network that its method tests, its preparation of images, and the precision of its passes;
    or those of a file that ``export-model`` wrote of a run.

    The run's data are not read, unless it is one of version 0.1, which kept no preparation.
    """
    if path.is_file():
        return _exported_network(path, place)
    resolved = settings_of_run(path, place)
    plugins.load(resolved.config.plugin)
    where, is_kept = device_named(resolved.config.device), (path / FILE_NAME).is_file()
    folder = RunFolder(resolved, path)
    preparation = Preparation.read(path) if is_kept else workspace_of(folder).preparation
    network, _ = _tested_network(resolved, path, preparation, where)
    return network, preparation, precision_of(resolved, where)


def _tested_network(
    resolved: Resolved, path: Path, preparation: Preparation, where: torch.device
) -> tuple[nn.Module, Path]:
    """The network that a run's method tests, and the checkpoint that it is from."""
    num_classes = len(preparation.class_names)
    student = network_of(resolved, num_classes, preparation.shape, where)
    backbone = _kept_backbone(student, path) if resolved.config.freeze else None
    student = backbone.student() if backbone else student
    student = loss_of(resolved, student).prepared(student)
    state, used = _newest(path / "checkpoint.pt", where)
    try:
        student.load_state_dict(state["student"])
        network = _evaluated_with_state(resolved, student, state["objective"])
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{used} belongs to another network or method: {reason}") from error
    whole = backbone.whole(cast(Network, network).head) if backbone else network
    return whole.to(where), used


def _kept_backbone(network: Network, path: Path) -> frozen.Backbone:
    """The backbone in the folder of a run, as this network."""
    kept = frozen.read_backbone(path)
    try:
        network.load_state_dict(kept["network"])
        return frozen.Backbone(network, kept["mean"], kept["std"])
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{path / frozen.FILE_NAME} is another network: {reason}") from error


def evaluated_passes(path: Path, network: nn.Module, place: Place) -> nn.Module:
    """The network as the evaluation of its run passes images through it; one of a file as it is."""
    if path.is_file():
        name = "segmentation" if dense.is_dense(network) else "classification"
        return Evaluated(network, TASKS[name](TASKS.config(name)()))
    return Evaluated(network, chosen(TASKS, "task", settings_of_run(path, place))())


def _exported_network(path: Path, place: Place) -> tuple[nn.Module, Preparation, Precision]:
    plugins.load(place.plugin)
    network, preparation, asked = read_safetensors(path)
    where = device_named(place.device or "auto")
    network = network.to(where).to(memory_format=torch.channels_last)
    return network, preparation, _precision(asked, where)


def _evaluated_with_state(
    resolved: Resolved, student: Network, objective: Mapping[str, Tensor]
) -> nn.Module:
    """The network that is tested, as a checkpoint has it."""
    start = "average."
    average = {k.removeprefix(start): v for k, v in objective.items() if k.startswith(start)}
    if average:
        student.load_state_dict(average)
        return student
    return _method_with_state(resolved, student, objective).evaluated(student)


def _method_with_state(
    resolved: Resolved, student: Network, objective: Mapping[str, Tensor]
) -> Method:
    """The method as a checkpoint has it; what it keeps by image says how many there were."""
    start = "regularizer."
    state = {k.removeprefix(start): v for k, v in objective.items() if k.startswith(start)}
    of_one = method_of(resolved, student, num_images=1).state_dict()
    lengths = {len(state[k]) for k, v in of_one.items() if v.ndim and len(state[k]) != len(v)}
    method = method_of(resolved, student, num_images=max(lengths, default=1))
    method.load_state_dict(state)
    return method
