"""Train semi-supervised image classifiers with ISDA.

    python run.py --method vat --isda --labels 4000            # the paper's recipe on CIFAR-10
    python run.py --dataset digits --method vat --isda         # one minute, no download
    python run.py export runs/digits-20/vat+isda/seed0         # features.npz, tsne.png

This file joins the three packages: ssl_isda (the core), methods and datasets.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

HERE = Path(__file__).resolve().parent
FOLDERS = {"configs_dir": HERE / "configs", "methods_dir": HERE / "methods"}
sys.path.insert(0, str(HERE))  # PYTHONSAFEPATH leaves it out, and others have a `datasets` too

from ssl_isda.errors import RunError, UsageError  # noqa: E402
from ssl_isda.launch import (  # noqa: E402
    is_first_launched,
    local_rank,
    num_launched,
    num_on_this_machine,
)
from ssl_isda.tracking import show  # noqa: E402

DIAGNOSED_IMAGES = 2_000
"""Unlabeled images whose pseudo-labels are looked at after each epoch."""

if TYPE_CHECKING:
    import torch

    from datasets.batches import TwoStreamBatches
    from datasets.image_data import ImageData
    from datasets.preprocessing import PreparedImages
    from datasets.splits import Split
    from ssl_isda.analysis.cost import Case
    from ssl_isda.analysis.options import TightnessConfig
    from ssl_isda.config import Resolved
    from ssl_isda.export_config import ExportConfig
    from ssl_isda.features import Features
    from ssl_isda.models.registry import Classifier
    from ssl_isda.objective import Objective
    from ssl_isda.regularizer import Regularizer
    from ssl_isda.run_folder import RunFolder
    from ssl_isda.tracking import Tracker
    from ssl_isda.trainer import Trainer


def main(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code."""
    try:
        return _command(arguments)
    except RunError as error:
        first_here = local_rank() == 0  # each machine has data and folders of its own
        if first_here or error.of_one_process:
            show(f"run.py: {error}", stream=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        show(f"run.py: {_missing(error)}", stream=sys.stderr)
        return UsageError.exit_code
    except KeyboardInterrupt:
        show("run.py: interrupted", stream=sys.stderr)
        return 130


def _missing(error: ModuleNotFoundError) -> UsageError:
    return UsageError(
        f"Python's package {error.name!r} is missing here: take .venv/bin/python, which 'make setup' "
        "makes, or pip install -e '.[run]'"
    )


def _command(arguments: Sequence[str]) -> int:
    from ssl_isda.command_line import answer, resolve

    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]].run(arguments[1:])
    helps = {word: command.help for word, command in COMMANDS.items()}
    text = answer(arguments, **FOLDERS, commands=helps)
    if text is not None:
        show(text.rstrip("\n"))
        return 0
    return train(resolve(arguments, **FOLDERS, commands=helps))


def train(resolved: Resolved) -> int:
    """Train one run for each seed, skipping those that are done, and print the errors."""
    from ssl_isda.result import across_seeds

    results = train_seeds(resolved)
    if len(results) > 1 and is_first_launched():
        show(across_seeds([result["error"] for result in results]))
    return 0


def train_seeds(resolved: Resolved) -> list[dict[str, Any]]:
    """The result of each seed's run: of one that is done, resumed or made now."""
    _use_our_datasets()
    from datasets.catalog import check_labels, data_digest
    from ssl_isda.result import describe
    from ssl_isda.run_folder import RunFolder

    config = resolved.config
    check_labels(config.dataset, config.labels, config.data_dir)
    digest = data_digest(config.dataset, config.data_dir)
    if config.fresh and num_launched() > num_on_this_machine():
        raise UsageError(
            "--fresh works on one machine: after a restart it would delete what is done"
        )
    folders = [RunFolder(resolved.for_seed(seed)) for seed in resolved.seeds]
    found = _finished(folders, digest) if num_launched() == 1 else None
    results, workspace = [], None
    with nullcontext() if found and all(found) else _processes(config.device):
        found = found or _found_by_first(folders, digest)
        for folder, result in zip(folders, found, strict=True):
            if result is None:
                with _owned(folder), _gpu_memory_told():
                    workspace = workspace or Workspace(resolved)
                    result = _train_one(folder, workspace, digest)
            else:
                _tell_what_was_not_done(folder, result)
            results.append(result)
            if is_first_launched():
                show(f"{folder.path}: {describe(result)}")
    return results


