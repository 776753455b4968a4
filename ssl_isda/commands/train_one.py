"""One run from its folder to its result. What needs no torch is in ``ssl_isda.commands.train``."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from ssl_isda.assembly.freezing import ready_to_train, refuse_to_freeze
from ssl_isda.assembly.start import starting_weights
from ssl_isda.assembly.training import build_trainer
from ssl_isda.assembly.workspace import Workspace, refuse_other_preparation, split_of
from ssl_isda.base.errors import OutOfMemory, UsageError
from ssl_isda.data.amounts import Amounts
from ssl_isda.data.batches import TwoStreamBatches
from ssl_isda.data.preparation import FILE_NAME, Preparation
from ssl_isda.data.splits import Split
from ssl_isda.parallel.distributed import from_first, is_first
from ssl_isda.runs import checkpoint
from ssl_isda.runs.data_digest import refuse_other_images
from ssl_isda.runs.extension import extended_from
from ssl_isda.runs.memory import described_peak, forget_peak
from ssl_isda.runs.result import commit_of, provenance, summarize
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.runs.tracking import SilentTracker, Tracker
from ssl_isda.runs.wandb_view import open_run_view
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.places import PACKAGE
from ssl_isda.training.step_loop import ended
from ssl_isda.training.trainer import Trainer
from ssl_isda.training.weights import Weights


def weights_to_begin_with(folder: RunFolder) -> Weights | None:
    """Those of ``--weights``, if the run begins here: one that goes on has its own."""
    refuse_to_freeze(folder.resolved)
    has_its_own = bool(checkpoint.candidates(folder.path / "checkpoint.pt"))
    return None if has_its_own else starting_weights(folder.resolved)


def train_one(
    folder: RunFolder, workspace: Workspace, weights: Weights | None = None
) -> dict[str, Any]:
    """Train, or go on training, the run of one folder, which begins with ``weights``; its result."""
    resolved = folder.resolved
    tracker = Tracker(folder.path) if is_first() else SilentTracker(folder.path)
    split = from_first(lambda: split_of(folder, workspace))
    if from_first(lambda: workspace.digests) != workspace.digests:
        raise UsageError("the images of this machine are not those of the first one")
    from_first(lambda: _keep_preparation(folder, workspace))
    from_first(lambda: folder.write_unreadable(workspace.data.unreadable))
    workspace, notes = ready_to_train(folder, workspace, weights)
    try:
        peak, batches = _dry_step(folder, workspace, split)
    except OutOfMemory as error:
        tracker.note_failure(error)
        raise
    if weights:
        from_first(lambda: folder.keep_origin(weights.place))
    of_student = None if workspace.backbone else weights
    trainer = build_trainer(resolved, workspace, split, tracker, batches, of_student)
    if trainer.resume():
        tracker.say(f"resuming at step {trainer.next_step} of {trainer.config.num_steps}")
        _tell_of_extension(folder, tracker, trainer.config.num_steps)
    else:
        tracker.say(_opening_line(resolved, workspace, split, trainer))
        for note in workspace.data.notes:
            tracker.say(note)
    for note in (*notes, peak):
        tracker.say(note)
    if is_first():
        tracker.view = open_run_view(
            *(resolved, folder.path),
            history=tracker.shown(),
            warn=tracker.warn,
            data_digest=workspace.digests[0],
        )
    commit = _commit()
    with ended(tracker) as summary:
        trainer.run()
        scores, found = _tested(trainer, workspace.data.class_names)
        if is_first():
            summary |= summarize(tracker.history()) | scores
            result = summary | _provenance(folder, workspace, tracker, commit)
            result |= {"data_digest": workspace.digests[0], **folder.origin()}
            if shorter := extended_from(folder.path, trainer.config.num_steps):
                result["extended_from"] = shorter
            folder.write_result({**result, **found})
    return summary


def _tested(
    trainer: Trainer, class_names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, object]]:
    """The final scores, and what a result holds of the classes; no scores where nothing is to test on."""
    names: dict[str, object] = {"class_names": class_names}
    if "test" not in trainer.evaluations:
        return {}, names
    confusion, scores = trainer.final(trainer.evaluations["test"], class_names)
    return scores, {**names, "confusion": confusion.tolist()}


def _tell_of_extension(folder: RunFolder, tracker: Tracker, num_steps: int) -> None:
    shorter = extended_from(folder.path, num_steps)
    if shorter:
        tracker.say(
            f"extended from {shorter[-1][0]:,} steps to {num_steps:,}: schedules are functions of the "
            "share of the run that is done, so this is not the result of so many steps from the start"
        )


def _provenance(
    folder: RunFolder, workspace: Workspace, tracker: Tracker, commit: str | None
) -> dict[str, Any]:
    """Where the result was computed, how fast, and from what code and command."""
    device, precision = workspace.device, workspace.precision
    found = provenance(device, precision, tracker.timing_file, folder.resolved.arguments)
    return {**found, "commit": commit}


def _keep_preparation(folder: RunFolder, workspace: Workspace) -> None:
    """Put the preparation into the folder of a run that begins, or has none since version 0.1.

    Raises
    ------
    UsageError
        The run began with other images than there are now.
    """
    path, preparation = folder.path / FILE_NAME, workspace.preparation
    if folder.has_begun() and path.exists():
        preparation = Preparation.read(folder.path)
        refuse_other_preparation(preparation, workspace, folder.resolved.config)
        refuse_other_images(
            *(preparation.digest, workspace.digests, f"{folder.path} began with other images"),
            folder.resolved.config.data_dir,
            "bring them back, take another --runs-dir, or --fresh to delete it",
        )
        if preparation.digest:
            return
    replace(preparation, digest=workspace.digests[0]).save(path)


@functools.cache
def _commit() -> str | None:
    """Of the code that this process has loaded: by the end of a long run the files may have moved on."""
    return commit_of(PACKAGE)


def _dry_step(
    folder: RunFolder, workspace: Workspace, split: Split
) -> tuple[str, TwoStreamBatches]:
    """Its peak of memory in words, and the batches, which have no state.

    A trainer of its own makes the step, so that nothing of it enters the run.
    """
    forget_peak(workspace.device)
    # Compiling takes longer than a step; the last one of an epoch is not compiled anyway.
    config = folder.resolved.config.model_copy(update={"compile": False})
    as_written = replace(folder.resolved, config=config)
    trainer = build_trainer(as_written, workspace, split, SilentTracker(folder.path))
    trainer.dry_step()
    peak, batches = described_peak(workspace.device), trainer.data
    del trainer
    torch.cuda.empty_cache()  # CUDA graphs cannot take it from there
    assert isinstance(batches, TwoStreamBatches)
    return peak, batches


def _opening_line(resolved: Resolved, workspace: Workspace, split: Split, trainer: Trainer) -> str:
    config, data = resolved.config, workspace.data
    num_labels = len(split.labeled) + len(split.validation)
    num_images = len(data.train if split.pool is None else split.pool)
    all_labels = Amounts.of(config).takes_all_labels and split.pool is None
    things = "vectors" if len(workspace.preparation.shape) == 1 else "images"
    count = sum(parameter.numel() for parameter in trainer.student.parameters())
    network = f"the head of {config.model}" if config.freeze else config.model
    return (
        f"{config.method}{' + ISDA' if config.isda else ''} on {data.name}: "
        f"{'all' if all_labels else num_labels} labels of {num_images:,} {things}, "
        f"{len(data.class_names)} classes; {network} with {count:,} parameters; "
        f"{trainer.config.num_steps:,} steps on {workspace.device.type} in {workspace.precision}"
    )
