"""Network, method, objective, task, data and optimizer, joined to a trainer."""

from __future__ import annotations

import math

import torch

from ssl_isda.assembly.batches import batches_of
from ssl_isda.assembly.networks import loss_of, method_of, student_of
from ssl_isda.assembly.parts import chosen
from ssl_isda.assembly.workspace import Workspace
from ssl_isda.base.errors import UsageError
from ssl_isda.base.step import Step
from ssl_isda.data.batches import TwoStreamBatches
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.splits import Split
from ssl_isda.losses.contract import SupervisedLoss
from ssl_isda.models.contract import Network
from ssl_isda.optim import OPTIMIZERS, SCHEDULES
from ssl_isda.optim.contract import Group, Schedule
from ssl_isda.optim.groups import groups_of
from ssl_isda.optim.warmup import warmed_up
from ssl_isda.runs.tracking import Tracker
from ssl_isda.settings.config import Resolved, RunConfig
from ssl_isda.tasks import TASKS
from ssl_isda.tasks.contract import Task
from ssl_isda.training import dense
from ssl_isda.training.compilation import compile_networks
from ssl_isda.training.evaluation import LabeledBatches
from ssl_isda.training.isda_memory import refuse_what_does_not_fit
from ssl_isda.training.method import Method
from ssl_isda.training.objective import Objective
from ssl_isda.training.trainer import Trainer, TrainerConfig
from ssl_isda.training.weights import Weights

DIAGNOSED_IMAGES = 2_000
"""Unlabeled images whose pseudo-labels are looked at after each epoch."""
OF_THE_SEMANTIC_TERM = (
    "eta_1",
    "eta_1_ramp",
    "semantic_threshold",
    "semantic_classes",
    "consistency",
)
"""Settings that say how ISDA's consistency of unlabeled images is computed and weighted."""


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
    loss = loss_of(resolved, student)
    student = loss.prepared(student)
    method = method_of(resolved, student, len(data.train))
    if task.is_dense:
        dense.refuse_what_has_no_pixels(resolved, student, method)
    else:
        dense.refuse_what_has_pixels(config, student)
    method.num_unlabeled = len(split.unlabeled_pool(len(data.train)))
    batches = batches or batches_of(resolved, workspace, split, method)
    if task.is_dense:
        _refuse_few_pixels(resolved, workspace, student, method, task, batches)
    sample = split.unlabeled_sample(len(data.train), DIAGNOSED_IMAGES)
    objective = _objective_of(resolved, workspace, student, method, loss, task, batches)
    trainer_config = _trainer_config(resolved, workspace, batches, method)
    return Trainer(
        student,
        objective,
        batches,
        _evaluations_of(workspace, split),
        trainer_config,
        tracker,
        (lambda: workspace.train_batches(sample)) if len(sample) else None,
        optimizer=chosen(OPTIMIZERS, "optimizer", resolved)(),
        schedule=schedule_of(resolved, trainer_config),
        groups=_groups_of(student, config),
    )


def _refuse_few_pixels(
    resolved: Resolved,
    workspace: Workspace,
    student: Network,
    method: Method,
    task: Task,
    batches: TwoStreamBatches,
) -> None:
    """Batches and sizes at which the network cannot normalize or see its images."""
    config = resolved.config
    sizes = {"--batch-size": config.batch_size}
    if method.views:
        sizes["--unlabeled-batch-size"] = batches.sampler.unlabeled_batch_size
    dense.refuse_small_batches(config, student, sizes)
    dense.refuse_small_passes(config.model, student, task, workspace.data.train.shape)


def _evaluations_of(workspace: Workspace, split: Split) -> dict[str, LabeledBatches]:
    """The images that are tested after an epoch, by the name of their part."""
    evaluations: dict[str, LabeledBatches] = {}
    if len(workspace.data.test):
        evaluations["test"] = workspace.test_batches
    if split.validation:
        held_out = torch.tensor(split.validation)
        evaluations["validation"] = lambda: workspace.train_batches(held_out)
    return evaluations


def _objective_of(
    resolved: Resolved,
    workspace: Workspace,
    student: Network,
    method: Method,
    loss: SupervisedLoss,
    task: Task,
    batches: TwoStreamBatches,
) -> Objective:
    """What is minimised, with ISDA where it is on, on the run's device."""
    config, isda = resolved.config, resolved.isda if resolved.config.isda else None
    shape = (len(workspace.data.class_names), student.head.weight.shape[1])
    if isda:
        largest = max(config.batch_size, batches.sampler.unlabeled_batch_size)
        refuse_what_does_not_fit(
            *(isda.covariance, *shape, largest, workspace.device),
            semantic=bool(method.views),
            matched=isda.matched_strength,
        )
        _refuse_settings_of_no_term(resolved, method)
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
    return objective


def _refuse_settings_of_no_term(resolved: Resolved, method: Method) -> None:
    """Flags about ISDA's consistency of unlabeled images in a run that has none; files, which may be for
    several methods, may have them."""
    given = [name for name in OF_THE_SEMANTIC_TERM if resolved.sources[name] == "flag"]
    if resolved.isda.isda_images == "labeled":
        why = "--isda-images labeled leaves it out"
    elif not method.views or not method.semantic:
        why = f"{resolved.config.method} has none"
    else:
        return
    if given:
        flag = f"--{given[0].replace('_', '-')}"
        raise UsageError(
            f"{flag} is about ISDA's consistency of unlabeled images, and {why}: leave {flag} out"
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