def _finished(folders: Sequence[RunFolder], digest: str | None) -> list[dict[str, Any] | None]:
    """The results of those that are done, on images of this digest."""
    return [folder.finished(digest) for folder in folders]


def _found_by_first(
    folders: Sequence[RunFolder], digest: str | None
) -> list[dict[str, Any] | None]:
    """The same for all processes: the runs folders of other machines do not count."""
    from ssl_isda.distributed import from_first

    return from_first(lambda: _finished(folders, digest))


def _tell_what_was_not_done(folder: RunFolder, result: Mapping[str, Any]) -> None:
    """A run that is done stays as it is, whatever is asked of it now."""
    config = folder.resolved.config
    made_in = result.get("precision")
    if made_in and config.precision not in ("auto", made_in) and is_first_launched():
        show(f"{folder.path} was made in {made_in}; --fresh makes it anew", stream=sys.stderr)
    if config.snapshots and not (folder.path / "snapshots").is_dir() and is_first_launched():
        show(f"{folder.path} was made without snapshots; --fresh makes it anew", stream=sys.stderr)


@contextmanager
def _gpu_memory_told() -> Iterator[None]:
    """What happens outside the steps, such as data that do not fit beside another run's."""
    import torch

    from ssl_isda.errors import OutOfMemory

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            "images and networks do not fit in the GPU memory that is free; leave it to this run, or "
            "try --device cpu"
        ) from error


def _processes(device: str) -> AbstractContextManager[None]:
    """The block in which all processes of this run, usually one, are joined."""
    from ssl_isda.distributed import process_group

    return process_group(_device(device))


@contextmanager
def _owned(folder: RunFolder) -> Iterator[None]:
    """The run's folder, opened by the first process for all of them."""
    from ssl_isda.distributed import from_first

    split = folder.resolved.config.split
    with ExitStack() as stack:

        def own() -> None:
            stack.enter_context(folder.opened())
            if split and not folder.split_file.exists() and not os.path.isfile(split):
                raise UsageError(f"--split {split}: no such file")

        from_first(own)
        yield


class Workspace:
    """What all seeds of a command share: the device, the data in memory, prepared."""

    def __init__(self, resolved: Resolved) -> None:
        import torch

        from datasets.load import load
        from datasets.preprocessing import prepare
        from ssl_isda.precision import fastest_precision

        config = resolved.config
        if config.threads:
            torch.set_num_threads(config.threads)
        self.device = _device(config.device)
        self.precision = (
            fastest_precision(self.device) if config.precision == "auto" else config.precision
        )
        self.data: ImageData = load(
            config.dataset,
            config.data_dir,
            svhn_extra=config.svhn_extra,
            image_size=config.image_size,
        )
        prepared = prepare(config.preprocessing, self.data, config.data_dir)
        self.train_images: PreparedImages = prepared[0].to(self.device)
        self.test_images: PreparedImages = prepared[1].to(self.device)


