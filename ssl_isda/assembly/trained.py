"""A run that has been trained, or is in training: its network again, and what it makes of images."""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ssl_isda import plugins
from ssl_isda.assembly.devices import device_named, precision_named, precision_of
from ssl_isda.assembly.freezing import ready_to_train
from ssl_isda.assembly.networks import loss_of, method_of, network_of
from ssl_isda.assembly.parts import chosen
from ssl_isda.assembly.training import build_trainer
from ssl_isda.assembly.workspace import Workspace, split_of, workspace_of
from ssl_isda.base.errors import UsageError
from ssl_isda.base.precision import Precision, autocast
from ssl_isda.base.progress import counted, show
from ssl_isda.data.preparation import FILE_NAME, Preparation
from ssl_isda.data.splits import Split
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.learned import Covariance
from ssl_isda.isda.terms import class_covariance
from ssl_isda.models.contract import Network, linear_map
from ssl_isda.results.features import Features, parts
from ssl_isda.runs import checkpoint
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.runs.tracking import Tracker
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.options import Place
from ssl_isda.settings.recorded import no_checkpoint, settings_of_run
from ssl_isda.tasks import TASKS
from ssl_isda.training import dense, frozen
from ssl_isda.training.evaluated import Evaluated
from ssl_isda.training.evaluation import LabeledBatches
from ssl_isda.training.exported import read_safetensors
from ssl_isda.training.method import Method
from ssl_isda.training.trainer import Trainer

_Predict = Callable[[LabeledBatches], Iterator[tuple[Tensor, Tensor, Tensor]]]


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
    return network_and_file(path, place)[:3]


def network_and_file(path: Path, place: Place) -> tuple[nn.Module, Preparation, Precision, Path]:
    """What ``evaluated_network`` gives, and the file that it read: of a run, the checkpoint."""
    if path.is_file():
        return *_exported_network(path, place), path
    resolved = settings_of_run(path, place)
    plugins.load(resolved.config.plugin)
    where, preparation = device_named(resolved.config.device), _preparation_of(resolved, path)
    network, used = _tested_network(resolved, path, preparation, where)
    return network, preparation, precision_of(resolved, where), used


def isda_with_state(path: Path, place: Place) -> tuple[Resolved, Tensor, Covariance]:
    """The settings of a run with ISDA, its student's W, (c, a), and the covariances whose strength
    counts, as the newest whole checkpoint has them: those that ISDA took, or that theirs was matched to.

    The run's data are not read, unless it is one of version 0.1, which kept no preparation.
    """
    resolved = settings_of_run(path, place)
    plugins.load(resolved.config.plugin)
    where = device_named(resolved.config.device)
    student, _ = _untrained(resolved, path, _preparation_of(resolved, path), where)
    state, used = _newest(path / "checkpoint.pt", where)
    with _told_of_another(used):
        student.load_state_dict(state["student"])
        weight = linear_map(student.head)[0].detach()
        covariance, start = class_covariance(resolved.isda, *weight.shape), "covariance."
        if resolved.isda.matched_strength:
            covariance, start = ClassCovariance(*weight.shape), "reference."
        covariance.load_state_dict(_part(state["objective"], start))
    return resolved, weight, covariance.to(where)


def _preparation_of(resolved: Resolved, path: Path) -> Preparation:
    if (path / FILE_NAME).is_file():
        return Preparation.read(path)
    return workspace_of(RunFolder(resolved, path)).preparation


def _untrained(
    resolved: Resolved, path: Path, preparation: Preparation, where: torch.device
) -> tuple[Network, frozen.Backbone | None]:
    """The student of a run before its first step, and its backbone where that is frozen."""
    num_classes = len(preparation.class_names)
    student = network_of(resolved, num_classes, preparation.shape, where)
    backbone = _kept_backbone(student, path) if resolved.config.freeze else None
    student = backbone.student() if backbone else student
    return loss_of(resolved, student).prepared(student), backbone


@contextmanager
def _told_of_another(used: Path) -> Iterator[None]:
    """A state that does not fit is one of another run."""
    try:
        yield
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{used} belongs to another network or method: {reason}") from error


def _tested_network(
    resolved: Resolved, path: Path, preparation: Preparation, where: torch.device
) -> tuple[nn.Module, Path]:
    """The network that a run's method tests, and the checkpoint that it is from."""
    student, backbone = _untrained(resolved, path, preparation, where)
    state, used = _newest(path / "checkpoint.pt", where)
    with _told_of_another(used):
        student.load_state_dict(state["student"])
        network = _evaluated_with_state(resolved, student, state["objective"])
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
    return network, preparation, precision_named(asked, where)


def _evaluated_with_state(
    resolved: Resolved, student: Network, objective: Mapping[str, Tensor]
) -> nn.Module:
    """The network that is tested, as a checkpoint has it."""
    if average := _part(objective, "average."):
        student.load_state_dict(average)
        return student
    return _method_with_state(resolved, student, objective).evaluated(student)


def _method_with_state(
    resolved: Resolved, student: Network, objective: Mapping[str, Tensor]
) -> Method:
    """The method as a checkpoint has it; what it keeps by image says how many there were."""
    state = _part(objective, "regularizer.")
    of_one = method_of(resolved, student, num_images=1).state_dict()
    lengths = {len(state[k]) for k, v in of_one.items() if v.ndim and len(state[k]) != len(v)}
    method = method_of(resolved, student, num_images=max(lengths, default=1))
    method.load_state_dict(state)
    return method


def _part(objective: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    """What an objective's state says of the part whose names have this beginning."""
    return {k.removeprefix(start): v for k, v in objective.items() if k.startswith(start)}
