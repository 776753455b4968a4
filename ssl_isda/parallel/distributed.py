"""One run on several processes, each with its part of every batch: what they have to tell each other.

``torchrun --nproc-per-node 2 run.py ...`` starts them. What is random is drawn for the whole batch by
every process, which then takes its rows; so a run is the same, to rounding, on any number of them.
With one process every function here returns what it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ssl_isda.base.errors import RunError
from ssl_isda.parallel.launch import attempt, num_launched

Value = TypeVar("Value")


def num_processes() -> int:
    """How many processes share this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if num_processes() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that writes, logs and prints."""
    return rank() == 0


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Within the block the processes that ``torchrun`` started are one group; else nothing happens.

    NCCL between GPUs, gloo between CPUs and for what CPUs agree on.
    """
    if num_launched() == 1:
        yield
        return
    store, rank, world_size = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
    store = dist.PrefixStore(attempt(), store)  # type: ignore[attr-defined]
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    try:
        yield
    finally:
        dist.destroy_process_group()


class ProcessLost(RunError):
    """Another process of this run has ended; what is left of it cannot go on alone."""

    exit_code = 70


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLost(
            "another process of this run is gone. torchrun starts all of them again where its "
            "--max-restarts says so; otherwise the same command goes on from the last checkpoint"
        ) from error


def whole(shape: Sequence[int], dim: int = 0) -> tuple[int, ...]:
    """The shape of the whole batch, of which this process has a part of ``shape``."""
    lengths = list(shape)
    lengths[dim] *= num_processes()
    return tuple(lengths)


def part(tensor: Tensor, dim: int = 0) -> Tensor:
    """This process's rows of what belongs to the whole batch; it must divide evenly."""
    number = num_processes()
    if number == 1:
        return tensor
    length, rest = divmod(tensor.shape[dim], number)
    assert rest == 0, (tensor.shape, dim, number)
    return tensor.narrow(dim, rank() * length, length)


def gathered(tensor: Tensor) -> Tensor:
    """The parts of all processes, one after another: the inverse of ``part``. Carries no gradient."""
    if num_processes() == 1:
        return tensor.detach()
    parts = [torch.empty_like(tensor) for _ in range(num_processes())]
    with _together():
        dist.all_gather(parts, tensor.detach().contiguous())
    return torch.cat(parts)


def average_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the processes: one message for all of them."""
    listed = list(tensors)
    if num_processes() == 1 or not listed:
        return
    flat = total(torch.cat([tensor.detach().flatten() for tensor in listed])) / num_processes()
    for tensor, mean in zip(listed, flat.split([t.numel() for t in listed]), strict=True):
        tensor.detach().copy_(mean.view_as(tensor))


def total(tensor: Tensor) -> Tensor:
    """The sum over the processes."""
    if num_processes() > 1:
        tensor = tensor.clone()
        with _together():
            dist.all_reduce(tensor)
    return tensor


def total_of_parts(tensor: Tensor) -> Tensor:
    """The sum over the processes, for a loss that each of them computes alike of it: its gradient,
    averaged over the processes, is the one that a single process would have."""
    if num_processes() == 1:
        return tensor
    return total(tensor.detach()) + num_processes() * (tensor - tensor.detach())


def place_of_rows(number: int) -> tuple[int, int]:
    """Where this process's ``number`` rows begin among those of all processes, one process's after
    another's, and how many there are: for rows that the processes have unequally many of."""
    if num_processes() == 1:
        return 0, number
    counts = gathered(torch.tensor([number])).tolist()
    return sum(counts[: rank()]), sum(counts)


def largest(number: int) -> int:
    """The largest of the processes' numbers. No GPU is waited for."""
    if num_processes() == 1:
        return number
    value = torch.tensor(number)
    with _together():
        dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)


def dealt(items: Iterable[Value]) -> Iterator[Value]:
    """Every so many-th of the items, as cards are dealt."""
    return islice(items, rank(), None, num_processes())


def from_first(function: Callable[[], Value]) -> Value:
    """What ``function`` returns or raises in the first process, in all of them; only that one calls it.

    Raises
    ------
    RunError
        The first process's.
    """
    if num_processes() == 1:
        return function()
    outcome: list[Any] = [None, None]
    if is_first():
        try:
            outcome[0] = function()
        except RunError as error:
            outcome[1] = error
    with _together():
        dist.broadcast_object_list(outcome, device=torch.device("cpu"))
    if outcome[1] is not None:
        raise outcome[1]
    value: Value = outcome[0]
    return value