def _train_one(folder: RunFolder, workspace: Workspace, digest: str | None) -> dict[str, Any]:
    """Train, or go on training, the run of one folder, on images of this digest; its result."""
    from ssl_isda.distributed import from_first, is_first
    from ssl_isda.errors import OutOfMemory
    from ssl_isda.result import provenance, summarize
    from ssl_isda.tracking import SilentTracker, Tracker
    from ssl_isda.wandb_view import open_run_view

    resolved = folder.resolved
    tracker = Tracker(folder.path) if is_first() else SilentTracker(folder.path)
    split = from_first(lambda: _split(folder, workspace))
    if split.checksum != workspace.data.checksum:
        raise UsageError("the images of this machine are not those of the first one")
    try:
        peak = _peak_of_dry_step(folder, workspace, split)
    except OutOfMemory as error:
        tracker.note_failure(error)
        raise
    trainer = build_trainer(resolved, workspace, split, tracker)
    if trainer.resume():
        tracker.say(f"resuming at step {trainer.next_step} of {trainer.config.num_steps}")
    else:
        tracker.say(_opening_line(resolved, workspace, trainer))
    tracker.say(peak)
    if is_first():
        tracker.view = open_run_view(
            resolved, folder.path, history=tracker.shown(), warn=tracker.warn
        )
    commit = _commit()
    summary: dict[str, Any] = {}
    exit_code = 1
    try:
        trainer.run()
        confusion = trainer.confusion(trainer.evaluations["test"]).tolist()
        if is_first():
            summary = summarize(tracker.history())
            result = {
                **summary,
                **provenance(
                    workspace.device,
                    workspace.precision,
                    tracker.timing_file,
                    resolved.arguments,
                ),
                "commit": commit,
            }
            result |= {"data_digest": digest} if digest else {}
            folder.write_result(
                {**result, "class_names": workspace.data.class_names, "confusion": confusion}
            )
        exit_code = 0
    except RunError as error:
        exit_code = error.exit_code
        if exit_code < 128:  # not a signal
            tracker.note_failure(error)
        raise
    finally:
        if tracker.view:
            tracker.view.finish(summary, exit_code)
    return summary


@functools.cache
def _commit() -> str | None:
    """Of the code that this process has loaded: by the end of a long run the files may have moved on."""
    from ssl_isda.result import commit_of

    return commit_of(HERE)


def _peak_of_dry_step(folder: RunFolder, workspace: Workspace, split: Split) -> str:
    """In words. A trainer of its own makes the step, so that nothing of it enters the run."""
    import torch

    from ssl_isda.memory import described_peak, forget_peak
    from ssl_isda.tracking import SilentTracker

    forget_peak(workspace.device)
    # Compiling takes longer than a step; the last one of an epoch is not compiled anyway.
    config = folder.resolved.config.model_copy(update={"compile": False})
    as_written = replace(folder.resolved, config=config)
    build_trainer(as_written, workspace, split, SilentTracker(folder.path)).dry_step()
    torch.cuda.empty_cache()  # CUDA graphs cannot take it from there
    return described_peak(workspace.device)


def build_trainer(
    resolved: Resolved, workspace: Workspace, split: Split, tracker: Tracker
) -> Trainer:
    """The run's network, method, objective and data, joined."""
    import torch

    from datasets.batches import evaluation_batches
    from ssl_isda.compilation import compile_networks
    from ssl_isda.config import isda_config
    from ssl_isda.memory import refuse_what_does_not_fit
    from ssl_isda.models.registry import Classifier
    from ssl_isda.objective import Objective
    from ssl_isda.trainer import Trainer, TrainerConfig

    config, data = resolved.config, workspace.data
    student = _student(resolved, workspace)
    regularizer = _regularizer(resolved, student, len(data.train_labels))
    batches = _batches(resolved, workspace, split, regularizer)
    evaluations = {"test": lambda: evaluation_batches(workspace.test_images, data.test_labels)}
    if split.validation:
        chosen = torch.tensor(split.validation)
        held_out = workspace.train_images.chosen(chosen)
        evaluations["validation"] = lambda: evaluation_batches(held_out, data.train_labels[chosen])
    sample = split.unlabeled_sample(len(data.train_labels), DIAGNOSED_IMAGES)
    hidden = workspace.train_images.chosen(sample)
    isda = isda_config(config) if config.isda else None
    shape = (len(data.class_names), student.head.in_features)
    if isda:
        largest = max(config.batch_size, batches.sampler.unlabeled_batch_size)
        refuse_what_does_not_fit(isda.covariance, *shape, largest, workspace.device)
    objective = Objective(regularizer, isda, *shape).to(workspace.device)
    if config.compile:
        copies = (each for each in regularizer.modules() if isinstance(each, Classifier))
        compile_networks((student, *copies), workspace.device)
    num_unlabeled = batches.sampler.unlabeled_batch_size if regularizer.num_views else 0
    schedule = TrainerConfig(
        num_steps=config.steps or config.epochs * batches.steps_per_epoch,
        steps_per_epoch=batches.steps_per_epoch,
        images_per_step=config.batch_size + num_unlabeled,
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        seed=config.seed,
        precision=workspace.precision,
        checkpoint_minutes=config.checkpoint_minutes,
        checkpoint_epochs=config.checkpoint_epochs,
        num_snapshots=config.snapshots or 0,
        compiled=config.compile,
    )
    return Trainer(
        student,
        objective,
        batches,
        evaluations,
        schedule,
        tracker,
        (lambda: evaluation_batches(hidden, data.train_labels[sample])) if len(sample) else None,
    )


