"""Train one run for each seed: what ``run.py`` without a command does."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from ssl_isda.base.errors import OutOfMemory, UsageError, missing_package
from ssl_isda.base.memory import is_lack_of_memory
from ssl_isda.base.progress import show
from ssl_isda.commands.shared_data import data_shared as data_shared
from ssl_isda.commands.shared_data import workspace_for
from ssl_isda.data.amounts import Amounts
from ssl_isda.data.facts import MaskFiles, check_labels, data_digests, facts_of
from ssl_isda.data.folder.listing import ListingOptions, listed_once
from ssl_isda.parallel.launch import is_first_launched, num_launched, num_on_this_machine
from ssl_isda.runs.result import across_seeds, describe
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.settings.config import Resolved

if TYPE_CHECKING:
    from ssl_isda.assembly.workspace import Workspace
    from ssl_isda.data.images.image_data import ImageData


def train(resolved: Resolved) -> int:
    """Train one run for each seed, skipping those that are done, and print the errors."""
    results = train_seeds(resolved)
    if len(results) > 1 and is_first_launched():
        show(across_seeds(results))
    return 0


@listed_once()
def train_seeds(resolved: Resolved, own: ImageData | None = None) -> list[dict[str, Any]]:
    """The result of each seed's run: of one that is done, resumed or made now.

    ``own`` are images in memory, which take the place of a data set.
    """
    config = resolved.config
    if own is None:
        options = ListingOptions.of(resolved.values)
        check_labels(
            config.dataset,
            Amounts.of(config),
            config.data_dir,
            options,
            is_supervised=config.method == "supervised",
        )
    if config.fresh and num_launched() > num_on_this_machine():
        raise UsageError(
            "--fresh works on one machine: after a restart it would delete what is done"
        )
    folders = [RunFolder(resolved.for_seed(seed)) for seed in resolved.seeds]
    digests = _digests(resolved, own, folders)
    found = _finished(folders, digests) if num_launched() == 1 else None
    results, workspace = [], None
    with nullcontext() if found and all(found) else _processes(config.device):
        found = found or _found_by_first(folders, digests)
        for folder, result in zip(folders, found, strict=True):
            if result is None:
                from ssl_isda.commands.train_one import train_one, weights_to_begin_with

                with _owned(folder), _memory_told():
                    weights = weights_to_begin_with(folder)
                    workspace = workspace or _workspace(resolved, own, digests)
                    result = train_one(folder, workspace, weights)
            else:
                _tell_what_was_not_done(folder, result)
            results.append(result)
            if is_first_launched():
                show(f"{folder.path}: {describe(result)}")
    return results


def _workspace(resolved: Resolved, own: ImageData | None, digests: Sequence[str]) -> Workspace:
    if own is None:
        return workspace_for(resolved, digests)
    from ssl_isda.assembly.workspace import Workspace

    return Workspace(resolved, own)


def _digests(
    resolved: Resolved, own: ImageData | None, folders: Sequence[RunFolder]
) -> tuple[str, ...]:
    """What tells the images from others that a result may have been made on; empty for data of fixed
    content. Data that nothing is known of are read, if there is a result."""
    if own is not None:
        return own.digests
    config = resolved.config
    is_unknown = isinstance(facts_of(config.dataset), MaskFiles | None)
    if is_unknown and any(f.result_file.exists() and not f.fresh for f in folders):
        from ssl_isda.assembly.workspace import images_of

        return images_of(resolved).digests
    return data_digests(config.dataset, config.data_dir, ListingOptions.of(resolved.values))


def _finished(folders: Sequence[RunFolder], digests: Sequence[str]) -> list[dict[str, Any] | None]:
    """The results of those that are done, on images of these digests."""
    return [folder.finished(digests) for folder in folders]


def _found_by_first(
    folders: Sequence[RunFolder], digests: Sequence[str]
) -> list[dict[str, Any] | None]:
    """The same for all processes: the runs folders of other machines do not count."""
    from ssl_isda.parallel.distributed import from_first

    return from_first(lambda: _finished(folders, digests))


def _tell_what_was_not_done(folder: RunFolder, result: Mapping[str, Any]) -> None:
    """A run that is done stays as it is, whatever is asked of it now."""
    config = folder.resolved.config
    made_in = result.get("precision")
    if made_in and config.precision not in ("auto", made_in) and is_first_launched():
        show(f"{folder.path} was made in {made_in}; --fresh makes it anew", stream=sys.stderr)
    if config.snapshots and not (folder.path / "snapshots").is_dir() and is_first_launched():
        show(f"{folder.path} was made without snapshots; --fresh makes it anew", stream=sys.stderr)


@contextmanager
def _memory_told() -> Iterator[None]:
    """What happens outside the steps, such as data that do not fit beside another run's."""
    import torch

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise OutOfMemory(
                "images and networks do not fit in the GPU memory that is free; leave it to this run, "
                "or try --device cpu"
            ) from error
        if is_lack_of_memory(error):
            raise OutOfMemory(
                "images and networks do not fit in the memory that is free: leave it to this run, or "
                "take fewer or smaller images"
            ) from error
        raise


def _processes(device: str) -> AbstractContextManager[None]:
    """The block in which all processes of this run, usually one, are joined."""
    from ssl_isda.assembly.devices import device_named
    from ssl_isda.parallel.distributed import process_group

    return process_group(device_named(device))


@contextmanager
def _owned(folder: RunFolder) -> Iterator[None]:
    """The run's folder, opened by the first process for all of them."""
    from ssl_isda.parallel.distributed import from_first

    split, weights = folder.resolved.config.split, folder.resolved.config.weights
    with ExitStack() as stack:

        def own() -> None:
            stack.enter_context(folder.opened())
            if split and not folder.split_file.exists() and not os.path.isfile(split):
                raise UsageError(f"--split {split}: no such file")
            if weights and not folder.has_begun() and not os.path.exists(weights):
                raise UsageError(f"--weights {weights}: no such file or run folder")

        from_first(own)
        yield


def train_one_of_many(resolved: Resolved) -> None:
    """Train in this process; what is missing here fails this run, as it would in a process of its own."""
    try:
        with put_back():
            train_seeds(resolved)
    except ModuleNotFoundError as error:
        raise missing_package(error) from error


@contextmanager
def put_back() -> Iterator[None]:
    """Undo what a run leaves in the process: threads, and memory that reference cycles hold or passes
    that were compiled for it (the next run finds its own in PyTorch's cache)."""
    import torch

    threads = torch.get_num_threads()
    gc.freeze()  # what was there before needs no second look
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if "torch._dynamo" in sys.modules:
            torch.compiler.reset()
        gc.collect()
        gc.unfreeze()