def _student(resolved: Resolved, workspace: Workspace) -> Classifier:
    import torch

    from ssl_isda.distributed import num_processes
    from ssl_isda.models import MODELS
    from ssl_isda.randomness import global_draws
    from ssl_isda.whole_batch import act_on_whole_batch

    config, images = resolved.config, workspace.data.train_images
    with global_draws(config.seed, 0, "initial weights", torch.device("cpu")):
        student = MODELS[config.model](
            len(workspace.data.class_names), width=config.width, in_channels=images.shape[1]
        )
    try:
        student.eval().features(torch.zeros(1, *images.shape[1:]))
    except ValueError as error:
        raise UsageError(f"--model {config.model}: {error}; try a larger --image-size") from error
    student = student.to(workspace.device, memory_format=torch.channels_last)
    if num_processes() > 1:
        act_on_whole_batch(student, synchronize_batchnorm=config.sync_batchnorm)
    return student


def _regularizer(resolved: Resolved, student: Classifier, num_images: int) -> Regularizer:
    import methods
    from ssl_isda.regularizer import METHODS

    name = resolved.config.method
    options = getattr(methods, name).Config(**resolved.method_options)
    return METHODS[name](
        options, student=student, num_images=num_images, num_classes=student.head.out_features
    )


def _batches(
    resolved: Resolved, workspace: Workspace, split: Split, regularizer: Regularizer
) -> TwoStreamBatches:
    from datasets.batches import TwoStreamBatches

    config = resolved.config
    smaller_side = min(workspace.data.train_images.shape[-2:])
    if config.max_translation >= smaller_side:
        raise UsageError(
            f"--max-translation must be 0 to {smaller_side - 1} for these images, "
            f"got {config.max_translation}"
        )
    batches = TwoStreamBatches(
        workspace.train_images,
        workspace.data.train_labels,
        split,
        labeled_batch_size=config.batch_size,
        unlabeled_batch_size=config.unlabeled_batch_size,
        seed=config.seed,
        flip=config.flip,
        max_translation=config.max_translation,
        num_views=regularizer.num_views,
        shares_flip=regularizer.shares_flip,
        input_noise=regularizer.input_noise,
        device=workspace.device,
    )
    if config.compile and num_launched() > 1:
        raise UsageError("--compile works on one process; leave it out under torchrun")
    for flag, size in (
        ("--batch-size", config.batch_size),
        ("--unlabeled-batch-size", batches.sampler.unlabeled_batch_size),
    ):
        if size % num_launched():
            raise UsageError(
                f"{flag} must be a multiple of the {num_launched()} processes, got {size}"
            )
    return batches


def _split(folder: RunFolder, workspace: Workspace) -> Split:
    """The run's labeled images: those it began with, the user's, or those that the seed draws."""
    from datasets.splits import check_split, load_split, make_split

    config, data = folder.resolved.config, workspace.data
    source = folder.split_file if folder.split_file.exists() else config.split
    if source is not None:
        split = load_split(
            source, dataset=data.name, checksum=data.checksum, labels=data.train_labels
        )
        check_split(source, split, data.train_labels, config.labels, config.validation)
    else:
        split = make_split(
            data.train_labels,
            num_classes=len(data.class_names),
            num_labels=config.labels,
            seed=config.seed,
            dataset=data.name,
            checksum=data.checksum,
            validation_fraction=0.25 if config.validation else 0.0,
        )
    if not folder.split_file.exists():
        split.save(folder.split_file)
    return split


def _device(name: str) -> torch.device:
    import torch

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


def _use_our_datasets() -> None:
    """The name ``datasets`` also belongs to a popular package."""
    import datasets

    if Path(datasets.__file__ or "").resolve().parent != HERE / "datasets":
        raise UsageError(
            f"the imported package 'datasets' is {datasets.__file__}, not {HERE / 'datasets'}: "
            "start run.py itself, or put its folder first on PYTHONPATH"
        )


def _opening_line(resolved: Resolved, workspace: Workspace, trainer: Trainer) -> str:
    config, data = resolved.config, workspace.data
    count = sum(parameter.numel() for parameter in trainer.student.parameters())
    return (
        f"{config.method}{' + ISDA' if config.isda else ''} on {data.name}: "
        f"{config.labels or 'all'} labels of {len(data.train_labels):,} images, "
        f"{len(data.class_names)} classes; {config.model} with {count:,} parameters; "
        f"{trainer.config.num_steps:,} steps on {workspace.device.type} in {workspace.precision}"
    )


# ---- export


def export(arguments: Sequence[str]) -> int:
    """Features, t-SNE and cluster quality of trained runs; see ``ssl_isda.export_command``."""
    from ssl_isda.export_command import Joined, command

    _use_our_datasets()
    return command(arguments, Joined(_settings_of_run, _evaluate))


def _settings_of_run(path: Path, options: ExportConfig | TightnessConfig) -> Resolved:
    """Its recorded settings, with what ``options`` say about the place where it runs now."""
    from ssl_isda.command_line import resolve

    if not os.path.isdir(path):
        raise UsageError(f"{path}: no such run; a folder with config.yaml is needed")
    for name in ("config.yaml", "split.json"):
        if not os.path.isfile(path / name):
            raise UsageError(f"{path} is no run: it has no {name}")
    if not any(path.glob("checkpoint.pt*")):
        raise UsageError(_no_checkpoint(path))
    place = {name: getattr(options, name) for name in ("data_dir", "device", "threads")}
    flags = [
        f"--{name.replace('_', '-')}={value}" for name, value in place.items() if value is not None
    ]
    return resolve([f"--config={path / 'config.yaml'}", "--no-compile", *flags], **FOLDERS)


def _no_checkpoint(path: Path) -> str:
    if os.path.isfile(path / "result.json"):
        return f"{path} is done, but its checkpoint is not here: --fresh trains it again"
    return f"{path} has no checkpoint yet: train it first"


def _evaluate(folder: RunFolder, options: ExportConfig) -> Features:
    """The run's network, as its newest whole checkpoint has it, on the images."""
    from datasets.batches import evaluation_batches
    from ssl_isda.features import Features, parts
    from ssl_isda.tracking import Tracker, counted

    workspace = Workspace(folder.resolved)
    data, split = workspace.data, _split(folder, workspace)
    trainer = build_trainer(folder.resolved, workspace, split, Tracker(folder.path, quiet=True))
    digest = _load_newest(trainer)
    part = parts(len(data.train_labels), split.labeled, split.validation, len(data.test_labels))
    sets = [(workspace.train_images, data.train_labels), (workspace.test_images, data.test_labels)]
    if options.test_only:
        part, sets = part[len(data.train_labels) :], sets[1:]
    batches = itertools.chain.from_iterable(
        trainer.predict(lambda s=each: evaluation_batches(*s)) for each in sets
    )
    show(f"{folder.path}: {len(part):,} images through the network ...")
    shown = counted(batches, len(part), "image", lambda batch: len(batch[0]))
    return Features.gathered(shown, part, data.class_names, digest)


def _load_newest(trainer: Trainer) -> str:
    """Read the checkpoint into the networks, change no file; the SHA-256 of the one that was used."""
    from ssl_isda import checkpoint

    try:
        state, complaints = checkpoint.load_latest(trainer.checkpoint_file, trainer.device)
    except checkpoint.CheckpointDamaged as error:
        raise UsageError(f"{error}. Nothing can be exported") from error
    if state is None:
        raise UsageError(_no_checkpoint(trainer.tracker.folder))
    for complaint in complaints:
        show(f"warning: {complaint}; the one before is exported", stream=sys.stderr)
    trainer.load_networks(state)
    used = checkpoint.candidates(trainer.checkpoint_file)[len(complaints)]
    return hashlib.sha256(used.read_bytes()).hexdigest()


# ---- the other commands


def report(arguments: Sequence[str]) -> int:
    """Tables and figures of runs; see ``ssl_isda.report``."""
    from ssl_isda.report.command import command

    return command(arguments)


def dashboard(arguments: Sequence[str]) -> int:
    """A W&B workspace; see ``ssl_isda.dashboard``."""
    from ssl_isda.dashboard import command

    return command(arguments)


def grid(arguments: Sequence[str]) -> int:
    """Many runs; see ``ssl_isda.grid``."""
    from ssl_isda.grid.command import command

    _use_our_datasets()
    from datasets.catalog import data_digest

    return command(
        arguments,
        program=HERE / "run.py",
        train=_train_one_of_many,
        data_digest=data_digest,
        **FOLDERS,
    )


def _train_one_of_many(resolved: Resolved) -> None:
    """Train in this process; what is missing here fails this run, as it would in a process of its own."""
    try:
        with _put_back():
            train_seeds(resolved)
    except ModuleNotFoundError as error:
        raise _missing(error) from error


@contextmanager
def _put_back() -> Iterator[None]:
    """Undo what a run leaves in the process: threads, and memory that reference cycles hold or passes
    that were compiled for it (the next run finds its own in PyTorch's cache)."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if "torch._dynamo" in sys.modules:
            torch.compiler.reset()
        gc.collect()


def analyze(arguments: Sequence[str]) -> int:
    """The paper's analyses; see ``ssl_isda.analysis``."""
    from ssl_isda.analysis.command import Joined, command

    return command(arguments, Joined(_opened_trainer, _network_and_objective, _device))


@contextmanager
def _opened_trainer(path: Path, options: TightnessConfig) -> Iterator[Trainer]:
    """The trainer of a run that is there, while nobody else has its folder."""
    resolved = _settings_of_run(path, options)
    _use_our_datasets()
    from ssl_isda.run_folder import RunFolder
    from ssl_isda.tracking import Tracker

    folder = RunFolder(resolved, path)
    with folder.locked():
        workspace = Workspace(resolved)
        split = _split(folder, workspace)
        yield build_trainer(resolved, workspace, split, Tracker(path, quiet=True))


def _network_and_objective(case: Case, num_images: int) -> tuple[Classifier, Objective]:
    """As a run has them, with the method's default options."""
    import methods
    from ssl_isda.models import MODELS
    from ssl_isda.objective import IsdaConfig, Objective
    from ssl_isda.regularizer import METHODS

    student = MODELS[case.model](case.num_classes, width=case.width)
    options = getattr(methods, case.method).Config()
    regularizer = METHODS[case.method](
        options, student=student, num_images=num_images, num_classes=case.num_classes
    )
    isda = IsdaConfig() if case.isda else None
    return student, Objective(regularizer, isda, case.num_classes, student.head.in_features)


def search(arguments: Sequence[str]) -> int:
    """lambda_0 and eta_1 by the validation error; see ``ssl_isda.search``."""
    from ssl_isda.command_line import resolve
    from ssl_isda.search import Joined, command

    def uses_unlabeled(method: str) -> bool:
        import methods as _registered  # noqa: F401
        from ssl_isda.regularizer import METHODS

        return METHODS[method].num_views > 0

    joined = Joined(
        HERE / "run.py", lambda words: resolve(words, **FOLDERS), uses_unlabeled, train_seeds
    )
    return command(arguments, joined)


class Command(NamedTuple):
    """What the first word of a command line can stand for."""

    help: str
    run: Callable[[Sequence[str]], int]


COMMANDS: Mapping[str, Command] = {
    "export": Command("RUN ...       # features and t-SNE of trained runs", export),
    "report": Command("runs          # tables and figures of all runs in a folder", report),
    "grid": Command("FILE.yaml       # many runs, here or on a Ray cluster", grid),
    "search": Command("--method vat     # lambda_0 and eta_1 by held-out labels", search),
    "analyze": Command("comparison runs   # what ISDA changes; the paper's analyses", analyze),
    "dashboard": Command(
        "--entity ME   # a W&B page with a mean and a band over the seeds", dashboard
    ),
}
"""What may stand first instead of a flag. Each has a --help of its own."""


def _make_printable() -> None:
    """A closed stdout or stderr swallows what is printed; a letter that it does not know is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: SIM115
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)


if __name__ == "__main__":
    _make_printable()
    sys.exit(main(sys.argv[1:]))
